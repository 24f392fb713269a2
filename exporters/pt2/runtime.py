"""Run .pt2 files by torch.export.load, which gets no byte that was not checked."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch.export.passes import move_to_device_pass

from exporters.artifact import Artifact, ArtifactError
from exporters.pt2.archive import read_archive
from exporters.pt2.artifact import inspect
from exporters.pt2.installed import check_torch, quiet_torch
from exporters.runtime import Device, Frame, Matte, State, Step
from exporters.support.archive import torch_archive
from rvm_model.device import torch_device
from rvm_model.errors import first_line
from rvm_model.state import state_shapes

__all__ = ["inspect", "load", "load_program", "to_numpy"]


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:  # noqa: ARG001 (it is in the file)
    """Yield the step function. See `exporters.runtime.Runtime`."""
    where = torch_device(device)
    program = load_program(artifact, where)
    dtype = torch.float16 if artifact.precision == "fp16" else torch.float32
    fixed = artifact.fixed
    assert fixed is not None

    def step(frame: Frame, state: State) -> tuple[Matte, State]:
        src = torch.from_numpy(frame).to(where, dtype)
        shapes = state_shapes(artifact.variant, fixed.height, fixed.width, fixed.ratio, len(src))
        before = state or [torch.zeros(shape, dtype=dtype, device=where) for shape in shapes]
        try:
            with torch.inference_mode():
                fgr, pha, *after = program(src, *before)
        except Exception as error:  # the program is another's, and torch raises nearly anything for a wrong one
            raise ArtifactError(f"{artifact.path} does not run: {first_line(error, 200)}") from error
        return Matte(fgr=fgr.float().cpu().numpy(), pha=pha.float().cpu().numpy()), after

    yield step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    return tuple(tensor.cpu().numpy().copy() for tensor in state)


def load_program(artifact: Artifact, device: torch.device) -> torch.nn.Module:
    """Load the program of a file, ready to be called.

    torch.export.load reads an archive that is written here from the checked records, since it might read another
    content than Python does from a zip file of two minds.

    Raises:
        MissingPackage: the installed torch is too old.
        ArtifactError: the file is damaged, or torch does not load it.
    """
    check_torch()
    records = read_archive(artifact.path).records
    content = torch_archive({f"rvm/{name}": record for name, record in records.items()})
    try:
        with quiet_torch():
            program = torch.export.load(io.BytesIO(content))
            if device.type != "cpu":
                program = move_to_device_pass(program, device)
            return program.module()
    except Exception as error:  # torch raises nearly anything for a program that contradicts itself
        reason = first_line(error, 200).partition(". ")[0]
        raise ArtifactError(
            f"{artifact.path} does not load in torch {torch.__version__}: its program contradicts itself, or is of a "
            f"newer torch ({reason})"
        ) from error
