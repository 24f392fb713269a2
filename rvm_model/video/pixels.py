"""Between pixels as files have them and images as networks take them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""(C, H, W), in [0, 1]."""


def to_floats(pixels: NDArray[Any]) -> Image:
    """(H, W, C) of uint8 or uint16 to (C, H, W) in [0, 1]."""
    image: Image = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
    image /= np.float32(np.iinfo(pixels.dtype).max)
    return image


def to_pixels(image: Image, dtype: "np.dtype[Any]") -> NDArray[Any]:
    """(C, H, W) in [0, 1], rounded to (H, W, C) of uint8 or uint16; (H, W) of one channel."""
    pixels = np.rint(image * np.float32(np.iinfo(dtype).max)).astype(dtype)
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))


def to_8_bits(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The same pixels if they are uint8, else their upper half."""
    return pixels.astype(np.uint8, copy=False) if pixels.itemsize == 1 else (pixels >> 8).astype(np.uint8)
