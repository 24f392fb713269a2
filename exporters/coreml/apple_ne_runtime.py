"""CoreML files in Apple's CoreML, on the Neural Engine and the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

from exporters.coreml.runtime_apple import inspect, predicting, to_numpy
from exporters.runtime import Device, Step
from exporters.spec import Artifact

__all__ = ["inspect", "load", "to_numpy"]


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:  # noqa: ARG001 (it is baked in)
    """Ready to play. See `exporters.runtime.Runtime`."""
    with predicting(artifact, device, "CPU_AND_NE") as step:
        yield step
