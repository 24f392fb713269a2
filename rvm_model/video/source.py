"""Sources: a video, a folder of pictures, or one picture, as upright RGB frames with their timestamps.

Frames come one by one, in the order they are shown. One thread opens a source, reads it and closes it.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition, Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from rvm_model.video.colour import VideoError, colour_of
from rvm_model.video.deinterlace import Deinterlace, Deinterlacer
from rvm_model.video.frames import MOST_PIXELS, Pixels, Source, TimedFrame, Tracks, Window, check_size
from rvm_model.video.frames import Properties as Properties
from rvm_model.video.hdr import hdr_metadata, hdr_name
from rvm_model.video.opening import ClipFile, open_container, refuse_without_index
from rvm_model.video.pictures import IMAGE_SUFFIXES, PictureSource
from rvm_model.video.tone import ToneMap
from rvm_model.video.tracks import chapters_of, titles, track_titles, tracks_beside

_FIRST_STEP_BACK = Fraction(2)
"""Seconds of the first step back in the search for a frame that decodes by itself. Each further step is four times."""

_HIGHEST_RATE = 1000


@contextmanager
def open_source(
    path: Path,
    resize: tuple[int, int] | None = None,
    start: float = 0,
    end: float | None = None,
    max_frames: int | None = None,
    sdr: bool = False,
    deinterlace: Deinterlace = "auto",
) -> Iterator[Source]:
    """Open a video file, a folder of pictures (png, jpg, jpeg) in natural order, or one picture.

    Args:
        path: A file that FFmpeg can read, a folder, or a picture.
        resize: Width and height to scale the upright frames to.
        start: Seconds to skip. The timestamps of later frames are reduced by it.
        end: Seconds at which to stop, counted like `start`.
        max_frames: Number of frames after which to stop.
        sdr: Map a high dynamic range to SDR. Other sources stay as they are.
        deinterlace: Deinterlace frames that the file declares interlaced (`auto`), all (`bwdif`), or none (`off`).

    Raises:
        VideoError: no such file, no video in it, no frame that can be decoded, none between `start` and `end`, or
            frames of more than 16384 pixels on a side or 100 million in all. Damage later in the file is no error: see
            `Source.loss`. Nor is a frame of another size, which ends the source.
    """
    window = Window(resize=resize, start=start, end=end, max_frames=max_frames, sdr=sdr, deinterlace=deinterlace)
    window.check(path)
    with ExitStack() as opened:
        yield _open(path, window, opened)


def _open(path: Path, window: Window, opened: ExitStack) -> Source:
    try:
        if not path.exists():
            raise VideoError(f"no such file: {path}; give a video, a picture or a folder of pictures")
        if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
            return PictureSource(path, window)
    except OSError as error:
        raise VideoError(f"cannot read {path}: {error.strerror}") from error
    container, file = open_container(path, opened)
    try:
        return VideoSource(path, window, container, file)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"cannot read {path} as a video: {error.strerror}") from error


def _video_of(container: InputContainer, path: Path) -> VideoStream:
    """Return the first video stream that is not a cover picture."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        refuse_without_index(path)
        raise VideoError(f"{path} has no video in it")
    if streams[0].codec_context is None:
        refuse_without_index(path)
        raise VideoError(
            f"{path} has a video in no codec that this FFmpeg knows; if it is not damaged, convert it to H.264"
        )
    return streams[0]


def frame_times(path: Path) -> list[Fraction]:
    """Return when each frame of a video is shown, in order: seconds from its beginning, counted like `start` above.

    Nothing is decoded, so damaged frames count.

    Raises:
        VideoError: as in `open_source`.
    """
    window = Window()
    with ExitStack() as opened:
        container, file = open_container(path, opened)
        stream = _video_of(container, path)
        clock = _Clock.of(container, stream, window)
        times = []
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    times.append(None if packet.pts is None else packet.pts * packet.time_base)
                    file.note_frame()
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"cannot read {path} as a video: {error.strerror}") from error
    if clock.counted:
        return [k / clock.frame_rate for k in range(len(times))]
    return sorted(time - clock.origin for time in times if time is not None)


class VideoSource(Source):
    """The video of a file that FFmpeg can read.

    Timestamps are the file's, with two exceptions. Those of AVI and raw streams are unreliable, so frames are counted
    at the frame rate. MPEG streams start at any time of day, so theirs are counted from the beginning.
    """

    def __init__(self, path: Path, window: Window, container: InputContainer, file: ClipFile):
        stream = _video_of(container, path)
        codec = stream.codec_context
        check_size(codec.width, codec.height, path)
        codec.options = {"max_pixels": str(MOST_PIXELS)}
        codec.thread_type = "AUTO"
        self._container, self._file, self._stream = container, file, stream
        self._clock = _Clock.of(container, stream, window)
        self.tracks = self._clock.tracks(container, stream, path, window)
        self._shown = 0
        self._packets = 0
        self._reached: dict[int, int] = {}
        self._damage: _Damage | None = None
        self._tone_map: ToneMap | None = None
        self._deinterlacer = Deinterlacer(window.deinterlace, self._clock.time_base)
        super().__init__(path, window)

    @property
    def interlaced(self) -> bool:
        return self._deinterlacer.noticed

    def read(self) -> Iterator[TimedFrame]:
        clock, layout = self._clock, None
        for frame in self._deinterlacer(self._decoded()):
            pts = clock.stamp(frame)
            if clock.begin is not None and pts < clock.begin:
                continue
            if clock.end is not None and pts >= clock.end:
                return
            if frame.is_corrupt:
                self._note_damage("a frame is corrupt", pts)
            if self._damage is not None and self._damage.pts is not None and pts >= self._damage.pts:
                self._tell_damage()
            if layout is None:
                layout = _Layout.of(frame)
                self._set_properties(self._describe(frame, layout))
            elif (changed := _Layout.of(frame)) != layout:
                self.loss = (
                    f"{self.path} changes from {layout} to {changed} after frame {self._shown}; "
                    "what follows is left out, split the file there"
                )
                return
            pixels = self._upright(frame, layout)
            self._shown += 1
            yield TimedFrame(pixels=pixels, pts=pts - clock.shift)
            if self._shown == self.window.max_frames:
                return
        self._tell_damage()
        self._check_whole()

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Yield all frames, starting at `start` or at a frame before it. Damaged ones are left out."""
        begin, back = self._clock.begin, self._clock.ticks(_FIRST_STEP_BACK)
        if begin is None or self._clock.counted:
            yield from self._played()
            return
        # An MPEG stream has no index: a seek may end anywhere, and the first frame that decodes may be too late.
        at, earliest = begin, self._clock.ticks(self._clock.origin - _FIRST_STEP_BACK)
        while True:
            # If a file cannot seek, all of it is decoded.
            with suppress(av.FFmpegError, OSError):
                self._container.seek(at, stream=self._stream)
            self._packets, self._reached, self._damage = 0, {}, None
            frames = self._played()
            first = next(frames, None)
            if at <= earliest or (first is not None and first.pts is not None and first.pts <= begin):
                break
            at, back = max(begin - back, earliest), 4 * back
        if first is not None:
            yield first
        yield from frames

    def _played(self) -> Iterator[av.VideoFrame]:
        """Yield all frames from the current position of the file."""
        try:
            for packet in self._container.demux():
                if packet.pts is not None:
                    index, end = packet.stream_index, packet.pts + (packet.duration or 0)
                    self._reached[index] = max(end, self._reached.get(index, end))
                # The packet that ends a stream has no index of its own.
                if packet.stream.index == self._stream.index:
                    self._packets += packet.size > 0
                    for frame in self._decode(cast("av.Packet[VideoStream]", packet)):
                        yield frame
                        self._file.note_frame()
        except (av.FFmpegError, OSError) as error:
            # Frames that are still in the decoder come before the damage.
            self._note_damage(error.strerror, None)
            yield from self._decode(None)

    def _decode(self, packet: "av.Packet[VideoStream] | None") -> list[av.VideoFrame]:
        try:
            return self._stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            if self._clock.counted:
                self._note_damage(error.strerror, self._packets - 1)
            else:
                self._note_damage(error.strerror, None if packet is None else packet.pts)
            return []

    def _note_damage(self, what: str | None, pts: int | None) -> None:
        """Keep the first damage. It is reported once the decoder, which runs ahead, has returned all frames before."""
        self._damage = self._damage or _Damage(what=what, pts=pts)

    def _tell_damage(self) -> None:
        if self.loss is None and self._damage is not None:
            self.loss = (
                f"{self.path} is damaged after frame {self._shown} ({self._clock.last_time:.1f} s): {self._damage.what}"
            )

    def _check_whole(self) -> None:
        """Set a loss if the file ended early."""
        if self.loss is not None:
            return
        if self._clock.counted:
            whole = self._packets >= self._stream.frames
        elif self._stream.duration is not None:
            base = self._clock.time_base
            end = ((self._stream.start_time or 0) + self._stream.duration) * base
            whole = self._reached.get(self._stream.index, 0) * base >= end - self._clock.slack
        elif self._container.duration is not None:
            end = Fraction((self._container.start_time or 0) + self._container.duration, av.time_base)
            times = [reached * _time_base(self._container.streams[index]) for index, reached in self._reached.items()]
            whole = max(times, default=Fraction(0)) >= end - self._clock.slack
        else:
            whole = True
        if not whole:
            self.loss = (
                f"{self.path} is truncated after frame {self._shown} ({self._clock.last_time:.1f} s); "
                "it was to be longer"
            )

    def _set_properties(self, decoded: Properties) -> None:
        self.properties = self._decoded_as = decoded
        if self.window.sdr and hdr_name(decoded.colour.transfer):
            self._tone_map = ToneMap(decoded.colour, decoded.hdr, self.path)
            # HDR of 8 bits, which is rare, is decoded to 16 too.
            self._decoded_as = replace(decoded, bits=max(decoded.bits, 10))
            self.properties = replace(decoded, bits=8, colour=self._tone_map.colour, hdr=None)

    def _describe(self, frame: av.VideoFrame, layout: "_Layout") -> Properties:
        width, height = self.window.resize or layout.size
        aspect = Fraction(self._stream.sample_aspect_ratio or 1)
        if self.window.resize:
            aspect = Fraction(1)
        return Properties(
            width=width,
            height=height,
            frame_rate=self._clock.frame_rate,
            time_base=self._clock.time_base,
            bits=min(max(8, *(component.bits for component in frame.format.components)), 16),
            colour=colour_of(frame, self.path),
            frames=self._clock.expected_frames(self._container, self._stream, self.window),
            still=self._container.format.name.endswith("_pipe"),
            pixel_aspect=1 / aspect if layout.transposed else aspect,
            hdr=hdr_metadata(frame) if hdr_name(frame.color_trc) else None,
        )

    def _upright(self, frame: av.VideoFrame, layout: "_Layout") -> Pixels:
        shown = self._decoded_as
        width, height = (shown.height, shown.width) if layout.transposed else (shown.width, shown.height)
        pixels = self.rgb(frame, shown.colour, shown.bits, width, height)
        if self._tone_map is not None:
            pixels = self._tone_map(cast("NDArray[np.uint16]", pixels))
        return layout.upright(pixels)


@dataclass(frozen=True, kw_only=True)
class _Damage:
    """Damage in the file. `pts` is that of the damaged frame, None if the damage ended the file."""

    what: str | None
    pts: int | None


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Layout of a decoded frame's pixels, and how to turn them upright: transpose, then mirror."""

    width: int
    height: int
    transposed: bool
    mirrored_x: bool
    mirrored_y: bool

    @classmethod
    def of(cls, frame: av.VideoFrame) -> "_Layout":
        """Read the display matrix, which maps (x, y) to (ax + cy, bx + dy), y downwards, in 1/65536.

        It is rounded to the nearest of eight right-angled positions.
        """
        a, b, c, d = _display_matrix(frame)
        transposed = abs(b) > abs(a)
        x, y = (c, b) if transposed else (a, d)
        return cls(
            width=frame.width,
            height=frame.height,
            transposed=transposed,
            mirrored_x=x < 0,
            mirrored_y=y < 0,
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright."""
        return (self.height, self.width) if self.transposed else (self.width, self.height)

    def __str__(self) -> str:
        return "x".join(map(str, self.size))

    def upright(self, pixels: Pixels) -> Pixels:
        if not (self.transposed or self.mirrored_x or self.mirrored_y):
            return pixels
        turned = pixels.swapaxes(0, 1) if self.transposed else pixels
        turned = turned[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1]
        return cast(Pixels, np.ascontiguousarray(turned))


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    try:
        # PyAV's types list motion vectors only.
        side_data = cast("Mapping[str, Buffer]", frame.side_data).get("DISPLAYMATRIX")
    except ValueError:
        # PyAV cannot list side data of a kind that it does not know, such as Exif. It still tells the angle.
        cosine, sine = (round(part(math.radians(frame.rotation))) for part in (math.cos, math.sin))
        return cosine, -sine, sine, cosine
    if side_data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
    return a, b, c, d


class _Clock:
    """Timestamps of a video stream: the requested part, and corrections of faulty ones."""

    def __init__(self, origin: Fraction, frame_rate: Fraction, time_base: Fraction, counted: bool):
        self.origin, self.frame_rate, self.time_base, self.counted = origin, frame_rate, time_base, counted
        self.begin: int | None = None
        self.end: int | None = None
        self.shift = 0
        self._step = max(1, round(1 / (frame_rate * time_base)))
        self._longest_step = self._step
        self._last: int | None = None

    @classmethod
    def of(cls, container: InputContainer, stream: VideoStream, window: Window) -> "_Clock":
        flags = container.format.flags
        counted = bool(flags & cast(int, Flags.no_timestamps.value)) or container.format.name == "avi"
        rates = [None if counted else stream.average_rate, stream.guessed_rate]
        # Streams of variable rate may declare their clock's rate.
        rate = next((Fraction(rate) for rate in rates if rate and 0 < rate <= _HIGHEST_RATE), Fraction(30))
        origin = Fraction(0) if counted else Fraction(container.start_time or 0, av.time_base)
        clock = cls(origin, rate, 1 / rate if counted or not stream.time_base else stream.time_base, counted)
        if window.start:
            clock.begin = clock.ticks(origin + Fraction(window.start))
        if window.end is not None:
            clock.end = clock.ticks(origin + Fraction(window.end))
        starts_anywhere = bool(flags & cast(int, Flags.ts_discont.value))
        clock.shift = clock.ticks(Fraction(window.start) + (origin if starts_anywhere else 0))
        return clock

    def ticks(self, seconds: Fraction) -> int:
        return round(seconds / self.time_base)

    def stamp(self, frame: av.VideoFrame) -> int:
        """Return the frame's timestamp: one frame after the last if missing, at least one tick after it otherwise."""
        if self._last is None:
            pts = 0 if self.counted or frame.pts is None else frame.pts
        elif self.counted or frame.pts is None:
            pts = self._last + self._step
        else:
            pts = max(frame.pts, self._last + 1)
            self._longest_step = max(self._longest_step, pts - self._last)
        self._last = pts
        return pts

    @property
    def last_time(self) -> float:
        """Seconds from the beginning to the last frame."""
        return 0.0 if self._last is None else float(self._last * self.time_base - self.origin)

    @property
    def slack(self) -> Fraction:
        """Seconds by which a complete file may end early: the duration of its last frame may be undeclared."""
        return Fraction(1, 4) + 2 * self._longest_step * self.time_base

    def tracks(self, container: InputContainer, stream: VideoStream, path: Path, window: Window) -> Tracks | None:
        told = titles(container.metadata) or track_titles(stream) or chapters_of(container)
        if not (told or tracks_beside(container.streams)):
            return None
        begin = self.origin + Fraction(window.start)
        end = None if window.end is None else self.origin + Fraction(window.end)
        last_time = end
        if window.max_frames is not None:
            by_count = begin + window.max_frames / self.frame_rate
            last_time = by_count if end is None else min(by_count, end)
        return Tracks(
            path=path,
            start=begin if window.start else None,
            end=end,
            last_time=last_time,
            shift=self.shift * self.time_base,
            until_video_ends=window.max_frames is not None,
            ticks=math.lcm(*(_time_base(each).denominator for each in container.streams.audio)),
            video=stream.index,
        )

    def expected_frames(self, container: InputContainer, stream: VideoStream, window: Window) -> int | None:
        if window.start == 0 and window.end is None and stream.frames:
            count = stream.frames
        else:
            if stream.duration is not None:
                duration = stream.duration * _time_base(stream)
            elif container.duration is not None:
                duration = Fraction(container.duration, av.time_base)
            else:
                return window.max_frames
            end = duration if window.end is None else min(duration, Fraction(window.end))
            count = round((end - Fraction(window.start)) * self.frame_rate)
        return count if window.max_frames is None else min(count, window.max_frames)


def _time_base(stream: Stream) -> Fraction:
    """Return the time base of a stream with timestamps. Such a stream always has one."""
    assert stream.time_base is not None
    return stream.time_base
