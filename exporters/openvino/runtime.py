"""Run an IR in OpenVINO on the CPU, in float32, in a process of its own: the same as for ONNX files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from exporters.artifact import INPUTS, Artifact, TensorInfo
from exporters.onnx.runtimes.openvino import PROGRAM
from exporters.onnx.runtimes.step import make_step, to_matte, to_numpy
from exporters.openvino import GRAPH, OMZ, STATES, WEIGHTS
from exporters.openvino.artifact import inspect
from exporters.openvino.load import read
from exporters.runtime import Arrays, Device, FileStep, Frame, Line, Matte, Run, State
from exporters.support.archive import unpacked
from exporters.support.tensor_pipe import python_command, running
from rvm_model.device import DeviceError

__all__ = ["inspect", "load", "to_numpy"]


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[FileStep]:
    """Yield the step function. See `exporters.runtime.Runtime`. The state is four arrays."""
    if device != "cpu":
        raise DeviceError(f"openvino runs on the CPU here, not on {device}; use --device cpu")
    keeps = "states" in artifact.facts
    states = tuple(TensorInfo(name=name, dtype="float32", shape=()) for name in STATES)
    with unpacked(artifact.path, GRAPH) as folder:
        model = read(artifact.path, folder)
    with TemporaryDirectory() as desk:
        # OpenVINO gets what was checked: another parser might understand the file in another way.
        graph, weights = Path(desk) / GRAPH, Path(desk) / WEIGHTS
        graph.write_bytes(model.graph)
        weights.write_bytes(model.weights)
        asked = replace(artifact, outputs=(*artifact.outputs, *states)) if keeps else artifact
        with running(python_command(PROGRAM, graph, weights), asked, "openvino") as run:
            if keeps:
                yield _stateful_step(artifact, ratio, run)
            else:
                yield make_step(artifact, ratio, _called_by_our_names(run) if "contract" in artifact.facts else run)


def _called_by_our_names(run: Run) -> Run:
    """Return a function that takes and returns what our own files do, and runs one of Open Model Zoo's contract."""
    ours = {theirs: name for name, theirs in OMZ.items()}

    def renamed(feeds: Arrays) -> Arrays:
        src = np.ascontiguousarray(feeds["src"][:, ::-1] * np.float32(255))
        outputs = run({"src": src, **{OMZ[name]: array for name, array in feeds.items() if name in OMZ}})
        return {ours.get(name, name): array for name, array in outputs.items()}

    return renamed


def _stateful_step(artifact: Artifact, ratio: float, run: Run) -> FileStep:
    """Return the step function of a model that keeps the states inside: it gets another state only if one is given."""
    ratio_input = {INPUTS[5]: np.array([ratio], np.float32)} if artifact.fixed is None else {}
    inside: State = None

    def step(frame: Frame, state: State) -> tuple[Matte | Line, State]:
        nonlocal inside
        before = {}
        if state is None:
            before = {"reset_state": np.zeros(1, np.uint8)}
        elif state is not inside:
            before = dict(zip(STATES, state, strict=True))
        outputs = run({"src": frame, **before, **ratio_input})
        inside = tuple(outputs[name] for name in STATES)
        return to_matte(artifact, outputs), inside

    return step
