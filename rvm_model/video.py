"""The released project's readers and writers, over PyAV and Pillow, for loops that were written for them.

`VideoReader` and `ImageSequenceReader` are torch Datasets, frames by index; the writers take tensors in [0, 1]. New
code is better served by `rvm_model.source` and `rvm_model.sink`, which keep timestamps, depth and colours.
"""

import gc
import os
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from rvm_model.colour import SRGB
from rvm_model.frames import Pixels, Properties, Source
from rvm_model.pictures import picture_files, read_picture
from rvm_model.sink import Sink, open_sink
from rvm_model.source import frame_times, open_source

Transform = Callable[[Image.Image], Any]

# A forked child, such as a DataLoader's worker, has none of its parent's threads. A decoder of the parent that is
# garbage already would be freed in the child by chance, and wait there for its threads for ever.
os.register_at_fork(after_in_child=gc.freeze)

_NEAR = 32
"""Frames ahead that are decoded and dropped rather than sought."""


class VideoReader(Dataset[Any]):
    """The frames of a video by index, RGB of 8 bits, as PIL images or what `transform` makes of them.

    In order, each frame is decoded once; elsewhere the file is sought. Works in the workers of a DataLoader.
    """

    def __init__(self, path: str | os.PathLike[str], transform: Transform | None = None):
        self._path, self._transform = Path(path), transform
        self._times = frame_times(self._path)
        with open_source(self._path, max_frames=1) as source:
            self._frame_rate = source.properties.frame_rate
        self._open: _Position | None = None

    @property
    def frame_rate(self) -> Fraction:
        """Frames a second, on average."""
        return self._frame_rate

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, index: int) -> Any:
        """A frame; negative indices count from the end.

        Raises:
            IndexError: there is no such frame.
            VideoError: it cannot be decoded.
        """
        index = range(len(self))[index]
        position = self._open
        if position is None or position.process != os.getpid() or not position.index <= index <= position.index + _NEAR:
            self._open = position = _Position(self._path, self._times, index, abandoned=position)
        image = Image.fromarray(_eight_bits(position.frame(index)))
        return image if self._transform is None else self._transform(image)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


class _Position:
    """A video opened at a frame, for the process that did so."""

    def __init__(self, path: Path, times: list[Fraction], index: int, abandoned: "_Position | None"):
        self.process, self.index, self._path = os.getpid(), index, path
        # In a forked worker the parent's decoder has lost its threads: closing it would wait for them for ever.
        self._abandoned = abandoned if abandoned is not None and abandoned.process != self.process else None
        if abandoned is not None and self._abandoned is None:
            abandoned.close()
        self._opened = ExitStack()
        # An index at time 0 needs no seeking, and there a file may hold frames before its beginning.
        self._source: Source = self._opened.enter_context(open_source(path, start=float(times[index]) if index else 0))
        self._frames = iter(self._source)

    def frame(self, index: int) -> Pixels:
        """That frame, which is this one or a later one."""
        while True:
            frame = next(self._frames, None)
            self.index += 1
            if frame is None:
                raise IndexError(self._source.loss or f"{self._path} ends before frame {index}")
            if self.index > index:
                return frame.pixels

    def close(self) -> None:
        self._opened.close()


class VideoWriter:
    """A video from tensors: H.264, or VP9 for .webm. The file appears when the writer is closed, or goes out of use.

    Args:
        path: .mp4, .mkv, .mov, .webm or .avi.
        frame_rate: Frames a second.
        bit_rate: Bits a second.
    """

    def __init__(self, path: str | os.PathLike[str], frame_rate: float | Fraction, bit_rate: int = 1000000):
        self._path, self._rate, self._bit_rate = Path(path), Fraction(frame_rate).limit_denominator(1001), bit_rate
        self._sink: Sink | None = None
        self._written = 0
        self._opened = ExitStack()
        # The released loop never closes its writer.
        self._finalizer = weakref.finalize(self, self._opened.close)

    def write(self, frames: Tensor) -> None:
        """Frames of the same size as those before.

        Args:
            frames: (T, C, H, W) or (1, T, C, H, W) in [0, 1], C = 3 (RGB) or 1 (grey), any float dtype and device.

        Raises:
            ValueError: another shape.
            VideoError: the file cannot be written.
        """
        for pixels in _pixels(frames, channels=(1, 3)):
            rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
            if self._sink is None:
                self._sink = self._opened.enter_context(
                    open_sink(self._path, self._properties(rgb), alpha=False, mbps=self._bit_rate / 1e6)
                )
            self._sink.write(rgb, self._written)
            self._written += 1

    def _properties(self, rgb: NDArray[np.uint8]) -> Properties:
        height, width = rgb.shape[:2]
        return Properties(
            width=width,
            height=height,
            frame_rate=self._rate,
            time_base=1 / self._rate,
            bits=8,
            colour=SRGB,
            frames=None,
            still=False,
        )

    def close(self) -> None:
        """Finishes the file and gives it its name. Without a frame there is none."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finalizer.detach()
        self._opened.__exit__(kind, error, trace)


class ImageSequenceReader(Dataset[Any]):
    """The pictures of a folder (png, jpg, jpeg) in natural order, RGB, as PIL images or what `transform` makes."""

    def __init__(self, path: str | os.PathLike[str], transform: Transform | None = None):
        self._files, self._transform = picture_files(Path(path)), transform

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Any:
        image = Image.fromarray(_eight_bits(read_picture(self._files[index])))
        return image if self._transform is None else self._transform(image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """There is nothing to close; a reader of videos has it."""


class ImageSequenceWriter:
    """Pictures 0000.jpg, 0001.jpg and so on in a folder, which is made. What has those names is replaced.

    Args:
        path: The folder.
        extension: jpg or png; what Pillow can write.
    """

    def __init__(self, path: str | os.PathLike[str], extension: str = "jpg"):
        self._folder, self._extension = Path(path), extension
        self._folder.mkdir(parents=True, exist_ok=True)
        self._written = 0

    def write(self, frames: Tensor) -> None:
        """Pictures (T, C, H, W) or (1, T, C, H, W) in [0, 1], C = 3 (RGB), 1 (grey) or 4 (RGBA; not for jpg)."""
        for pixels in _pixels(frames, channels=(1, 3, 4)):
            image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
            image.save(self._folder / f"{self._written:04d}.{self._extension}")
            self._written += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """There is nothing to close; a writer of videos has it."""


class ToTensor:
    """A PIL image, or a uint8 array (H, W, C) or (H, W), as a float32 tensor (C, H, W) in [0, 1]."""

    def __call__(self, image: Image.Image | NDArray[np.uint8]) -> Tensor:
        pixels = np.array(image)
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
            raise TypeError(f"ToTensor takes images of 8 bits a channel, not {pixels.dtype} of {pixels.shape}")
        return torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1).to(torch.float32).div(255).contiguous()


def _eight_bits(pixels: Pixels) -> NDArray[np.uint8]:
    return (pixels >> (pixels.itemsize * 8 - 8)).astype(np.uint8)


def _pixels(frames: Tensor, channels: tuple[int, ...]) -> NDArray[np.uint8]:
    """(T, C, H, W) in [0, 1] as (T, H, W, C) in 0..255."""
    if frames.ndim == 5 and len(frames) == 1:
        frames = frames[0]
    if frames.ndim != 4 or frames.shape[1] not in channels:
        allowed = " or ".join(map(str, channels))
        raise ValueError(f"frames must be (T, C, H, W) with C = {allowed}, not {tuple(frames.shape)}")
    scaled = frames.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    pixels: NDArray[np.uint8] = scaled.permute(0, 2, 3, 1).cpu().numpy()
    return np.ascontiguousarray(pixels)
