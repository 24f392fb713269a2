"""Run files in Apple's own CoreML, through coremltools, on macOS only. Images are bytes there.

The authors had no Mac, and have not run this.
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

from exporters.artifact import INPUTS, LINE, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.coreml import MANIFEST, artifact
from exporters.coreml.artifact import IMAGE, STATES
from exporters.runtime import Device, FileStep, Frame, Line, Matte, State
from exporters.support.archive import unpacked
from rvm_model.device import DeviceError
from rvm_model.errors import first_line
from rvm_model.state import state_shapes


def inspect(path: Path) -> Artifact:
    """Describe the file. See `exporters.runtime.Runtime`."""
    return _in_bytes(artifact.inspect(path))


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float, *, unit: str) -> Iterator[FileStep]:  # noqa: ARG001 (it is baked in)
    """Run an artifact by `MLModel.predict`. See `exporters.runtime.Runtime`.

    `unit` is a name in `coremltools.ComputeUnit`. The state is four arrays, or the model's own state.

    Raises:
        ArtifactError: CoreML does not load the file.
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
        except Exception as error:  # any error of its compiler
            raise ArtifactError(f"{artifact.path} does not load in CoreML: {first_line(error)}") from error
        yield make_step(artifact, model)


@contextmanager
def _named(artifact: Artifact) -> Iterator[Path]:
    """Yield the file under a name with the suffix that CoreML requires, and a package unpacked."""
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


def make_step(artifact: Artifact, model: Any) -> FileStep:
    """Return a step for an artifact that calls `model.predict`, as coremltools' models have it."""
    fixed = artifact.fixed
    assert fixed is not None
    shapes = state_shapes(artifact.variant, fixed.height, fixed.width, fixed.ratio)
    first = [np.zeros(shape, np.float32) for shape in shapes]
    keeps = len(artifact.inputs) == 1

    def step(frame: Frame, state: State) -> tuple[Matte | Line, State]:
        src = _picture(frame) if artifact.image_bytes else frame
        kept = {"state": state or model.make_state()} if keeps else {}
        before = {} if keeps else dict(zip(INPUTS[1:5], state or first, strict=True))
        try:
            outputs = model.predict({"src": src, **before}, **kept)
        except Exception as error:  # any error
            raise ArtifactError(f"{artifact.path} does not run in CoreML: {first_line(error)}") from error
        after = kept["state"] if keeps else tuple(outputs[name] for name in OUTPUTS[2:])
        if artifact.gives_line:
            A, b = (np.array(outputs[name], np.float32) for name in LINE)
            return Line(A=A, b=b), after
        return Matte(fgr=_planes(outputs["fgr"], "RGB"), pha=_planes(outputs["pha"], "L")), after

    return step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    if isinstance(state, tuple):
        return tuple(array.copy() for array in state)
    return tuple(np.array(state.read_state(name)) for name in STATES)


def _picture(frame: Frame) -> Image.Image:
    return Image.fromarray(np.rint(frame[0].transpose(1, 2, 0) * 255).astype(np.uint8))


def _planes(output: Any, mode: str) -> Frame:
    """Return an image or a tensor as (1, channels, height, width) in [0, 1]."""
    if not isinstance(output, Image.Image):
        return np.array(output, np.float32)
    pixels = np.asarray(output.convert(mode), np.float32) / np.float32(255)
    return np.ascontiguousarray(pixels[None, None] if mode == "L" else pixels.transpose(2, 0, 1)[None])


def _in_bytes(artifact: Artifact) -> Artifact:
    """Return the artifact with byte images: this runtime has no others, and compares them as bytes."""

    def as_bytes(tensor: TensorInfo) -> TensorInfo:
        return replace(tensor, dtype="uint8") if tensor.dtype == IMAGE else tensor

    return replace(
        artifact,
        inputs=tuple(map(as_bytes, artifact.inputs)),
        outputs=tuple(map(as_bytes, artifact.outputs)),
        others=tuple(map(_in_bytes, artifact.others)),
    )
