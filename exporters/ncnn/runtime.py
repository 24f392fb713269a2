"""Run ncnn models in ncnn's Python package, on the CPU, in a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from exporters.artifact import Artifact, ArtifactError
from exporters.ncnn import GRAPH, WEIGHTS
from exporters.ncnn.artifact import check_shapes, inspect
from exporters.ncnn.contract import CONTRACTS, Contract
from exporters.ncnn.load import read
from exporters.runtime import Device, Frame, Matte, State, Step
from exporters.support.archive import unpacked
from exporters.support.tensor_pipe import python_command, running
from rvm_model.device import DeviceError
from rvm_model.full_size import reduced
from rvm_model.state import state_shapes

__all__ = ["inspect", "load", "to_numpy"]

PROGRAM = Path(__file__).with_name("child.py")


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:
    """Yield the step function. See `exporters.runtime.Runtime`. The state is four arrays (1, C, h, w)."""
    if device != "cpu":
        raise DeviceError(f"ncnn runs on the CPU here, not on {device}; use --device cpu")
    with unpacked(artifact.path, GRAPH) as folder:
        layers = read(artifact.path, folder).layers
        contract = CONTRACTS[str(artifact.facts.get("contract", ""))]
        with running(python_command(PROGRAM, folder / GRAPH, folder / WEIGHTS), artifact, "ncnn") as run:
            checked: set[tuple[int, ...]] = set()

            def step(frame: Frame, state: State) -> tuple[Matte, State]:
                batch, _, height, width = frame.shape
                if frame.shape not in checked:
                    if batch != 1:
                        raise ArtifactError(f"{artifact.path} takes one frame at a time, not {batch}")
                    try:
                        check_shapes(layers, contract, artifact.variant, height, width, ratio)
                    except ValueError as error:
                        raise ArtifactError(f"{artifact.path} does not run: {error}") from error
                    checked.add(frame.shape)
                before = state or _no_state(contract, artifact.variant, height, width, ratio)
                values = (frame[0], *(each[0] for each in before), *_small(contract, frame, ratio))
                outputs = run(dict(zip(contract.inputs, values, strict=True)))
                fgr, pha, *after = (outputs[name][None] for name in contract.outputs)
                return Matte(fgr=fgr, pha=pha), tuple(after)

            yield step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    return tuple(array.copy() for array in state)


def _small(contract: Contract, frame: Frame, ratio: float) -> list[NDArray[np.float32]]:
    """Return the second source, (3, h, w), if the contract has one. A graph that does not read it gets it too."""
    return [reduced(torch.from_numpy(frame), ratio)[0].numpy()] if contract.small else []


def _no_state(
    contract: Contract, variant: str, height: int, width: int, ratio: float
) -> tuple[NDArray[np.float32], ...]:
    """Return the states before the first frame: zeros of their size, since ncnn does not broadcast them."""
    shapes = state_shapes(variant, *contract.inside(height, width, ratio), 1.0)
    return tuple(np.zeros(shape, np.float32) for shape in shapes)
