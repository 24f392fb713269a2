"""Images of a clip, one frame at a time: drawn, held in memory, or decoded anew for each play."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvm_model.video.pixels import to_8_bits
from rvm_model.video.source import open_source
from rvm_model.video.synthetic.clip import VERSION, Pixels, draw_frame

_SMALL = 320 * 180
"""Most pixels of a drawn frame that is kept for the next play of the clip."""

_draw_once = lru_cache(maxsize=24)(draw_frame)

_draw_in_step = lru_cache(maxsize=2)(draw_frame)
"""Cache for larger frames: reference, yardstick and file play side by side, and share each drawn frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """The layers of a composed frame: `fgr` (B, 3, H, W) and `pha` (B, 1, H, W), float32 in [0, 1]."""

    fgr: NDArray[np.float32]
    pha: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """One frame: `images` (B, H, W, 3) RGB, and its truth if known."""

    images: Pixels
    truth: Truth | None = None


class Shots(Protocol):
    """The frames of a clip. `size` is height, width; `digest` a hash of all that the pixels depend on."""

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def digest(self) -> str: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Shot]: ...

    def __getitem__(self, t: int) -> Shot: ...


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The built-in story, drawn; see `rvm_model/video/synthetic/clip.py`."""

    frames: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def digest(self) -> str:
        return _hashed("drawn", VERSION, self.frames, self.width, self.height)

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[Shot]:
        return map(self.__getitem__, range(self.frames))

    def __getitem__(self, t: int) -> Shot:
        draw = _draw_once if self.width * self.height <= _SMALL else _draw_in_step
        frame = draw(t, self.width, self.height)
        return Shot(images=frame.image[None], truth=Truth(fgr=frame.fgr[None], pha=frame.pha[None, None]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """All pixels in memory, (T, B, H, W, 3)."""

    pixels: Pixels

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[2], self.pixels.shape[3]

    @cached_property
    def digest(self) -> str:
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        for images in self.pixels:
            digest.update(np.ascontiguousarray(images).data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.pixels)

    def __iter__(self) -> Iterator[Shot]:
        return map(self.__getitem__, range(len(self.pixels)))

    def __getitem__(self, t: int) -> Shot:
        return Shot(images=self.pixels[t])


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A file that is too long to hold. It is decoded from its beginning for every play."""

    path: Path
    frames: int
    size: tuple[int, int]
    digest: str

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[Shot]:
        with open_source(self.path, max_frames=self.frames) as source:
            for frame in source:
                yield Shot(images=to_8_bits(frame.pixels)[None])

    def __getitem__(self, t: int) -> Shot:
        return next(islice(self, t, None))


@dataclass(frozen=True, kw_only=True)
class First:
    """The first frames of other shots."""

    of: Shots
    frames: int

    @property
    def size(self) -> tuple[int, int]:
        return self.of.size

    @property
    def digest(self) -> str:
        return _hashed("first", self.frames, self.of.digest)

    def __len__(self) -> int:
        return min(self.frames, len(self.of))

    def __iter__(self) -> Iterator[Shot]:
        for _, shot in zip(range(self.frames), self.of, strict=False):
            yield shot

    def __getitem__(self, t: int) -> Shot:
        return self.of[range(len(self))[t]]


@dataclass(frozen=True, kw_only=True)
class Resized:
    """Other shots at another size, by Pillow's bicubic filter. Their truth is left out: it would need a resize too."""

    of: Shots
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def digest(self) -> str:
        return _hashed("resized", self.width, self.height, self.of.digest)

    def __len__(self) -> int:
        return len(self.of)

    def __iter__(self) -> Iterator[Shot]:
        return map(self._resized, self.of)

    def __getitem__(self, t: int) -> Shot:
        return self._resized(self.of[t])

    def _resized(self, shot: Shot) -> Shot:
        size = self.width, self.height
        images = [Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in shot.images]
        return Shot(images=np.stack([np.asarray(image) for image in images]))


@dataclass(frozen=True, kw_only=True)
class Batched:
    """Different clips side by side, made of one: itself, mirrored and backwards, and so on, each pair a frame later."""

    of: Shots
    batch: int

    @property
    def size(self) -> tuple[int, int]:
        return self.of.size

    @property
    def digest(self) -> str:
        return _hashed("batched", self.batch, self.of.digest)

    def __len__(self) -> int:
        return len(self.of)

    def __iter__(self) -> Iterator[Shot]:
        return map(self.__getitem__, range(len(self.of)))

    def __getitem__(self, t: int) -> Shot:
        shots = [self._turned(k, t) for k in range(self.batch)]
        truths = [shot.truth for shot in shots if shot.truth is not None]
        truth = None
        if len(truths) == len(shots):
            truth = Truth(
                fgr=np.concatenate([each.fgr for each in truths]), pha=np.concatenate([each.pha for each in truths])
            )
        return Shot(images=np.concatenate([shot.images for shot in shots]), truth=truth)

    def _turned(self, k: int, t: int) -> Shot:
        place = (t - k // 2) % len(self.of)
        if k % 2 == 0:
            return self.of[place]
        shot = self.of[len(self.of) - 1 - place]
        truth = shot.truth and Truth(fgr=shot.truth.fgr[..., ::-1], pha=shot.truth.pha[..., ::-1])
        return Shot(images=shot.images[:, :, ::-1], truth=truth)


def _hashed(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()
