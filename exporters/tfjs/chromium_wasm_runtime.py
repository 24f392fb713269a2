"""TensorFlow.js models in headless Chromium, by the WebAssembly backend with SIMD and threads."""

from collections.abc import Iterator
from contextlib import contextmanager

from exporters.artifact import Artifact
from exporters.runtime import Device, Step
from exporters.tfjs.artifact import inspect
from exporters.tfjs.chromium import browsing
from exporters.tfjs.step import to_numpy

__all__ = ["inspect", "load", "to_numpy"]


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:
    """Ready to play. See `exporters.runtime.Runtime`."""
    with browsing(artifact, device, ratio, "wasm") as step:
        yield step
