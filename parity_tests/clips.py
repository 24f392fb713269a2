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
from rvm_model.drawn import Pixels, drawn_frames
from rvm_model.errors import UserError
from rvm_model.pixels import to_8_bits
from rvm_model.source import open_source

FEWEST_FRAMES = 16
DEFAULT_FRAMES = 24
BUILTIN_NAME = "built-in clip"

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

    def resets(self, t: int) -> bool:
        return t > 0 and t % 300 == 0

    @property
    def digest(self) -> str:
        import hashlib

        return hashlib.sha256(self.name.encode() + self.pixels.tobytes()).hexdigest()

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
    """What is drawn in `rvm_model/drawn.py`."""
    return Clip(name=BUILTIN_NAME, pixels=drawn_frames(frames, width, height)[:, None], kind="builtin")
