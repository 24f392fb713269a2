"""Pass frame, states and ratio by name to a file, and read its outputs by name, for every runtime of ONNX files."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import INPUTS, LINE, OUTPUTS, Artifact
from exporters.runtime import Arrays, FileStep, Frame, Line, Matte, Run, State
from rvm_model.state import state_shapes


def make_step(artifact: Artifact, ratio: float, run: Run) -> FileStep:
    """Return the step function of a runtime's `run`. The state is a tuple of four arrays in the file's own form."""
    first = no_state(artifact)
    takes_ratio = INPUTS[5] in {tensor.name for tensor in artifact.inputs}
    ratio_input = {INPUTS[5]: np.array([ratio], np.float32)} if takes_ratio else {}

    def step(frame: Frame, state: State) -> tuple[Matte | Line, State]:
        before = zip(INPUTS[1:5], state or first, strict=True)
        outputs = run({"src": to_image(artifact, frame), **dict(before), **ratio_input})
        # Copies: the originals would fragment onnxruntime's memory, where the next frame's images need room.
        return to_matte(artifact, outputs), tuple(outputs[name].copy() for name in OUTPUTS[2:])

    return step


def no_state(artifact: Artifact) -> tuple[NDArray[Any], ...]:
    """Return the states before the first frame: zeros, one each or in the file's one size."""
    fixed = artifact.fixed
    shapes = [(1, 1, 1, 1)] * 4
    if fixed is not None:
        shapes = [*state_shapes(artifact.variant, fixed.height, fixed.width, fixed.ratio, fixed.batch)]
    return tuple(np.zeros(shape, tensor.dtype) for shape, tensor in zip(shapes, artifact.inputs[1:5], strict=True))


def to_image(artifact: Artifact, frame: Frame) -> NDArray[Any]:
    """Return a frame as the file's `src`: in its dtype, or as bytes (B, H, W, 3)."""
    if not artifact.image_bytes:
        return frame.astype(artifact.inputs[0].dtype, copy=False)
    return np.ascontiguousarray(_in_order(artifact, np.rint(frame * 255).astype(np.uint8).transpose(0, 2, 3, 1)))


def to_matte(artifact: Artifact, outputs: Arrays) -> Matte | Line:
    """Return the file's `fgr` and `pha` as NCHW float32 in [0, 1], or its line."""
    if artifact.gives_line:
        A, b = (outputs[name].astype(np.float32, copy=False) for name in LINE)
        return Line(A=A, b=b)
    fgr, pha = (outputs.get(name) for name in OUTPUTS[:2])
    if not artifact.image_bytes:
        return Matte(
            fgr=None if fgr is None else fgr.astype(np.float32, copy=False),
            pha=None if pha is None else pha.astype(np.float32, copy=False),
        )
    return Matte(
        fgr=None if fgr is None else _from_bytes(_in_order(artifact, fgr)),
        pha=None if pha is None else _from_bytes(pha),
    )


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    return tuple(array.copy() for array in state)


def _from_bytes(image: NDArray[np.uint8]) -> Frame:
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def _in_order(artifact: Artifact, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert RGB to the file's order of channels, or back."""
    return image[..., ::-1] if artifact.metadata.get("channel_order") == "BGR" else image
