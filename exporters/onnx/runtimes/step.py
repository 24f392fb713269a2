"""What every runtime of ONNX files shares: frame, states and ratio by name into a file, and its outputs by name out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.runtime import Arrays, Frame, Matte, Run, State, Step
from exporters.spec import INPUTS, OUTPUTS, Artifact
from rvm_model.state import state_shapes


def make_step(artifact: Artifact, ratio: float, run: Run) -> Step:
    """A runtime's `run` as the harness plays it. The state is a tuple of four arrays as the file gives them."""
    first = no_state(artifact)
    ratio_input = {INPUTS[5]: np.array([ratio], np.float32)} if artifact.fixed is None else {}

    def step(frame: Frame, state: State) -> tuple[Matte, State]:
        before = zip(INPUTS[1:5], state or first, strict=True)
        outputs = run({"src": to_image(artifact, frame), **dict(before), **ratio_input})
        # Copies: its own would lie scattered in onnxruntime's memory, where the next frame's images need room.
        return to_matte(artifact, outputs), tuple(outputs[name].copy() for name in OUTPUTS[2:])

    return step


def no_state(artifact: Artifact) -> tuple[NDArray[Any], ...]:
    """What goes in with the first frame: zeros, one each or of the file's one size."""
    fixed = artifact.fixed
    shapes = [(1, 1, 1, 1)] * 4
    if fixed is not None:
        shapes = [*state_shapes(artifact.variant, fixed.height, fixed.width, fixed.ratio, fixed.batch)]
    return tuple(np.zeros(shape, tensor.dtype) for shape, tensor in zip(shapes, artifact.inputs[1:5], strict=True))


def to_image(artifact: Artifact, frame: Frame) -> NDArray[Any]:
    """A frame as the file's `src` is: in its dtype, or as bytes (B, H, W, 3)."""
    if not artifact.image_bytes:
        return frame.astype(artifact.inputs[0].dtype, copy=False)
    return np.ascontiguousarray(_in_order(artifact, np.rint(frame * 255).astype(np.uint8).transpose(0, 2, 3, 1)))


def to_matte(artifact: Artifact, outputs: Arrays) -> Matte:
    """What the file gives as `fgr` and `pha`, NCHW float32 in [0, 1]."""
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
    """Four arrays. See `exporters.runtime.Runtime`."""
    return tuple(array.copy() for array in state)


def _from_bytes(image: NDArray[np.uint8]) -> Frame:
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def _in_order(artifact: Artifact, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB to the file's order of channels, or back."""
    return image[..., ::-1] if artifact.metadata.get("channel_order") == "BGR" else image
