"""Describe one file to make: variant, refiner, precision, size, and bundles of options. Imports nothing heavy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from exporters.support.memory import memory_limit
from rvm_model.errors import UserError
from rvm_model.state import internal_size

COEFFICIENTS = "coefficients"
"""The value of `--outputs` that leaves out the full-size steps, see `rvm_model/full_size.py`."""

LONGEST_SIDE = 65535
"""The longest side of a fixed size, in pixels: far beyond any video, and within what float32 counts exactly."""

# Memory that verifying takes: bytes per pixel of the frame, and of the internal size (ONNX, MobileNetV3, float32, 24
# frames). Peak memory grew by 368 per pixel at ratio .05 (200x200 to 1200x1200) and by 1916 at ratio 1 (300x300 to
# 900x900).
_FULL_SIZE, _INTERNAL_SIZE = 400, 1600


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """One file to make. A format with its own options extends this class; each new field becomes an option.

    Raises:
        SpecError: the format does not support a value, or values exclude each other.
    """

    variant: str
    refiner: str
    precision: str

    def file_name(self, suffix: str, seeded: bool) -> str:
        """Return the file's name: the released name for default options, plus a word for each other value."""
        words = ["rvm", self.variant, *(["fgf"] if self.refiner == "fast_guided_filter" else []), *self.words()]
        return "_".join([*words, self.precision, *(["seeded"] if seeded else [])]) + suffix

    def words(self) -> list[str]:
        """Return the words that the format's own options add to the file's name."""
        return []

    def suffix(self, usual: str) -> str:
        """Return the suffix of the file to write. By default it is the format's usual one."""
        return usual

    @property
    def is_folder(self) -> bool:
        """Return True if the export writes a folder instead of a file."""
        return False

    @classmethod
    def together(cls, specs: Sequence[Self]) -> list[Self]:
        """Return the files to make for specs that were requested at once and differ in their size."""
        return [*specs]


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """The only size of a file: width and height in pixels, downsample ratio and batch are baked in."""

    width: int
    height: int
    ratio: float
    batch: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", float(self.ratio))  # an int 1 would not count as a baked-in ratio

    def metadata(self) -> dict[str, str]:
        """Return the metadata of the size, to be written into the file."""
        return {
            "batch": str(self.batch),
            "resolution": f"{self.width}x{self.height}",
            "downsample_ratio": repr(self.ratio),
        }

    def internal(self) -> "Fixed":
        """Return the internal size, at which a file of coefficients runs."""
        height, width = internal_size(self.height, self.width, self.ratio)
        return Fixed(width=width, height=height, ratio=1, batch=self.batch)

    def refuse_beyond_memory(self) -> None:
        """Raise SpecError if this machine's memory cannot hold the file. Allocates nothing to find out."""
        h, w = internal_size(self.height, self.width, self.ratio)
        needed = self.batch * (_FULL_SIZE * self.width * self.height + _INTERNAL_SIZE * w * h)
        memory = memory_limit()
        if needed > memory:
            raise SpecError(
                f"{self.width}x{self.height} at ratio {self.ratio:g} and batch {self.batch} would need about "
                f"{needed / 1e9:.0f} GB, and this machine has {memory / 1e9:.0f}; make one of them smaller"
            )


@dataclass(frozen=True, kw_only=True)
class FixableSpec(ExportSpec):
    """A spec of a format that makes files for one size, or for any size if `fixed` is None."""

    fixed: Fixed | None = None

    def words(self) -> list[str]:
        if self.fixed is None:
            return []
        batch = [f"b{self.fixed.batch}"] if self.fixed.batch > 1 else []
        return [*batch, f"{self.fixed.width}x{self.fixed.height}", f"s{self.fixed.ratio:g}"]


@dataclass(frozen=True, kw_only=True)
class BakedSpec(FixableSpec):
    """A spec of a format that bakes the ratio into every file, also into one for any size.

    `ratio` is that of a file for any size. A file of one size has it in `fixed`.
    """

    ratio: float | None = None

    @property
    def baked_ratio(self) -> float:
        """Return the ratio of the file. Raises ValueError if there is none."""
        ratio = self.ratio if self.fixed is None else self.fixed.ratio
        if ratio is None:
            raise ValueError("a spec without a size needs a ratio")
        return float(ratio)

    def words(self) -> list[str]:
        return super().words() if self.ratio is None else [f"s{self.ratio:g}"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The value that a profile sets for an option, and the reason.

    `if_it_resizes`: skip it for a file of one size at ratio 1, which has no resize.
    """

    option: str
    value: Any
    why: str
    if_it_resizes: bool = False


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The options that a consumer needs.

    `one_size` is True if it needs a file of one size. `without` maps each precision that it does not support to the
    reason.
    """

    help: str
    choices: tuple[Choice, ...]
    one_size: bool = False
    without: Mapping[str, str] = field(default_factory=dict)

    def options(self, name: str, precision: str, given: Mapping[str, Any], fixed: Fixed | None) -> dict[str, Any]:
        """Return the options that the profile sets.

        Args:
            name: The profile's name, for messages.
            precision: The file's precision.
            given: The options that the user set.
            fixed: The file's one size, or None.

        Raises:
            SpecError: the profile needs a size, or another precision, or the user set another value for one of its
                options.
        """
        if precision in self.without:
            raise SpecError(f"profile {name} makes no {precision} files: {self.without[precision]}")
        if self.one_size and fixed is None:
            raise SpecError(f"profile {name} makes files of one size; give --resolution and --downsample-ratio")
        options = {}
        for choice in self.choices:
            switch = f"--{choice.option.replace('_', '-')}"
            if given.get(choice.option, choice.value) != choice.value:
                raise SpecError(f"profile {name} sets {switch} to {choice.value}; leave {switch} or the profile out")
            if not choice.if_it_resizes or fixed is None or fixed.ratio != 1:
                options[choice.option] = choice.value
        return options


class SpecError(UserError):
    """The options describe no file that can be made."""
