"""Describe an exported file: its inputs and outputs, its size, its metadata. Nothing heavy is imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporters.spec import Fixed
from rvm_model.errors import UserError

INPUTS = ("src", "r1i", "r2i", "r3i", "r4i", "downsample_ratio")
OUTPUTS = ("fgr", "pha", "r1o", "r2o", "r3o", "r4o")
IMAGES = ("src", "fgr", "pha")
LINE = ("A", "b")
"""The outputs of a file of coefficients, in place of `fgr` and `pha`; see `rvm_model/full_size.py`."""


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """A named input or output. An axis is a length, or a name if it takes any length."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An exported file or folder, ours or another's, described from its own content.

    `refine` is its behaviour at ratio 1, as in `MattingNetwork(refine=...)`. `fixed` is None if it takes any size.
    `ratio` is the downsample ratio of a file that takes any size and has it baked in, else None.
    `metadata` is empty if the file has none. `facts` are properties that only this format has, such as an opset.
    `others` describe the other sizes in a file that holds the network at several.

    `trusted_sha256` is the hash of the content that may be run if the file is code. Empty: nobody trusts it.
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
    ratio: float | None = None
    trusted_sha256: str = ""

    @property
    def function(self) -> str:
        """Return the name by which a consumer calls this size; empty if the file holds the network once."""
        return str(self.facts.get("function", ""))

    @property
    def baked_ratio(self) -> float | None:
        """Return the ratio that the file has baked in, for its one size or for any; None if it takes any."""
        return self.ratio if self.fixed is None else self.fixed.ratio

    @property
    def image_bytes(self) -> bool:
        """Return True if its images are bytes, levels from 0 to 255."""
        return self.inputs[0].dtype == "uint8"

    @property
    def gives_line(self) -> bool:
        """Return True if it takes frames at the internal size and gives A and b: a file of coefficients.

        `fixed` is then the size of the full frame. Its runtimes run the full-size steps, so that frames and mattes have
        full size here too.
        """
        return self.outputs[0].name == LINE[0]

    @property
    def mattes(self) -> frozenset[str]:
        """Return which of `fgr` and `pha` its runtimes give."""
        names = frozenset(tensor.name for tensor in self.outputs)
        has_both = self.gives_line or "contract" in self.facts  # a contract may have other names
        return frozenset(OUTPUTS[:2]) if has_both else names & {*OUTPUTS[:2]}


class ArtifactError(UserError):
    """The file is damaged, or is not an exported matting network. The message is one line for the user."""


class UnknownFormat(ArtifactError):
    """The file is of none of the formats, or is damaged. The message is one line for the user."""


class Untrusted(ArtifactError):
    """The file is code, and nobody has declared it trusted. The message is one line for the user."""

    @classmethod
    def of(cls, path: Path, title: str) -> "Untrusted":
        """Return the error for a file of the format with this title."""
        return cls(f"{path} is a {title} file, which is code and would be run; give --trust if you trust it")
