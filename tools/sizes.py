"""`--resolution`, `--downsample-ratio` and `--batch` as sizes to make files for."""

import os
import re
from collections.abc import Sequence

from exporters.spec import Fixed
from rvm_model.errors import UserError
from rvm_model.state import auto_downsample_ratio, float32_size, internal_size, safe_ratio

_FULL, _INTERNAL = 100, 400  # bytes per pixel of a frame's activations in float32, roughly


def parse_sizes(resolutions: Sequence[str], ratios: Sequence[str], batch: int | None) -> list[Fixed | None]:
    """One size for each resolution, with the ratio in the same place; `[None]`, any size, without one.

    Raises:
        UserError: a resolution, ratio or batch that is none, a ratio or batch without a resolution, as many ratios as
            there are resolutions neither given nor left out, or a size that this machine's memory cannot hold.
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


def _size(resolution: str, ratio_text: str, batch: int) -> Fixed:
    match = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})", resolution)
    if match is None:
        raise UserError(f"--resolution {resolution}: give width x height in pixels, such as 1280x720")
    width, height = int(match[1]), int(match[2])
    try:
        ratio = auto_downsample_ratio(height, width) if ratio_text == "auto" else float(ratio_text)
        internal = internal_size(height, width, ratio)
    except ValueError as error:
        raise UserError(f"--downsample-ratio {ratio_text}: give a number in (0, 1], or auto ({error})") from error
    if float32_size(height, width, ratio) != internal:
        if ratio_text != "auto":
            raise UserError(
                f"{resolution} at ratio {ratio_text} rounds otherwise in float32 than in PyTorch; "
                f"use ratio {safe_ratio(height, width, ratio):g}"
            )
        ratio = safe_ratio(height, width, ratio)
    needed = batch * (_FULL * width * height + _INTERNAL * internal[0] * internal[1])
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise UserError(
            f"{resolution} at ratio {ratio:g} and batch {batch} would need about {needed / 1e9:.0f} GB, and this "
            f"machine has {memory / 1e9:.0f}; give a smaller --resolution or --downsample-ratio"
        )
    return Fixed(width=width, height=height, ratio=ratio, batch=batch)
