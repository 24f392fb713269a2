"""Apple's own CoreML, through coremltools, as the harness plays it: on macOS only. Images are bytes there.

Not run by whoever wrote this, who had no Mac.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters.coreml import MANIFEST, artifact
from exporters.coreml.artifact import IMAGE, STATES
from exporters.runtime import Device, Frame, Matte, State, Step
from exporters.spec import INPUTS, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.support.archive import unpacked
from rvm_model.device import DeviceError
from rvm_model.state import state_shapes


def inspect(path: Path) -> Artifact:
    """What the file is. See `exporters.runtime.Runtime`."""
    return _in_bytes(artifact.inspect(path))


@contextmanager
def predicting(artifact: Artifact, device: Device, unit: str) -> Iterator[Step]:
    """Play an artifact by `MLModel.predict` on a compute unit, by its name in `coremltools.ComputeUnit`.

    Its state is four arrays, or what the model keeps.

    Raises:
        ArtifactError: CoreML does not take the file.
        DeviceError: no Mac, or a device of other runtimes.
    """
    if sys.platform != "darwin":
        raise DeviceError("CoreML itself runs on macOS only; use --runtime evaluator here")
    if device != "cpu":
        raise DeviceError(f"CoreML chooses among a Mac's devices, and has no {device}; use --device cpu")
    import coremltools as ct

    function = artifact.function or None
    with _named(artifact) as path:
        try:
            model = ct.models.MLModel(str(path), compute_units=ct.ComputeUnit[unit], function_name=function)
        except Exception as error:  # whatever its compiler says
            raise ArtifactError(f"{artifact.path} does not load in CoreML: {_first_line(error)}") from error
        yield make_step(artifact, model)


@contextmanager
def _named(artifact: Artifact) -> Iterator[Path]:
    """The file by a name that ends as CoreML wants it, and a package unpacked."""
    program = artifact.facts["kind"] == "ML program"
    with (
        TemporaryDirectory() as desk,
        unpacked(artifact.path, MANIFEST) if program else nullcontext(artifact.path) as at,
    ):
        suffix = ".mlpackage" if program else ".mlmodel"
        path = at if at.suffix == suffix else Path(desk) / f"model{suffix}"
        if path != at:
            path.symlink_to(at.resolve())
        yield path


def make_step(artifact: Artifact, model: Any) -> Step:
    """What plays an artifact by a model that `predict`s as coremltools' does."""
    fixed = artifact.fixed
    assert fixed is not None
    shapes = state_shapes(artifact.variant, fixed.height, fixed.width, fixed.ratio)
    first = [np.zeros(shape, np.float32) for shape in shapes]
    keeps = len(artifact.inputs) == 1

    def step(frame: Frame, state: State) -> tuple[Matte, State]:
        src = _picture(frame) if artifact.image_bytes else frame
        kept = {"state": state or model.make_state()} if keeps else {}
        before = {} if keeps else dict(zip(INPUTS[1:5], state or first, strict=True))
        try:
            outputs = model.predict({"src": src, **before}, **kept)
        except Exception as error:  # whatever it says
            raise ArtifactError(f"{artifact.path} does not run in CoreML: {_first_line(error)}") from error
        matte = Matte(fgr=_planes(outputs["fgr"], "RGB"), pha=_planes(outputs["pha"], "L"))
        return matte, kept["state"] if keeps else tuple(outputs[name] for name in OUTPUTS[2:])

    return step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Four arrays. See `exporters.runtime.Runtime`."""
    if isinstance(state, tuple):
        return tuple(array.copy() for array in state)
    return tuple(np.array(state.read_state(name)) for name in STATES)


def _picture(frame: Frame) -> Image.Image:
    return Image.fromarray(np.rint(frame[0].transpose(1, 2, 0) * 255).astype(np.uint8))


def _planes(output: Any, mode: str) -> Frame:
    """(1, channels, height, width) in [0, 1], of an image or a tensor."""
    if not isinstance(output, Image.Image):
        return np.array(output, np.float32)
    pixels = np.asarray(output.convert(mode), np.float32) / np.float32(255)
    return np.ascontiguousarray(pixels[None, None] if mode == "L" else pixels.transpose(2, 0, 1)[None])


def _in_bytes(artifact: Artifact) -> Artifact:
    """Here images are nothing but bytes, and are compared as such."""

    def as_bytes(tensor: TensorInfo) -> TensorInfo:
        return replace(tensor, dtype="uint8") if tensor.dtype == IMAGE else tensor

    return replace(
        artifact,
        inputs=tuple(map(as_bytes, artifact.inputs)),
        outputs=tuple(map(as_bytes, artifact.outputs)),
        others=tuple(map(_in_bytes, artifact.others)),
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:500]
