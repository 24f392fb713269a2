"""CoreML files in the evaluator, on any machine: images are taken before they are rounded to eight bits.

So the matte is judged to the last digit. What rounds it is the consumer's device, and nothing of the file.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from exporters.coreml.artifact import inspect
from exporters.coreml.runtime_evaluator import evaluating, to_numpy
from exporters.runtime import Device, Step
from exporters.spec import Artifact

__all__ = ["inspect", "load", "to_numpy"]


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:  # noqa: ARG001 (it is baked in)
    """Ready to play. See `exporters.runtime.Runtime`."""
    yield evaluating(artifact, device, half=False)
