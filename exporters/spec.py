"""Describe one file to make: variant, refiner, precision, size, and bundles of options. Nothing heavy is imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from exporters.support.memory import memory_limit
from rvm_model.errors import UserError
from rvm_model.state import internal_size

LONGEST_SIDE = 65535
"""Of a fixed size, in pixels: far beyond any video, and within what float32 counts exactly."""

# Bytes per pixel of the frame and of the internal size that verifying takes (ONNX, MobileNetV3, float32, 24 frames).
# Peak memory grew by 368 per pixel at ratio .05 (200x200 to 1200x1200) and by 1916 at ratio 1 (300x300 to 900x900).
_FULL_SIZE, _INTERNAL_SIZE = 400, 1600


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """One file to make. A format with options of its own extends this; each field there becomes one of the command's.

    Raises:
        SpecError: a value that the format does not know, or values that exclude each other.
    """

    variant: str
    refiner: str
    precision: str

    def file_name(self, suffix: str, seeded: bool) -> str:
        """The released file's name where every option has its default, else with a word for each that has not."""
        words = ["rvm", self.variant, *(["fgf"] if self.refiner == "fast_guided_filter" else []), *self.words()]
        return "_".join([*words, self.precision, *(["seeded"] if seeded else [])]) + suffix

    def words(self) -> list[str]:
        """What the format's own options add to the file's name."""
        return []

    def suffix(self, usual: str) -> str:
        """How the name of what is written ends: mostly as the format's usually do."""
        return usual

    @property
    def is_folder(self) -> bool:
        """Whether a folder is written, and no file."""
        return False

    @classmethod
    def together(cls, specs: Sequence[Self]) -> list[Self]:
        """The files to make of those that were asked for at once, which differ in their size."""
        return [*specs]


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """The one size that a file is made for: pixels, downsample ratio and batch are baked in."""

    width: int
    height: int
    ratio: float
    batch: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", float(self.ratio))  # a 1 that is an int would be no baked-in number

    def metadata(self) -> dict[str, str]:
        """What a file says of its size."""
        return {
            "batch": str(self.batch),
            "resolution": f"{self.width}x{self.height}",
            "downsample_ratio": repr(self.ratio),
        }

    def refuse_beyond_memory(self) -> None:
        """Raises SpecError if this machine's memory could not hold it; nothing is allocated to find out."""
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
    """A spec of a format that makes files for one size, or for any where `fixed` is None."""

    fixed: Fixed | None = None

    def words(self) -> list[str]:
        if self.fixed is None:
            return []
        batch = [f"b{self.fixed.batch}"] if self.fixed.batch > 1 else []
        return [*batch, f"{self.fixed.width}x{self.fixed.height}", f"s{self.fixed.ratio:g}"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An option's value in a profile, and why; `if_it_resizes` where a file of one size at ratio 1 has none."""

    option: str
    value: Any
    why: str
    if_it_resizes: bool = False


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a consumer needs, as options. `one_size` says that it needs a file of one size; `without` are precisions
    that are not for it, and why.
    """

    help: str
    choices: tuple[Choice, ...]
    one_size: bool = False
    without: Mapping[str, str] = field(default_factory=dict)

    def options(self, name: str, precision: str, given: Mapping[str, Any], fixed: Fixed | None) -> dict[str, Any]:
        """The options that the profile sets.

        Args:
            name: The profile's, for messages.
            precision: The file's.
            given: The options that the user gave.
            fixed: The file's one size, or None.

        Raises:
            SpecError: the profile needs a size, or another precision, or the user gave another value for an option that
                it sets.
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
    """Options that make no file."""
