"""Run ExecuTorch programs in ExecuTorch's own runtime, by XNNPACK on the CPU, in a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import INPUTS, OUTPUTS, Artifact, ArtifactError
from exporters.executorch.artifact import inspect
from exporters.runtime import Device, Frame, Matte, State, Step
from exporters.support.tensor_pipe import python_command, running
from rvm_model.device import DeviceError

__all__ = ["inspect", "load", "to_numpy"]

PROGRAM = Path(__file__).with_name("child.py")


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:  # noqa: ARG001 (it is in the file)
    """Yield the step function. See `exporters.runtime.Runtime`. The state is four arrays (1, C, h, w)."""
    if device != "cpu":
        raise DeviceError(f"ExecuTorch runs on the CPU here, not on {device}; use --device cpu")
    shapes = [tuple(map(int, tensor.shape)) for tensor in artifact.inputs]
    dtype = artifact.inputs[0].dtype
    with running(python_command(PROGRAM, artifact.path), artifact, "ExecuTorch") as run:

        def step(frame: Frame, state: State) -> tuple[Matte, State]:
            if frame.shape != shapes[0]:
                batch, _, height, width = frame.shape
                raise ArtifactError(
                    f"{artifact.path} takes one frame of {shapes[0][3]}x{shapes[0][2]}, not {batch} of {width}x{height}"
                )
            before = state or [np.zeros(shape, dtype) for shape in shapes[1:]]
            outputs = run(dict(zip(INPUTS, (frame.astype(dtype), *before), strict=False)))
            fgr, pha, *after = (outputs[name] for name in OUTPUTS)
            return Matte(fgr=fgr.astype(np.float32), pha=pha.astype(np.float32)), tuple(after)

        yield step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    return tuple(array.copy() for array in state)
