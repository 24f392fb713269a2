"""Run TorchScript files with torch.jit. Such a file is code: this loads only content that somebody trusts."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray

from exporters.artifact import Artifact, ArtifactError, Untrusted
from exporters.runtime import Device, Frame, Matte, State, Step
from exporters.torchscript.artifact import inspect
from rvm_model.device import torch_device
from rvm_model.files import read_file

__all__ = ["inspect", "load", "load_module", "to_numpy"]


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:
    """Yield the step function. See `exporters.runtime.Runtime`."""
    where = torch_device(device)
    module = load_module(artifact, where)
    dtype = torch.float16 if artifact.precision == "fp16" else torch.float32

    def step(frame: Frame, state: State) -> tuple[Matte, State]:
        src = torch.from_numpy(frame).to(where, dtype)
        try:
            with torch.inference_mode():
                fgr, pha, *after = module(src, *(state or [None] * 4), ratio)
        except RuntimeError as error:
            raise ArtifactError(f"{artifact.path} does not run: {_last_line(error)}") from error
        return Matte(fgr=fgr.float().cpu().numpy(), pha=pha.float().cpu().numpy()), after

    yield step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    return tuple(tensor.cpu().numpy().copy() for tensor in state)


def load_module(artifact: Artifact, device: torch.device) -> Any:
    """Load the module in a file. The only place where TorchScript is run.

    Loading runs code: a class's `__setstate__` runs, and may write any file by `aten::save` or `aten::from_file`
    (`test_loading_alone_runs_code`, with torch 2.13).

    Raises:
        Untrusted: nobody trusts the file.
        ArtifactError: it does not load, or is not the content that was trusted.
    """
    path = artifact.path
    if not artifact.trusted_sha256:
        raise Untrusted.of(path, "TorchScript")
    try:
        content = read_file(path)
        if hashlib.sha256(content).hexdigest() != artifact.trusted_sha256:
            raise ArtifactError(f"{path} was changed since it was opened; run the command again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # for all of torch.jit, since torch 2.9
            return torch.jit.load(io.BytesIO(content), map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, IndexError, OSError) as error:
        raise ArtifactError(f"{path} does not load as TorchScript: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    """Return the last line of a TorchScript error, which names the cause."""
    return str(error).strip().rpartition("\n")[2]
