"""Run a TensorFlow.js model by a program of `web/`: convert NCHW to NHWC and back, and pass states on unchanged."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import INPUTS, OUTPUTS, Artifact
from exporters.runtime import Device, FileStep, Frame, Line, Matte, Run, State
from exporters.support.archive import unpacked
from exporters.support.node import find_node
from exporters.support.tensor_pipe import running
from exporters.tfjs import MODEL
from rvm_model.device import DeviceError

FOLDER = Path(__file__).parent / "web"


@contextmanager
def playing(
    artifact: Artifact, device: Device, ratio: float, runtime: str, program: str, arguments: Sequence[str | Path] = ()
) -> Iterator[FileStep]:
    """Run a model by a program of `web/`, which gets the model's folder, the method to call, and `arguments`.

    Raises:
        ArtifactError: the program refuses the model, crashes or times out.
        DeviceError: another device than the CPU.
        MissingPackage: Node or its packages are missing.
    """
    if device != "cpu":
        raise DeviceError(f"{runtime} runs on the CPU here, not on {device}; use --device cpu")
    node = find_node(runtime, FOLDER)
    method = "executeAsync" if artifact.facts["control flow"] == "yes" else "execute"
    with (
        unpacked(artifact.path, MODEL) as folder,
        running([node, FOLDER / program, folder, method, *arguments], artifact, runtime) as run,
    ):
        yield _make_step(artifact, ratio, run)


def to_numpy(state: State) -> tuple[NDArray[np.float32], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    return tuple(map(_to_nchw, state))


def _make_step(artifact: Artifact, ratio: float, run: Run) -> FileStep:
    first = (np.zeros((), np.float32),) * 4
    given_ratio = {} if artifact.gives_line else {"downsample_ratio": np.array(ratio, np.float32)}

    def step(frame: Frame, state: State) -> tuple[Matte | Line, State]:
        before = dict(zip(INPUTS[1:5], state or first, strict=True))
        outputs = run({"src": frame.transpose(0, 2, 3, 1), **before, **given_ratio})
        after = tuple(outputs[name] for name in OUTPUTS[2:])
        if artifact.gives_line:
            return Line(A=_to_nchw(outputs["A"]), b=_to_nchw(outputs["b"])), after
        return Matte(fgr=_to_nchw(outputs["fgr"]), pha=_to_nchw(outputs["pha"])), after

    return step


def _to_nchw(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a copy, which belongs to the caller. Raises ValueError if there are not four axes."""
    return array.transpose(0, 3, 1, 2).copy()
