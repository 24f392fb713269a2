"""Run ONNX files in OpenVINO on the CPU, in float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporters.artifact import Artifact
from exporters.onnx.artifact import inspect
from exporters.onnx.runtimes.step import make_step, to_numpy
from exporters.runtime import Device, FileStep
from exporters.support.tensor_pipe import python_command, running
from rvm_model.device import DeviceError

__all__ = ["inspect", "load", "to_numpy"]

PROGRAM = Path(__file__).with_name("openvino_child.py")


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[FileStep]:
    """Yield the step function. See `exporters.runtime.Runtime`."""
    if device != "cpu":
        raise DeviceError(f"openvino runs on the CPU here, not on {device}; use --device cpu")
    with running(python_command(PROGRAM, artifact.path), artifact, "openvino") as run:
        yield make_step(artifact, ratio, run)
