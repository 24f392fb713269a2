"""Run ONNX files in onnxruntime-web: its WebAssembly build, as browsers run it, in Node."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporters.artifact import Artifact
from exporters.onnx.artifact import inspect
from exporters.onnx.runtimes.step import make_step, to_numpy
from exporters.runtime import Device, FileStep
from exporters.support.node import find_node
from exporters.support.tensor_pipe import running
from rvm_model.device import DeviceError

__all__ = ["inspect", "load", "to_numpy"]

NAME = "onnxruntime-web"
FOLDER = Path(__file__).parents[1] / "web"


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[FileStep]:
    """Yield the step function. See `exporters.runtime.Runtime`."""
    if device != "cpu":
        raise DeviceError(f"{NAME} runs on the CPU here, not on {device}; use --device cpu")
    with running([find_node(NAME, FOLDER), FOLDER / "main.mjs", artifact.path], artifact, NAME) as run:
        yield make_step(artifact, ratio, run)
