"""Draw pictures side by side with lines of text, and a clip's frames beside PyTorch's alpha and a file's alpha."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from exporters.runtime import Frame
from parity_tests.clips import Clip
from parity_tests.compare import FrameOutputs

Pixels = NDArray[np.uint8]

TEXT_SIZE, MARGIN = 16, 6
STRIP = TEXT_SIZE + 2 * MARGIN
_TEXT, _GROUND = (235, 235, 235), (28, 28, 28)

SHOWN = 2
"""Frames in a picture: the last of each half, since the first ones have no recurrent past yet."""

_WIDTH, _GAP, _QUALITY, _USUAL = 320, 2, 85, 0.995


def panels(images: Sequence[NDArray[np.floating]], size: tuple[int, int], gap: int = 0) -> Pixels:
    """Draw images (3 or 1, H, W) in [0, 1], of any size, as a row of panels of `size` (width, height).

    A gap of `gap` pixels lies right of each panel and below the row, to separate black panels.
    """
    width, height = size
    row = np.full((height + gap, len(images) * (width + gap), 3), _GROUND, np.uint8)
    for k, image in enumerate(images):
        left = k * (width + gap)
        row[:height, left : left + width] = _panel(image, size)
    return row


def strip(texts: Sequence[str], width: int) -> Pixels:
    """Draw a line of text, STRIP pixels high and `width` wide, with a column for each text. A long text is cut."""
    image = Image.new("RGB", (width, STRIP), _GROUND)
    draw, font, column = ImageDraw.Draw(image), ImageFont.load_default(TEXT_SIZE), width / len(texts)
    for k, text in enumerate(texts):
        room = column - 2 * MARGIN
        draw.text((k * column + MARGIN, MARGIN), _cut(text, font, room), _TEXT, font)
    return np.asarray(image)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A JPEG of frames as rows: source, PyTorch's alpha, the file's alpha, their difference times `amplified`.

    `jpeg` holds its bytes in base64. It is empty if the file gives no alpha.
    """

    jpeg: str
    amplified: int


class Album:
    """Collects the frames to show while a clip plays."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._shown = {(k + 1) * len(clip) // SHOWN - 1 for k in range(SHOWN)}
        self._kept: list[tuple[FrameOutputs, FrameOutputs]] = []
        self._seen = 0

    def add(self, expected: FrameOutputs, given: FrameOutputs) -> None:
        if self._seen in self._shown and "pha" in given:
            self._kept.append((expected, given))
        self._seen += 1

    def picture(self) -> Picture:
        mattes = [(expected["pha"][0], given["pha"][0].astype(np.float32)) for expected, given in self._kept]
        # Scale by a high quantile of the difference: the maximum alone would leave the rest black.
        usual = max((float(np.quantile(np.abs(given - expected), _USUAL)) for expected, given in mattes), default=0)
        amplified = 10 ** max(0, math.floor(-math.log10(usual))) if usual > 0 else 1
        height, width = self._clip.size
        size = _WIDTH, max(1, round(_WIDTH * height / width))
        rows = [
            panels([source, expected.clip(0, 1), given.clip(0, 1), difference.clip(0, 1)], size, _GAP)
            for source, (expected, given) in zip(self._sources(), mattes, strict=True)
            for difference in [np.abs(given - expected) * amplified]
        ]
        return Picture(jpeg=_jpeg(rows) if rows else "", amplified=amplified)

    def _sources(self) -> list[Frame]:
        """Return the shown source frames, (3, height, width) in [0, 1]."""
        frames = (self._clip.shots[k].images[0] for k in sorted(self._shown) if k < self._seen)
        return [frame.transpose(2, 0, 1).astype(np.float32) / 255 for frame in frames]


def _jpeg(rows: Sequence[Pixels]) -> str:
    file = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _panel(image: NDArray[np.floating], size: tuple[int, int]) -> Pixels:
    pixels = np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    """Return the text, cut in its middle if it is too long: file names differ most at the beginning and the end."""
    half = len(text) // 2
    cut = text
    while half > 0 and font.getlength(cut) > room:
        cut, half = f"{text[:half]}...{text[-half:]}", half - 1
    return cut
