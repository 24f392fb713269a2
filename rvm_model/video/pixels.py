"""Conversion between pixels in files and images for networks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""(C, H, W), in [0, 1]."""


def to_floats(pixels: NDArray[Any]) -> Image:
    """Convert (H, W, C) of uint8 or uint16 to (C, H, W) in [0, 1]."""
    image: Image = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
    image /= np.float32(np.iinfo(pixels.dtype).max)
    return image


def to_pixels(image: Image, dtype: "np.dtype[Any]") -> NDArray[Any]:
    """Round (C, H, W) in [0, 1] to (H, W, C) of uint8 or uint16, or to (H, W) if there is one channel."""
    pixels = np.rint(image * np.float32(np.iinfo(dtype).max)).astype(dtype)
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))


def to_8_bits(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return uint8 pixels unchanged, and the upper half of uint16 pixels."""
    return pixels.astype(np.uint8, copy=False) if pixels.itemsize == 1 else (pixels >> 8).astype(np.uint8)
