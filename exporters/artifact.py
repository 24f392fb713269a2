"""Describe an exported file: its inputs and outputs, its size, its metadata. Nothing heavy is imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporters.spec import Fixed
from rvm_model.errors import UserError

INPUTS = ("src", "r1i", "r2i", "r3i", "r4i", "downsample_ratio")
OUTPUTS = ("fgr", "pha", "r1o", "r2o", "r3o", "r4o")
IMAGES = ("src", "fgr", "pha")


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """A named input or output; an axis is a length, or a name where any length goes."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An exported file or folder, ours or not, as told from itself.

    `refine` says what it does at ratio 1, as `MattingNetwork(refine=...)`; `fixed` is None where it takes any size;
    `metadata` is empty where the file carries none; `facts` are what only this format has, such as an opset; `others`
    are what the same file is besides, where it holds the network at several sizes.
    """

    path: Path
    format: str
    variant: str
    refiner: str
    precision: str
    refine: str
    fixed: Fixed | None
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    metadata: Mapping[str, str]
    facts: Mapping[str, int | str]
    others: tuple["Artifact", ...] = ()

    @property
    def function(self) -> str:
        """What its consumer calls this size by; empty where a file holds the network once."""
        return str(self.facts.get("function", ""))

    @property
    def image_bytes(self) -> bool:
        """Whether its images are bytes, levels from 0 to 255."""
        return self.inputs[0].dtype == "uint8"

    @property
    def altered(self) -> bool:
        """Made by others, or changed since we wrote it: the same network, perhaps in another order of operations."""
        return "weights_sha256" not in self.metadata or self.facts.get("frozen") == "yes"


class ArtifactError(UserError):
    """A file that is damaged, or is not an exported matting network. The message is one line for the user."""
