"""Clips to compare on: an image folder, a video file, or the built-in one, which has a person in it and needs no file.

A clip yields one frame at a time, so that a thousand of them take the memory of one. Twelve frames are the minimum: a
runner that drops its states is perfect on the first.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parity_tests.shots import Batched, Decoded, Drawn, First, Held, Resized, Shots
from rvm_model.errors import UserError
from rvm_model.video.colour import VideoError
from rvm_model.video.pixels import to_8_bits
from rvm_model.video.source import open_source
from rvm_model.video.synthetic.clip import Pixels

FEWEST_FRAMES = 12
DEFAULT_FRAMES = 24
BUILTIN_NAME = "built-in clip"

RESET_EVERY = 300
"""Frames after which all sides forget their states, as players do when they seek."""

_LARGE = 1280 * 720
"""Frames with more pixels than this are played in the fewest number, unless the user gave a number."""

_MOST_HELD = 1 << 29
"""Most bytes of a clip that is held in memory; a longer one is decoded for every play."""

Kind = Literal["real", "builtin"]


class ClipError(UserError):
    """A clip that cannot be read or proves nothing. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """Frames under a name. `kind` is `builtin` for the drawn one; `asked` is True if the user gave the length.

    `reset_every` is the number of frames after which all sides forget their states.
    """

    name: str
    shots: Shots
    kind: Kind = "real"
    asked: bool = True
    reset_every: int = RESET_EVERY

    def __len__(self) -> int:
        return len(self.shots)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Yield frames (B, 3, H, W), float32 in [0, 1]."""
        for shot in self.shots:
            yield np.ascontiguousarray(shot.images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.shots.size

    @property
    def batch(self) -> int:
        return self.shots.batch if isinstance(self.shots, Batched) else 1

    @property
    def digest(self) -> str:
        """A hash of all that the pixels depend on, and of where states are reset."""
        return f"{self.shots.digest}-{self.reset_every}"

    @property
    def pixels(self) -> Pixels:
        """All images at once, (T, B, H, W, 3): for short clips."""
        return np.array([shot.images for shot in self.shots])

    def images(self) -> Iterator[Pixels]:
        """Yield the images of each frame, (B, H, W, 3) RGB."""
        for shot in self.shots:
            yield shot.images

    def resets(self, t: int) -> bool:
        """Return whether all sides forget their states before frame `t`."""
        return t > 0 and t % self.reset_every == 0

    def first(self, frames: int) -> "Clip":
        """Return the first frames of this clip."""
        return replace(self, shots=First(of=self.shots, frames=frames))

    def resized(self, width: int, height: int) -> "Clip":
        """Return this clip at another size; the built-in one is drawn at that size, with its truth."""
        if self.kind == "builtin":
            return replace(self, shots=Drawn(frames=len(self), width=width, height=height)).batched(self.batch)
        return replace(
            self, name=f"{self.name} {width}x{height}", shots=Resized(of=self.shots, width=width, height=height)
        )

    def batched(self, batch: int) -> "Clip":
        """Return this and other clips made of it, side by side.

        Raises:
            ClipError: the clip is too long to be held in memory.
        """
        if batch == 1:
            return self
        if isinstance(self.shots, Decoded):
            raise ClipError(f"{self.name} is too long to be played {batch} times at once; give fewer --frames")
        return replace(self, name=f"{self.name} batch {batch}", shots=Batched(of=self.shots, batch=batch))

    def fitted(self, width: int, height: int, batch: int) -> "Clip":
        """Return this clip at a size and batch: itself if it has them, else resized and batched.

        A clip of large frames is cut to the fewest that prove something, unless the user gave their number.
        """
        clip = self if self.size == (height, width) else self.resized(width, height)
        clip = clip if clip.batch == batch else clip.batched(batch)
        return clip.affordable()

    def affordable(self) -> "Clip":
        """Return the clip, shortened if its frames are large and the user gave no length."""
        height, width = self.size
        if self.asked or height * width <= _LARGE or len(self) <= FEWEST_FRAMES:
            return self
        return self.first(FEWEST_FRAMES)


def load_clip(path: Path | None, frames: int | None = None) -> Clip:
    """Return the first frames of an image folder or a video file, in 8 bits, or the built-in clip if `path` is None.

    Args:
        path: An input of `open_source`, or None.
        frames: Most frames; None for 24, or for 12 if they are large.

    Raises:
        ClipError: fewer than 12 frames requested or found, no such file, a frame that cannot be decoded, images of
            different sizes or depths, or frames that are all alike.
    """
    wanted = DEFAULT_FRAMES if frames is None else frames
    if wanted < FEWEST_FRAMES:
        raise ClipError(f"{wanted} frames are too few to compare on; give at least {FEWEST_FRAMES}")
    if path is None:
        return replace(builtin_clip(wanted), asked=frames is not None)
    try:
        if not path.exists():
            raise ClipError(f"no such clip: {path}; give an image folder or a video file")
        shots = _read(path, wanted)
    except VideoError as error:
        raise ClipError(str(error)) from error
    except OSError as error:
        raise ClipError(f"cannot read {path}: {error.strerror}") from error
    return Clip(name=path.name, shots=shots, asked=frames is not None).affordable()


def _read(path: Path, frames: int) -> Shots:
    """Decode all frames once, and keep them if they are few."""
    held: list[Pixels] = []
    digest = hashlib.sha256()
    count = size = 0
    first: Pixels | None = None
    moves = False
    with open_source(path, max_frames=frames) as source:
        for frame in source:
            image = to_8_bits(frame.pixels)
            first = image if first is None else first
            moves = moves or not np.array_equal(image, first)
            digest.update(np.ascontiguousarray(image).data)
            count += 1
            size += image.nbytes
            if size <= _MOST_HELD:
                held.append(image)
    if source.loss is not None:
        raise ClipError(source.loss)
    if count < FEWEST_FRAMES or first is None:
        raise ClipError(f"{path} has {count} frames; a comparison needs at least {FEWEST_FRAMES}")
    if not moves:
        raise ClipError(f"the frames of {path} are all alike; a comparison needs motion")
    if len(held) == count:
        return Held(pixels=np.array(held)[:, None])
    height, width = first.shape[:2]
    return Decoded(path=path, frames=count, size=(height, width), digest=digest.hexdigest())


def builtin_clip(frames: int = DEFAULT_FRAMES, width: int = 320, height: int = 180) -> Clip:
    """Return the built-in clip, see `rvm_model/video/synthetic/clip.py`. Its truth is known."""
    return Clip(name=BUILTIN_NAME, shots=Drawn(frames=frames, width=width, height=height), kind="builtin")


def held_clip(name: str, pixels: Pixels, kind: Kind = "real") -> Clip:
    """Return a clip of pixels (T, B, H, W, 3)."""
    return Clip(name=name, shots=Held(pixels=pixels), kind=kind)
