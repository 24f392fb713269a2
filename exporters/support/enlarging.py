"""Refuse numbers in a graph that no matting network has, and for which a runtime would take gigabytes."""

from collections.abc import Iterable
from pathlib import Path

from exporters.artifact import ArtifactError
from exporters.spec import LONGEST_SIDE

LARGEST_PADDING = 64
"""The limit of a padding, in elements. The network pads by 4 at most."""

LARGEST_SIDE = LONGEST_SIDE
"""The limit of a side that an image is resized, filled or repeated to, in elements."""


def refuse_large(path: Path, name: str, numbers: Iterable[float], limit: int) -> None:
    """Raise ArtifactError if a number in the constant or attribute `name` is beyond a limit."""
    largest = max(map(abs, numbers), default=0)
    if largest > limit:
        raise ArtifactError(
            f"{path} is damaged, or no matting network: {name[-100:]!r} has the number {largest}; expected at most "
            f"{limit}"
        )
