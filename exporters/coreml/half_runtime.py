"""CoreML files in the evaluator, every value rounded to half precision that the file does not keep finer.

Nearer to what a Neural Engine computes than the plain evaluator, which rounds only what is stored.
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
    yield evaluating(artifact, device, half=True)
