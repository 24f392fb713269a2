"""Parse `--resolution`, `--downsample-ratio` and `--batch` into the sizes to make files for."""

import math
import re
from collections.abc import Sequence

from exporters.spec import LONGEST_SIDE, Fixed
from rvm_model.errors import UserError
from rvm_model.state import auto_graph_ratio, float32_size, internal_size, safe_ratio


def parse_sizes(resolutions: Sequence[str], ratios: Sequence[str], batch: int | None) -> list[Fixed | None]:
    """Return a size for each resolution, with the ratio at the same place; without resolutions `[None]`, any size.

    Raises:
        UserError: an invalid resolution, ratio or batch; a ratio or batch without a resolution; not one ratio for
            each resolution or none at all; or a size that this machine's memory cannot hold.
    """
    if not resolutions:
        if ratios or batch is not None:
            given = "--downsample-ratio" if ratios else "--batch"
            raise UserError(f"{given} goes with a --resolution; without one the file takes any")
        return [None]
    if ratios and len(ratios) != len(resolutions):
        raise UserError(f"{len(resolutions)} resolutions and {len(ratios)} ratios; give one ratio for each, or none")
    if batch is not None and batch < 1:
        raise UserError(f"--batch {batch}: give 1 or more")
    return [
        _size(resolution, ratio, batch or 1)
        for resolution, ratio in zip(resolutions, ratios or ["auto"] * len(resolutions), strict=True)
    ]


def parse_baked_ratios(ratios: Sequence[str]) -> list[float]:
    """Return the ratios of files that take any size at one ratio. Raise UserError for a ratio that is none."""
    for text in ratios:
        if parse_ratio(text) is None:
            raise UserError("--downsample-ratio auto depends on the size; give a --resolution too, or a number")
    return [float(text) for text in ratios]


def parse_ratio(text: str) -> float | None:
    """Return the ratio, or None for auto: a file's fixed ratio, else the one that suits the clip."""
    if text == "auto":
        return None
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if not 0 < ratio <= 1:
        raise UserError(f"--downsample-ratio {text}: give a number in (0, 1], or auto")
    return ratio


def parse_resolution(option: str, text: str) -> tuple[int, int]:
    """Return width and height. Raise UserError if the text is not a size, or a side is too long."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})x([1-9][0-9]{0,8})", text)
    if match is None:
        raise UserError(f"{option} {text}: give width x height in pixels, such as 1280x720")
    width, height = int(match[1]), int(match[2])
    if max(width, height) > LONGEST_SIDE:
        raise UserError(f"{option} {text}: give sides of at most {LONGEST_SIDE} pixels")
    return width, height


def _size(resolution: str, ratio_text: str, batch: int) -> Fixed:
    width, height = parse_resolution("--resolution", resolution)
    fixed = Fixed(width=width, height=height, ratio=_ratio(width, height, ratio_text), batch=batch)
    fixed.refuse_beyond_memory()
    return fixed


def _ratio(width: int, height: int, text: str) -> float:
    if text == "auto":
        try:
            return auto_graph_ratio(height, width)
        except ValueError as error:
            raise UserError(f"{width}x{height} is too narrow for ratio auto; give a --downsample-ratio") from error
    try:
        ratio = float(text)
        same = float32_size(height, width, ratio) == internal_size(height, width, ratio)
    except (ValueError, OverflowError) as error:
        raise UserError(f"--downsample-ratio {text}: give a number in (0, 1], or auto ({error})") from error
    if not same:
        raise UserError(
            f"{width}x{height} at ratio {text} rounds otherwise in float32 than in PyTorch; "
            f"use ratio {safe_ratio(height, width, ratio):g}"
        )
    return ratio
