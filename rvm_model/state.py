"""Size rules of the network in plain integers, without torch, so that a command line or an app imports them cheaply.

Source: arXiv:2108.11515, section 3; the released files for the channel counts.
"""

import math
import struct
from typing import Literal, get_args

Variant = Literal["mobilenetv3", "resnet50"]
Refiner = Literal["deep_guided_filter", "fast_guided_filter"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
REFINERS: tuple[Refiner, ...] = get_args(Refiner)

STATE_CHANNELS = {
    "mobilenetv3": (16, 20, 40, 64),
    "resnet50": (16, 32, 64, 128),
}
"""Channels of the recurrent states r1..r4."""

Shape = tuple[int, int, int, int]


def auto_downsample_ratio(height: int, width: int) -> float:
    """Return the ratio that brings the longer side of a frame to at most 512 pixels, in (0, 1].

    Raises:
        ValueError: a side is not positive.
    """
    if min(height, width) < 1:
        raise ValueError(f"a frame of {width}x{height} has no pixels; both sides must be at least 1")
    return min(512 / max(height, width), 1.0)


def internal_size(height: int, width: int, downsample_ratio: float) -> tuple[int, int]:
    """Return height and width at which the network runs, in pixels: the floor of the float64 product, as in PyTorch.

    Raises:
        ValueError: the ratio is outside (0, 1], or leaves no pixel.
    """
    if not 0 < downsample_ratio <= 1:
        raise ValueError(f"downsample ratio {downsample_ratio} is not in (0, 1]")
    size = math.floor(height * downsample_ratio), math.floor(width * downsample_ratio)
    if min(size) < 1:
        raise ValueError(
            f"{width}x{height} at downsample ratio {downsample_ratio} leaves {size[1]}x{size[0]} pixels; "
            "use a larger ratio"
        )
    return size


def state_shapes(
    variant: str, height: int, width: int, downsample_ratio: float, batch: int = 1
) -> tuple[Shape, Shape, Shape, Shape]:
    """Return the shapes (B, C, H, W) of r1..r4 for a source of `height` x `width`: state k has ceil(internal / 2^k).

    Raises:
        ValueError: unknown variant, or a ratio that `internal_size` rejects.
    """
    if variant not in STATE_CHANNELS:
        raise ValueError(f"unknown variant {variant!r}; choose one of {', '.join(VARIANTS)}")
    h, w = internal_size(height, width, downsample_ratio)
    r1, r2, r3, r4 = (
        (batch, channels, -(-h // 2**k), -(-w // 2**k)) for k, channels in enumerate(STATE_CHANNELS[variant], start=1)
    )
    return r1, r2, r3, r4


def float32_size(height: int, width: int, downsample_ratio: float) -> tuple[int, int]:
    """Return the internal size of a graph whose ratio is a float32 input: 252, not 251, for 720 at .35."""
    ratio = _float32(downsample_ratio)
    return math.floor(_float32(height * ratio)), math.floor(_float32(width * ratio))


def safe_ratio(height: int, width: int, downsample_ratio: float) -> float:
    """Return the nearest multiple of 1/1000 at which float32 and float64 give the same internal size."""
    near = sorted(range(1, 1001), key=lambda thousandth: abs(thousandth / 1000 - downsample_ratio))
    return next(
        k / 1000
        for k in near
        if min(height, width) * k >= 1000
        and float32_size(height, width, k / 1000) == internal_size(height, width, k / 1000)
    )


def auto_graph_ratio(height: int, width: int) -> float:
    """Return `auto_downsample_ratio`, or the nearest safe ratio if float32 rounds the internal size differently.

    Raises:
        ValueError: the ratio leaves no pixel.
    """
    ratio = auto_downsample_ratio(height, width)
    same = float32_size(height, width, ratio) == internal_size(height, width, ratio)
    return ratio if same else safe_ratio(height, width, ratio)


def _float32(value: float) -> float:
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded
