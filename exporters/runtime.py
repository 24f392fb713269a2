"""The interface of a format's `export.py` and of its runtimes, through which the harness calls them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import Artifact
from rvm_model.weights.checkpoint import Checkpoint

Device = Literal["cpu", "cuda"]
Frame = NDArray[np.float32]
State = Any
"""Four recurrent states in the runtime's own form, perhaps on a device; None before the first frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Matte:
    """`fgr` (B, 3, H, W) and `pha` (B, 1, H, W), float32 in [0, 1]; they belong to the caller.

    One of them is None if the file was made without it.
    """

    fgr: Frame | None
    pha: Frame | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """The line of a file of coefficients: slope `A` and offset `b`, (B, 4, h, w) float32; see `rvm_model/full_size.py`.

    They belong to the caller.
    """

    A: Frame
    b: Frame


Step = Callable[[Frame, State], tuple[Matte, State]]
"""Maps one frame (B, 3, H, W), RGB float32 in [0, 1], and the state before it to its matte and the state after it."""

FileStep = Callable[[Frame, State], tuple[Matte | Line, State]]
"""A step of the file itself. A file of coefficients takes frames at the internal size, and gives a line."""

Arrays = Mapping[str, NDArray[Any]]
"""Arrays by the names of a file's inputs or outputs, in the file's own dtypes."""

Run = Callable[[Arrays], Arrays]
"""Maps all inputs of one frame to all its outputs. The outputs belong to the caller, and nobody writes to them."""


class Exporter(Protocol):
    def export(self, checkpoint: Checkpoint, spec: Any, path: Path) -> None:
        """Write the file. This does not verify it, and keeps nothing of an existing file.

        `spec` is an instance of the format's own class, `Format.spec`.
        """


class Runtime(Protocol):
    def inspect(self, path: Path) -> Artifact:
        """Return a description of the file. Raises ArtifactError if it is damaged or no matting network."""

    def load(self, artifact: Artifact, device: Device, ratio: float) -> AbstractContextManager[FileStep]:
        """Return a context manager that yields the step function of a clip, and releases everything at its end.

        Raises ArtifactError, or DeviceError if the device is missing; both on entering.
        """

    def to_numpy(self, state: State) -> tuple[NDArray[Any], ...]:
        """Return the state as four arrays (B, C, h, w) in the file's own dtype, which belong to the caller."""
