"""The evaluator as the harness plays it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.coreml.artifact import STATES
from exporters.coreml.evaluator.evaluator import State as Kept
from exporters.coreml.evaluator.evaluator import load_program
from exporters.runtime import Device, Frame, Matte, State, Step
from exporters.spec import INPUTS, OUTPUTS, Artifact
from rvm_model.device import DeviceError

LEVELS = np.float32(255)


def evaluating(artifact: Artifact, device: Device, *, half: bool) -> Step:
    """What plays an artifact frame by frame; its state is four arrays, or what the model keeps.

    Raises:
        ArtifactError: the file is damaged, or computes what no matting network does.
        DeviceError: another device than the CPU.
    """
    if device != "cpu":
        raise DeviceError(f"the evaluator of CoreML files runs on the CPU, not on {device}; use --device cpu")
    program = load_program(artifact.path, artifact.function or None)
    levels = {each.name: LEVELS if each.is_image else np.float32(1) for each in (*program.inputs, *program.outputs)}
    first = [np.zeros(each.shape, np.float32) for each in program.inputs if each.name != "src"]

    def step(frame: Frame, state: State) -> tuple[Matte, State]:
        kept = state or program.new_state() if program.states else None
        before = () if program.states else zip(INPUTS[1:5], state or first, strict=True)
        src = frame * levels["src"]
        outputs = program.run({"src": src, **dict(before)}, kept, half=half, rounded=False)
        fgr, pha = (outputs[name].astype(np.float32) / levels[name] for name in OUTPUTS[:2])
        return Matte(fgr=fgr, pha=pha), kept or tuple(outputs[name] for name in OUTPUTS[2:])

    return step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Four arrays. See `exporters.runtime.Runtime`."""
    if isinstance(state, Kept):
        arrays = state.to_numpy()
        return tuple(arrays[name] for name in STATES)
    return tuple(array.copy() for array in state)
