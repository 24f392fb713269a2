"""Run ONNX files in onnxruntime."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto

from exporters.artifact import Artifact
from exporters.onnx.artifact import inspect
from exporters.onnx.runtimes.binding import bound_step, to_host
from exporters.onnx.runtimes.session import open_session, said_in_one_line
from exporters.onnx.runtimes.step import make_step
from exporters.runtime import Arrays, Device, FileStep, State

__all__ = ["inspect", "load", "to_numpy"]

RunFor = Callable[[Sequence[str], Arrays], list[NDArray[Any]]]
"""Maps names of outputs, and inputs by name, to the arrays of those outputs."""


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[FileStep]:
    """Yield the step function. See `exporters.runtime.Runtime`."""
    session = open_session(artifact, device)
    if device == "cuda":
        yield bound_step(session, artifact, device, ratio)
        return
    run = _runner(session, artifact)
    names = [tensor.name for tensor in artifact.outputs]
    yield make_step(artifact, ratio, lambda feeds: dict(zip(names, run(names, feeds), strict=True)))


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    return tuple(to_host(value) if isinstance(value, ort.OrtValue) else value.copy() for value in state)


def runner(artifact: Artifact, model: ModelProto) -> RunFor:
    """Return a function that runs `model`, a copy of a file with perhaps more outputs, on the CPU.

    Raises ArtifactError, here or when it is called, if onnxruntime cannot run it.
    """
    return _runner(open_session(artifact, "cpu", model.SerializeToString()), artifact)


def _runner(session: ort.InferenceSession, artifact: Artifact) -> RunFor:
    def run(outputs: Sequence[str], inputs: Arrays) -> list[NDArray[Any]]:
        with said_in_one_line(artifact):
            arrays: list[NDArray[Any]] = session.run(outputs, inputs)
        return arrays

    return run
