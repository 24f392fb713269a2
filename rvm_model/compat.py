"""The released project's readers and writers, with its names and signatures, on top of PyAV and Pillow.

They handle PIL images and tensors, one clip at a time. `source.py` and `sink.py` also keep timestamps, depth, colours
and sound.
"""

import gc
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from rvm_model.video.colour import SRGB, VideoError
from rvm_model.video.frames import Properties, TimedFrame
from rvm_model.video.pictures import picture_files, read_picture
from rvm_model.video.pixels import to_8_bits, to_pixels
from rvm_model.video.sink import Sink, open_sink
from rvm_model.video.source import frame_times, open_source

Transform = Callable[[Image.Image], Any]


# A forked child, such as a DataLoader worker, has none of its parent's threads. Without this, the child may collect a
# decoder that was garbage in the parent already, and wait forever for that decoder's threads.
os.register_at_fork(after_in_child=gc.freeze)


class ToTensor:
    """Counterpart of torchvision's: a PIL image, or (H, W, C) uint8, to a float32 tensor (C, H, W) in [0, 1]."""

    def __call__(self, picture: Any) -> Tensor:
        pixels = np.array(picture, np.uint8)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous() / 255


class VideoReader(Dataset[Any]):
    """Frames of a video by index: PIL images in RGB, or the results of `transform`.

    Reading in order decodes one frame after the other; any other order seeks. A `DataLoader` may have workers.

    Args:
        path: Any file that FFmpeg can read.
        transform: Called with each frame.

    Raises:
        VideoError: no such file, or no video in it.
    """

    def __init__(self, path: str | Path, transform: Transform | None = None):
        self.path, self.transform = Path(path), transform
        with open_source(self.path) as source:
            self.frame_rate = float(source.properties.frame_rate)
        self._times = _times(self.path)
        least = min((after - before for before, after in pairwise(self._times)), default=Fraction(1))
        # Seconds before a frame at which decoding begins, so that rounding does not lose the frame.
        self._margin = min(least / 3, Fraction(1, 10_000))
        self._playing: tuple[int, int, ExitStack, Iterator[TimedFrame]] | None = None

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, number: int) -> Any:
        count = len(self)
        if not -count <= number < count:
            raise IndexError(f"{self.path} has {count} frames, and none of number {number}")
        frame = self._frame(number % count)
        image = Image.fromarray(to_8_bits(frame.pixels))
        return image if self.transform is None else self.transform(image)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_playing": None}

    def _frame(self, number: int) -> TimedFrame:
        """Return the next frame of this process's decoder. If that is another frame, open a new decoder first."""
        at = (os.getpid(), number)
        if self._playing is None or self._playing[:2] != at:
            if self._playing is not None:
                _put_away(self._playing[0], self._playing[2])
            opened = ExitStack()
            start = max(self._times[number] - self._margin, Fraction(0))
            source = opened.enter_context(open_source(self.path, start=float(start)))
            self._playing = (*at, opened, iter(source))
        _, _, opened, frames = self._playing
        frame = next(frames, None)
        if frame is None:
            raise VideoError(f"frame {number} of {self.path} cannot be decoded")
        self._playing = (os.getpid(), number + 1, opened, frames)
        return frame


class ImageSequenceReader(Dataset[Any]):
    """The pictures of a folder (png, jpg, jpeg) by index, in natural order. Used like `VideoReader`."""

    def __init__(self, path: str | Path, transform: Transform | None = None):
        self.path, self.transform = Path(path), transform
        self.files = picture_files(self.path)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Any:
        image = Image.fromarray(to_8_bits(read_picture(self.files[number])))
        return image if self.transform is None else self.transform(image)


class _Writer:
    """A writer that completes its output on `close`, at the end of a `with`, or when it is garbage-collected."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Complete the output. Nothing can be written afterwards."""


class VideoWriter(_Writer):
    """A writer of H.264, or VP9 for .webm.

    Args:
        path: Ends in .mp4, .mkv, .mov, .webm or .avi. The file appears when it is complete.
        frame_rate: Frames a second.
        bit_rate: Bits a second.
    """

    def __init__(self, path: str | Path, frame_rate: float, bit_rate: int = 1_000_000):
        self.path, self.bit_rate = Path(path), bit_rate
        self.frame_rate = Fraction(frame_rate).limit_denominator(100_000)
        self._opened = ExitStack()
        self._sink: Sink | None = None
        self._written = 0
        self._finish = weakref.finalize(self, self._opened.close)

    def write(self, frames: Tensor) -> None:
        """Add frames.

        Args:
            frames: (T, C, H, W) or (1, T, C, H, W), RGB or one channel of grey, in [0, 1].

        Raises:
            ValueError: it is closed.
            VideoError: the file cannot be written.
        """
        if not self._finish.alive:
            raise ValueError(f"{self.path} is closed; nothing can be written any more")
        for frame in frames.detach().cpu().float().flatten(0, -4):
            pixels = to_pixels(frame.clamp(0, 1).numpy(), np.dtype(np.uint8))
            if self._sink is None:
                self._sink = self._opened.enter_context(self._open(pixels))
            self._sink.write(pixels, self._written)
            self._written += 1

    def close(self) -> None:
        self._finish()

    def _open(self, pixels: np.ndarray[Any, Any]) -> Any:
        like = Properties(
            width=pixels.shape[1],
            height=pixels.shape[0],
            frame_rate=self.frame_rate,
            time_base=1 / self.frame_rate,
            bits=8,
            colour=SRGB,
            frames=None,
            still=False,
        )
        return open_sink(self.path, like, alpha=False, grey=pixels.ndim == 2, mbps=self.bit_rate / 1e6)


class ImageSequenceWriter(_Writer):
    """A writer of a folder of pictures: 0000.jpg and so on.

    Args:
        path: The folder, created if missing.
        extension: `jpg` or `png`; frames with alpha need `png`.
    """

    def __init__(self, path: str | Path, extension: str = "jpg"):
        self.path, self.extension = Path(path), extension
        self.path.mkdir(parents=True, exist_ok=True)
        self._written = 0

    def write(self, frames: Tensor) -> None:
        """Add frames: (T, C, H, W) or (1, T, C, H, W), C of 1, 3 or 4, in [0, 1]."""
        for frame in frames.detach().cpu().float().flatten(0, -4):
            picture = Image.fromarray(to_pixels(frame.clamp(0, 1).numpy(), np.dtype(np.uint8)))
            picture.save(self.path / f"{self._written:04d}.{self.extension}")
            self._written += 1


def _times(path: Path) -> list[Fraction]:
    """Return when each frame is shown, in order. If the last one is damaged, the file was cut off: decode them all."""
    times = frame_times(path)
    try:
        with open_source(path, start=float(max(times[-1] - Fraction(1, 10_000), Fraction(0)))) as source:
            if len([*source]) == 1 and source.loss is None:
                return times
    except VideoError:
        pass
    with open_source(path) as source:
        begin = times[0]
        base = source.properties.time_base
        shown = [frame.pts * base for frame in source]
    return [begin + each - shown[0] for each in shown]


_INHERITED: list[ExitStack] = []


def _put_away(process: int, opened: ExitStack) -> None:
    """Close a decoder, unless the parent of this forked process opened it: its threads do not exist here."""
    if process == os.getpid():
        opened.close()
    else:
        _INHERITED.append(opened)
