"""Run TensorFlow.js models in Node, on the WebAssembly backend with SIMD, on one thread."""

from collections.abc import Iterator
from contextlib import contextmanager

from exporters.artifact import Artifact
from exporters.runtime import Device, FileStep
from exporters.tfjs.artifact import inspect
from exporters.tfjs.step import playing, to_numpy

__all__ = ["inspect", "load", "to_numpy"]


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[FileStep]:
    """Yield the step function. See `exporters.runtime.Runtime`."""
    with playing(artifact, device, ratio, "node", "node.mjs") as step:
        yield step
