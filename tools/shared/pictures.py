"""Frames of a clip beside PyTorch's alpha, a file's and their difference: the pictures of the report and benchmark."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from exporters.runtime import Frame
from parity_tests.clips import Clip
from parity_tests.compare import FrameOutputs
from tools.shared.panels import Pixels, panels

SHOWN = 2
"""Frames in a picture: the last of each half, since the first ones have no past yet."""

_WIDTH, _GAP, _QUALITY, _USUAL = 320, 2, 85, 0.995


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Frames as rows; from left to right the source, PyTorch's alpha, the file's, their difference times `amplified`.

    `jpeg` is the file's bytes in base64; it is empty where the file gives no alpha.
    """

    jpeg: str
    amplified: int


class Album:
    """The frames that are shown, kept as they pass."""

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
        # By what all but few pixels differ: the worst alone would leave the rest black.
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
        """Those that are shown, (3, height, width) in [0, 1]."""
        frames = (self._clip.shots[k].images[0] for k in sorted(self._shown) if k < self._seen)
        return [frame.transpose(2, 0, 1).astype(np.float32) / 255 for frame in frames]


def _jpeg(rows: Sequence[Pixels]) -> str:
    file = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode()
