"""Open onnxruntime's sessions, and convert its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from exporters.artifact import Artifact, ArtifactError
from exporters.runtime import Device
from exporters.support.child import threads
from rvm_model.device import DeviceError
from rvm_model.errors import first_line
from rvm_model.files import read_file

ERRORS = (
    RuntimeError,  # raised for bound inputs and outputs
    UnicodeDecodeError,  # raised in place of an error whose message quotes a name that is no UTF-8
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


def open_session(artifact: Artifact, device: Device, model: bytes | None = None) -> ort.InferenceSession:
    """Open a session for the file, or for `model`, a copy of it with other outputs.

    Raises:
        ArtifactError: onnxruntime does not load it.
        DeviceError: no working CUDA provider.
    """
    path = artifact.path
    options = session_options()
    if device == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers():
        raise DeviceError(_no_cuda())
    # Only a file of one size keeps its addresses, as a CUDA graph needs.
    cuda = {"use_tf32": "0", "enable_cuda_graph": "0" if artifact.fixed is None else "1"}
    providers: list[Any] = ["CPUExecutionProvider"] if device == "cpu" else [("CUDAExecutionProvider", cuda)]
    try:
        if not str(path).isprintable():  # as a name of bytes that are no UTF-8, which onnxruntime does not take
            model = model or read_file(path)
        session = ort.InferenceSession(model or path, options, providers=providers, enable_fallback=0)
    except ERRORS as error:
        raise ArtifactError(f"{path} does not load in onnxruntime: {first_line(error)}") from error
    # If CUDA's libraries are missing, onnxruntime only warns and uses the CPU.
    if device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise DeviceError(_no_cuda())
    return session


def session_options() -> ort.SessionOptions:
    """Return the options of every session of ours."""
    options = ort.SessionOptions()
    # Unlike PyTorch and TensorFlow it does not read OMP_NUM_THREADS, and parallel processes would compete for cores.
    options.intra_op_num_threads = threads()
    # One block for a whole frame, planned from the frame before, takes 350 MiB more at 4K, and is no faster.
    options.enable_mem_pattern = False
    options.log_severity_level = 4  # it also raises what it would log as an error
    # Otherwise waiting threads spin, and slow down PyTorch, which runs the other side of a comparison.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


@contextmanager
def said_in_one_line(artifact: Artifact) -> Iterator[None]:
    """Raise ArtifactError with the first line of onnxruntime's error when a frame does not run."""
    try:
        yield
    except ERRORS as error:
        raise ArtifactError(f"{artifact.path} does not run: {first_line(error)}") from error


def _no_cuda() -> str:
    providers = ", ".join(ort.get_available_providers())
    return (
        f"onnxruntime {ort.__version__} has no working CUDA provider here, of {providers}; "
        "install 'rvm-export[onnx-cuda]' in place of the onnx extra, on a machine with a GPU"
    )
