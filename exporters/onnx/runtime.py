"""ONNX files through onnxruntime."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from exporters.onnx.artifact import inspect
from exporters.onnx.binding import bound_step, to_host
from exporters.onnx.read import first_line
from exporters.onnx.step import make_step
from exporters.runtime import Arrays, Device, State, Step
from exporters.spec import Artifact, ArtifactError
from rvm_model.device import DeviceError

__all__ = ["inspect", "load", "to_numpy"]

RunFor = Callable[[Sequence[str], Arrays], list[NDArray[Any]]]
"""Names of outputs, and inputs by name, to the arrays of those outputs."""
_SESSION_ERRORS = (
    ort_errors.EngineError,
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotFound,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:
    """Ready to play. See `exporters.runtime.Runtime`."""
    session = _session(artifact, device)
    if device == "cuda":
        yield bound_step(session, artifact, device, ratio)
        return
    names = [tensor.name for tensor in artifact.outputs]

    def run(feeds: Arrays) -> Arrays:
        try:
            return dict(zip(names, session.run(names, feeds), strict=True))
        except _SESSION_ERRORS as error:
            raise ArtifactError(f"{artifact.path} does not run: {first_line(error)}") from error

    yield make_step(artifact, ratio, run)


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Four arrays. See `exporters.runtime.Runtime`."""
    return tuple(to_host(value) if isinstance(value, ort.OrtValue) else value.copy() for value in state)


def runner(artifact: Artifact, model: ModelProto) -> RunFor:
    """Runs `model`, a copy of a file that may have more outputs, on the CPU.

    Raises ArtifactError, then or when it is called, if onnxruntime cannot run it.
    """
    session = _session(artifact, "cpu", model.SerializeToString())

    def run(outputs: Sequence[str], inputs: Arrays) -> list[NDArray[Any]]:
        try:
            arrays: list[NDArray[Any]] = session.run(outputs, inputs)
        except _SESSION_ERRORS as error:
            raise ArtifactError(f"{artifact.path} does not run: {first_line(error)}") from error
        return arrays

    return run


def _session(artifact: Artifact, device: Device, model: bytes | None = None) -> ort.InferenceSession:
    """Of the file, or of `model`, a copy of it with other outputs."""
    path = artifact.path
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what it would say as an error it raises as well
    # Waiting threads would otherwise spin, at the cost of PyTorch, which plays the other side of a comparison.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers():
        raise DeviceError(_no_cuda())
    # Only a file of one size keeps its addresses, as a CUDA graph needs.
    cuda = {"use_tf32": "0", "enable_cuda_graph": "0" if artifact.fixed is None else "1"}
    providers: list[Any] = ["CPUExecutionProvider"] if device == "cpu" else [("CUDAExecutionProvider", cuda)]
    try:
        session = ort.InferenceSession(model or path, options, providers=providers, enable_fallback=0)
    except _SESSION_ERRORS as error:
        raise ArtifactError(f"{path} does not load in onnxruntime: {first_line(error)}") from error
    # Where CUDA's libraries are missing, onnxruntime only warns and takes the CPU.
    if device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise DeviceError(_no_cuda())
    return session


def _no_cuda() -> str:
    providers = ", ".join(ort.get_available_providers())
    return (
        f"onnxruntime {ort.__version__} has no working CUDA provider here, of {providers}; "
        "install 'rvm-export[onnx-cuda]' in place of the onnx extra, on a machine with a GPU"
    )
