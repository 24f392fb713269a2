"""Clips to compare on: an image folder, a video file, or one drawn here that needs nothing.

A clip is short and kept whole, as 8-bit pixels. Sixteen frames are the least: the states' error settles only then, and
a runner that drops its states is perfect on the first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvm_model.colour import VideoError
from rvm_model.errors import UserError
from rvm_model.pixels import to_8_bits
from rvm_model.source import open_source

FEWEST_FRAMES = 16
DEFAULT_FRAMES = 24
BUILTIN_NAME = "built-in clip"

Pixels = NDArray[np.uint8]
Kind = Literal["real", "builtin"]


class ClipError(UserError):
    """A clip that cannot be read or proves nothing. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """`pixels`: (T, B, H, W, 3) RGB, B clips of T frames side by side. `kind` is `builtin` for the one drawn here."""

    name: str
    pixels: Pixels
    kind: Kind = "real"

    def __len__(self) -> int:
        return len(self.pixels)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Frames (B, 3, H, W), float32 in [0, 1]."""
        for frame in self.pixels:
            yield np.ascontiguousarray(frame.transpose(0, 3, 1, 2), np.float32) / np.float32(255)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[2], self.pixels.shape[3]

    def resized(self, width: int, height: int) -> "Clip":
        """The same clip at another size, by Pillow's bicubic filter; the built-in clip is drawn at that size.

        Enlarged it would be unlike any footage, and trained weights would not be sure of it.
        """
        if self.kind == "builtin":
            batch = self.pixels.shape[1]
            drawn = builtin_clip(len(self), width, height)
            return drawn if batch == 1 else drawn.batched(batch)
        frames = [
            [np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)) for image in frame]
            for frame in self.pixels
        ]
        return replace(self, name=f"{self.name} {width}x{height}", pixels=np.array(frames))

    def batched(self, batch: int) -> "Clip":
        """So many different clips side by side: this one, mirrored and backwards, and so on, each begun elsewhere."""
        turns = (self.pixels, self.pixels[::-1, :, :, ::-1])
        clips = [np.roll(turns[k % 2], k // 2, axis=0) for k in range(batch)]
        return replace(self, name=f"{self.name} batch {batch}", pixels=np.concatenate(clips, axis=1))

    def fitted(self, width: int, height: int, batch: int) -> "Clip":
        """The same clip if it has that size and batch already, else resized and batched."""
        clip = self if self.size == (height, width) else self.resized(width, height)
        return clip if clip.pixels.shape[1] == batch else clip.batched(batch)


def load_clip(path: Path | None, frames: int = DEFAULT_FRAMES) -> Clip:
    """The first `frames` frames of an image folder or a video file, in 8 bits; without a path the built-in clip.

    Raises:
        ClipError: fewer than 16 frames asked for or found, no such file, something among them that cannot be decoded,
            images of different sizes or depths, or frames that are all alike.
    """
    if frames < FEWEST_FRAMES:
        raise ClipError(f"{frames} frames are too few to compare on; give at least {FEWEST_FRAMES}")
    if path is None:
        return builtin_clip(frames)
    try:
        if not path.exists():
            raise ClipError(f"no such clip: {path}; give an image folder or a video file")
        with open_source(path, max_frames=frames) as source:
            images = [to_8_bits(frame.pixels) for frame in source]
    except VideoError as error:
        raise ClipError(str(error)) from error
    except OSError as error:
        raise ClipError(f"cannot read {path}: {error.strerror}") from error
    if source.loss is not None:
        raise ClipError(source.loss)
    if len(images) < FEWEST_FRAMES:
        raise ClipError(f"{path} has {len(images)} frames; a comparison needs at least {FEWEST_FRAMES}")
    pixels = np.array(images)[:, None]
    if (pixels == pixels[:1]).all():
        raise ClipError(f"the frames of {path} are all alike; a comparison needs motion")
    return Clip(name=path.name, pixels=pixels)


def builtin_clip(frames: int = DEFAULT_FRAMES, width: int = 320, height: int = 180) -> Clip:
    """A soft-edged figure that moves over a moving pattern, with noise and a scene cut after two thirds.

    Only exact arithmetic, so that it is the same on any machine. Figure and patterns grow with the frame, and keep
    their proportions whatever its own; the noise is of single pixels at every size. A figure of so many pixels at any
    size, or stretched with the frame, left trained weights unsure: all that rounds drifted ten times as far.
    """
    y, x = np.mgrid[:height, :width].astype(np.float64)
    noise = np.random.PCG64(2108)
    return Clip(
        name=BUILTIN_NAME,
        pixels=np.array([_draw(t, x, y, noise, cut=t >= frames * 2 // 3) for t in range(frames)])[:, None],
        kind="builtin",
    )


def _draw(t: int, x: NDArray[np.float64], y: NDArray[np.float64], noise: np.random.PCG64, cut: bool) -> Pixels:
    # In pixels of the default size, as many of them as fit.
    unit = min(x.shape[1] / 320, x.shape[0] / 180)
    x, y = x / unit, y / unit
    if cut:
        tiles = ((x + 3 * t) // 24 + (y - t) // 24) % 2
        background = np.stack([60 + 90 * tiles, 140 - 60 * tiles, 190 - 0.4 * y], axis=-1)
    else:
        wave = np.abs((x + 0.5 * y + 2 * t) % 64 - 32) / 32
        background = np.stack([40 + 70 * wave, 110 + 60 * wave, 80 + 0.5 * x], axis=-1)
    # The figure, 320 by 180 in the middle of the lower edge: a head above shoulders, each an ellipse whose edge is four
    # pixels soft at the default size.
    x, y = x - (x.shape[1] / unit - 320) / 2, y - (x.shape[0] / unit - 180)
    centre = 320 * (0.35 + 0.012 * t) if not cut else 320 * (0.7 - 0.01 * t)
    head = ((x - centre) / (0.09 * 320)) ** 2 + ((y - 0.36 * 180) / (0.2 * 180)) ** 2
    body = ((x - centre) / (0.2 * 320)) ** 2 + ((y - 1.0 * 180) / (0.46 * 180)) ** 2
    alpha = np.clip((1.12 - np.minimum(head, body)) * 4, 0, 1)[..., None]
    skin = np.stack([220 - 0.25 * y, 170 - 0.3 * y, 140 - 0.3 * y], axis=-1)
    cloth = np.stack([90 + 0 * x, 50 + 0.2 * x, 120 + 80 * ((y // 6) % 2)], axis=-1)
    figure = np.where((head < body)[..., None], skin, cloth)
    raw = noise.random_raw(x.size * 3).reshape(*x.shape, 3) >> np.uint64(60)
    image = background + (figure - background) * alpha + (raw.astype(np.float64) - 7.5)
    pixels: Pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return pixels
