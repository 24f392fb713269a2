"""Types that sources and sinks exchange: frames, the properties that all frames of a source share, and its tracks."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from rvm_model.video.colour import DEEP_INTERPOLATION, INTERPOLATION, RGB, Colour, VideoError
from rvm_model.video.deinterlace import Deinterlace
from rvm_model.video.hdr import HdrMetadata

LARGEST_SIDE = 16384
MOST_PIXELS = 100_000_000
"""The limit of a frame's pixels. The largest cameras have 80 million, and one of 169 million takes 2 GB of memory."""

MOST_SECONDS = 1e9

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Properties:
    """Properties of a source. A sink is made to match them.

    `width`, `height` are upright, after rotation and resize. `frame_rate` is the average; `time_base` is the unit of
    timestamps, in seconds. `bits` is the depth in the file: 8 gives uint8 frames, more gives uint16. `frames` is the
    number of frames to come by the container's count or duration, None if it declares neither. `pixel_aspect` is the
    width of a pixel over its height, 1 after a resize. `hdr` is the metadata of a high dynamic range, if there is any.
    """

    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    bits: int
    colour: Colour
    frames: int | None
    still: bool
    pixel_aspect: Fraction = Fraction(1)
    hdr: HdrMetadata | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedFrame:
    """A frame and its time.

    `pixels`: (H, W, 3) RGB in the source's primaries and transfer, uint8 in 0..255, or uint16 in 0..65535 if the
    source has more than 8 bits; rows may lie apart in memory. `pts`: in the source's `time_base`, always increasing.
    `name`: that of the picture without its suffix, or None in a video.
    """

    pixels: Pixels
    pts: int
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """All that a video file has beside its video, for a sink to copy: sound, subtitles, chapters, titles and the like.

    It spans `start` to before `end`, in seconds by the file's own clock; None is no bound. It is written `shift`
    seconds earlier. With `until_video_ends`, tracks that begin after the sink's last frame are left out; `last_time`
    is about when that is, or `end`. `ticks` is the fewest parts of a second in which the timestamps of all sound are
    whole numbers. `video` is the index of the video.
    """

    path: Path
    start: Fraction | None
    end: Fraction | None
    last_time: Fraction | None
    shift: Fraction
    until_video_ends: bool
    ticks: int
    video: int


@dataclass(frozen=True, kw_only=True)
class Window:
    """The requested part of a source, in seconds from its beginning, and the requested size and dynamic range."""

    resize: tuple[int, int] | None = None
    start: float = 0
    end: float | None = None
    max_frames: int | None = None
    sdr: bool = False
    deinterlace: Deinterlace = "auto"

    def check(self, path: Path) -> None:
        """Raise VideoError if no frame can be in the window."""
        end = MOST_SECONDS if self.end is None else self.end
        if not 0 <= self.start < end <= MOST_SECONDS:
            raise VideoError(
                f"{path} from {self.start:g} to {end:g} s is nothing; give a start from 0 on before the end"
            )
        if self.max_frames is not None and self.max_frames < 1:
            raise VideoError(f"{self.max_frames} frames of {path} are too few; give at least 1")
        if self.resize is not None:
            check_size(*self.resize, path)


class Source(ABC):
    """An iterable of frames, to be read once.

    `loss` is set while reading: one line on what could not be decoded, or None. `tracks` is what a sink
    copies beside the frames, or None. `interlaced` tells whether the file declared one of the frames so far interlaced.
    """

    properties: Properties
    tracks: Tracks | None = None

    @property
    def interlaced(self) -> bool:
        return False

    def __init__(self, path: Path, window: Window):
        self.path = path
        self.loss: str | None = None
        self.window = window
        self._reformatter = VideoReformatter()
        self._frames = self.read()
        self._first = next(self._frames, None)
        if self._first is None:
            raise VideoError(self.loss or f"{path} has no frame in the part that was asked for")

    def __iter__(self) -> Iterator[TimedFrame]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._frames

    @abstractmethod
    def read(self) -> Iterator[TimedFrame]:
        """Yield the frames. Set `properties` before the first one."""

    def rgb(self, frame: av.VideoFrame, colour: Colour, bits: int, width: int, height: int) -> Pixels:
        """Convert a decoded frame to RGB of 8 or 16 bits and to a size."""
        converted = self._reformatter.reformat(
            frame,
            width,
            height,
            "rgb24" if bits == 8 else "rgb48le",
            src_colorspace=colour.scaler_matrix,
            src_color_range=colour.range_code,
            dst_color_range=ColorRange.JPEG,
            interpolation=INTERPOLATION if bits == 8 else DEEP_INTERPOLATION,
        )
        # Both formats are integers.
        pixels = cast(Pixels, converted.to_ndarray())
        if bits > 8 and colour.matrix != RGB:
            # FFmpeg's white is 255 * 256 here.
            pixels = np.minimum(pixels, np.uint16(65280))
            pixels += pixels >> 8
        return pixels


def check_size(width: int, height: int, path: Path) -> None:
    """Raise VideoError for a frame that has no pixels, or would take gigabytes."""
    if min(width, height) < 1 or max(width, height) > LARGEST_SIDE or width * height > MOST_PIXELS:
        raise VideoError(
            f"{path}: frames of {width}x{height} cannot be handled; at least 1 and at most {LARGEST_SIDE} pixels a "
            f"side are, and {MOST_PIXELS} in all"
        )
