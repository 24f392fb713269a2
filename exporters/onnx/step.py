"""What every runtime of ONNX files shares: frame, states and ratio by name into a file, and its outputs by name out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.runtime import Frame, Matte, State, Step
from exporters.spec import INPUTS, OUTPUTS, Artifact
from rvm_model.state import state_shapes

Arrays = Mapping[str, NDArray[Any]]
"""By the names of a file's inputs or outputs, in the file's own dtypes."""

Run = Callable[[Arrays], Arrays]
"""All inputs of one frame to all its outputs. These belong to the caller, and no one writes to them."""


def make_step(artifact: Artifact, ratio: float, run: Run) -> Step:
    """A runtime's `run` as the harness plays it. The state is a tuple of four arrays as the file gives them."""
    src, *states = artifact.inputs[:5]
    fixed = artifact.fixed
    shapes = [(1, 1, 1, 1)] * 4
    if fixed is not None:
        shapes = [*state_shapes(artifact.variant, fixed.height, fixed.width, fixed.ratio, fixed.batch)]
    no_state = tuple(np.zeros(shape, tensor.dtype) for shape, tensor in zip(shapes, states, strict=True))
    ratio_input = {INPUTS[5]: np.array([ratio], np.float32)} if fixed is None else {}

    def step(frame: Frame, state: State) -> tuple[Matte, State]:
        before = zip(INPUTS[1:5], state or no_state, strict=True)
        outputs = run({src.name: frame.astype(src.dtype, copy=False), **dict(before), **ratio_input})
        fgr, pha = (outputs[name].astype(np.float32, copy=False) if name in outputs else None for name in OUTPUTS[:2])
        return Matte(fgr=fgr, pha=pha), tuple(outputs[name] for name in OUTPUTS[2:])

    return step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Four arrays. See `exporters.runtime.Runtime`."""
    return tuple(array.copy() for array in state)
