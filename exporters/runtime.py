"""What a format's `export.py` and its runtimes offer, so that the harness knows none of them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.spec import Artifact
from rvm_model.weights.checkpoint import Checkpoint

Device = Literal["cpu", "cuda"]
Frame = NDArray[np.float32]
State = Any
"""Four recurrent states as the runtime holds them, perhaps on a device; None before the first frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Matte:
    """`fgr` (B, 3, H, W) and `pha` (B, 1, H, W), float32 in [0, 1]; they belong to the caller.

    None is what a file was made without.
    """

    fgr: Frame | None
    pha: Frame | None


Step = Callable[[Frame, State], tuple[Matte, State]]
"""One frame (B, 3, H, W), RGB float32 in [0, 1], and the state before it, to its matte and the state after it."""

Arrays = Mapping[str, NDArray[Any]]
"""By the names of a file's inputs or outputs, in the file's own dtypes."""

Run = Callable[[Arrays], Arrays]
"""All inputs of one frame to all its outputs. These belong to the caller, and no one writes to them."""


class Exporter(Protocol):
    def export(self, checkpoint: Checkpoint, spec: Any, path: Path) -> None:
        """Write the file. Nothing is verified here, and nothing is kept from an existing file.

        `spec` is of the format's own kind, `Format.spec`.
        """


class Runtime(Protocol):
    def inspect(self, path: Path) -> Artifact:
        """What the file is. Raises ArtifactError if it is damaged or no matting network."""

    def load(self, artifact: Artifact, device: Device, ratio: float) -> AbstractContextManager[Step]:
        """Ready to play a clip within a `with`, after which whatever was started is gone.

        Raises ArtifactError, or DeviceError where the device is missing; both on entering.
        """

    def to_numpy(self, state: State) -> tuple[NDArray[Any], ...]:
        """Four arrays (B, C, h, w) in the file's own dtype, which belong to the caller."""
