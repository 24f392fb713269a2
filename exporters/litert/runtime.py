"""Run LiteRT models in ai-edge-litert, on the CPU, in a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import INPUTS, LINE, OUTPUTS, Artifact, ArtifactError
from exporters.litert.artifact import inspect
from exporters.runtime import Device, FileStep, Frame, Line, Matte, State
from exporters.support.tensor_pipe import python_command, running
from rvm_model.device import DeviceError

__all__ = ["inspect", "load", "to_numpy"]

PROGRAM = Path(__file__).with_name("child.py")


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[FileStep]:  # noqa: ARG001
    """Yield the step function. See `exporters.runtime.Runtime`. The state is four arrays (1, h, w, C)."""
    if device != "cpu":
        raise DeviceError(f"LiteRT runs on the CPU here, not on {device}; use --device cpu")
    shapes = [tuple(map(int, tensor.shape)) for tensor in artifact.inputs]
    with running(python_command(PROGRAM, artifact.path), artifact, "LiteRT") as run:

        def step(frame: Frame, state: State) -> tuple[Matte | Line, State]:
            src = np.ascontiguousarray(frame.transpose(0, 2, 3, 1))
            if src.shape != shapes[0]:
                batch, height, width, _ = src.shape
                raise ArtifactError(
                    f"{artifact.path} takes one frame of {shapes[0][2]}x{shapes[0][1]}, not {batch} of {width}x{height}"
                )
            before = state or [np.zeros(shape, np.float32) for shape in shapes[1:]]
            outputs = run(dict(zip(INPUTS, (src, *before), strict=False)))
            after = tuple(outputs[name] for name in OUTPUTS[2:])
            images = {name: np.ascontiguousarray(_nchw(outputs[name])) for name in outputs if name not in OUTPUTS[2:]}
            if artifact.gives_line:
                return Line(**{name: images[name] for name in LINE}), after
            return Matte(fgr=images.get("fgr"), pha=images.get("pha")), after

        yield step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    return tuple(_nchw(array).copy() for array in state)


def _nchw(array: NDArray[Any]) -> NDArray[Any]:
    return array.transpose(0, 3, 1, 2)
