"""Run CoreML files in the evaluator, on any machine. Images are read before they are rounded to eight bits.

So the matte is compared at full precision: the consumer's device rounds it, not the file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import INPUTS, LINE, OUTPUTS, Artifact
from exporters.coreml.artifact import STATES, inspect
from exporters.coreml.evaluator.evaluator import State as Kept
from exporters.coreml.evaluator.evaluator import load_program
from exporters.runtime import Device, FileStep, Frame, Line, Matte, State
from rvm_model.device import DeviceError

__all__ = ["inspect", "load", "to_numpy"]

LEVELS = np.float32(255)


@contextmanager
def load(
    artifact: Artifact,
    device: Device,
    ratio: float,  # noqa: ARG001 (it is baked in)
    *,
    half: bool = False,
) -> Iterator[FileStep]:
    """Run an artifact frame by frame. See `exporters.runtime.Runtime`.

    `half` rounds every value to half precision, except those that the file keeps finer. This is nearer to a Neural
    Engine than rounding only stored values. The state is four arrays, or the model's own state.

    Raises:
        ArtifactError: the file is damaged, or computes what no matting network does.
        DeviceError: another device than the CPU.
    """
    if device != "cpu":
        raise DeviceError(f"the evaluator of CoreML files runs on the CPU, not on {device}; use --device cpu")
    program = load_program(artifact.path, artifact.function or None)
    levels = {each.name: LEVELS if each.is_image else np.float32(1) for each in (*program.inputs, *program.outputs)}
    first = [np.zeros(each.shape, np.float32) for each in program.inputs if each.name != "src"]

    def step(frame: Frame, state: State) -> tuple[Matte | Line, State]:
        kept = state or program.new_state() if program.states else None
        before = () if program.states else zip(INPUTS[1:5], state or first, strict=True)
        src = frame * levels["src"]
        outputs = program.run({"src": src, **dict(before)}, kept, half=half, rounded=False)
        after = kept or tuple(outputs[name] for name in OUTPUTS[2:])
        if artifact.gives_line:
            A, b = (outputs[name].astype(np.float32) for name in LINE)
            return Line(A=A, b=b), after
        fgr, pha = (outputs[name].astype(np.float32) / levels[name] for name in OUTPUTS[:2])
        return Matte(fgr=fgr, pha=pha), after

    yield step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    if isinstance(state, Kept):
        arrays = state.to_numpy()
        return tuple(arrays[name] for name in STATES)
    return tuple(array.copy() for array in state)
