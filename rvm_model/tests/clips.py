"""Small clips to read."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from rvm_model.colour import SRGB
from rvm_model.frames import Properties
from rvm_model.sink import open_sink


def drawn(count: int, width: int, height: int) -> list[np.ndarray]:
    """A bright disc that moves over a shade, (H, W, 3) uint8: what a codec keeps."""
    y, x = np.mgrid[:height, :width]
    frames = []
    for k in range(count):
        disc = (x - width * (k + 1) / (count + 2)) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2
        shade = np.stack([x * 150 / width, y * 150 / height, np.full_like(x, 90)], axis=-1)
        frames.append(np.where(disc[..., None], [230, 190, 160], shade).astype(np.uint8))
    return frames


def write_clip(path: Path, frames: list[np.ndarray], rate: int = 25) -> Path:
    """Through our own sink, whose tests are elsewhere."""
    height, width, _ = frames[0].shape
    like = Properties(
        width=width,
        height=height,
        frame_rate=Fraction(rate),
        time_base=Fraction(1, rate),
        bits=8,
        colour=SRGB,
        frames=len(frames),
        still=False,
    )
    with open_sink(path, like, alpha=False, quality=5) as sink:
        for k, frame in enumerate(frames):
            sink.write(frame, k)
    return path
