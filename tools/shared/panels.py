"""Pictures side by side, and lines of words: what the README's picture and `rvm-export compare` are drawn with."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

TEXT_SIZE, MARGIN = 16, 6
STRIP = TEXT_SIZE + 2 * MARGIN
_TEXT, _GROUND = (235, 235, 235), (28, 28, 28)


def panels(images: Sequence[NDArray[np.floating]], size: tuple[int, int], gap: int = 0) -> Pixels:
    """Images (3 or 1, H, W) in [0, 1], each of any size, in a row of panels of `size`, width and height.

    Right of each and below is a gap of so many pixels, which tells one black panel from the next.
    """
    width, height = size
    row = np.full((height + gap, len(images) * (width + gap), 3), _GROUND, np.uint8)
    for k, image in enumerate(images):
        left = k * (width + gap)
        row[:height, left : left + width] = _panel(image, size)
    return row


def strip(texts: Sequence[str], width: int) -> Pixels:
    """A line of text, STRIP pixels high and `width` wide, in as many columns as there are texts; a long one is cut."""
    image = Image.new("RGB", (width, STRIP), _GROUND)
    draw, font, column = ImageDraw.Draw(image), ImageFont.load_default(TEXT_SIZE), width / len(texts)
    for k, text in enumerate(texts):
        room = column - 2 * MARGIN
        draw.text((k * column + MARGIN, MARGIN), _cut(text, font, room), _TEXT, font)
    return np.asarray(image)


def _panel(image: NDArray[np.floating], size: tuple[int, int]) -> Pixels:
    pixels = np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    """The text, or its beginning and its end, where names of files differ most."""
    half = len(text) // 2
    cut = text
    while half > 0 and font.getlength(cut) > room:
        cut, half = f"{text[:half]}...{text[-half:]}", half - 1
    return cut
