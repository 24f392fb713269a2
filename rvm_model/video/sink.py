"""Sinks: a video, a folder of PNG, or one picture, as the suffix says.

A sink writes under a hidden name in the same folder, and renames the output when it is complete; a failure leaves
nothing. It holds only the few frames that its encoder looks ahead. One thread opens it, writes to it and closes it.
"""

import dataclasses
import math
import os
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import cast
from uuid import uuid4

import av
import numpy as np
from av.codec.context import CodecContext
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.stream import VideoStream
from PIL import Image

from rvm_model.publishing import move_new, move_over
from rvm_model.video.colour import INTERPOLATION, Colour, VideoError
from rvm_model.video.encoders import ALPHA_OUTPUTS, CONTAINERS, Encoder, choose_encoder
from rvm_model.video.frames import Pixels, Properties, Tracks, check_size
from rvm_model.video.pictures import IMAGE_SUFFIXES
from rvm_model.video.scheduling import usual_scheduling
from rvm_model.video.tracks import TracksCopy

_RGB_FORMATS = {
    (1, 1): "gray",
    (3, 1): "rgb24",
    (4, 1): "rgba",
    (1, 2): "gray16le",
    (3, 2): "rgb48le",
    (4, 2): "rgba64le",
}
_PNG_FORMATS = {
    (1, 1): "gray",
    (3, 1): "rgb24",
    (4, 1): "rgba",
    (1, 2): "gray16be",
    (3, 2): "rgb48be",
    (4, 2): "rgba64be",
}

_SHORT_FOR_X265 = 2
"""Most frames for which x265 (4.1) leaves the decoding times unset. So few are decoded in the order of display."""


class Sink(ABC):
    """An output that takes frames in order, opened by `open_sink`."""

    def __init__(self, path: Path, like: Properties, channels: int):
        self.path, self.like = path, like
        self._channels = channels
        self._last_pts: int | None = None
        self._name: str | None = None
        self._finished = False
        self._reformatter = VideoReformatter()

    def write(self, pixels: Pixels, pts: int, name: str | None = None) -> None:
        """Write one frame: (H, W, 3) RGB, (H, W, 4) with straight alpha, or (H, W) grey, as the sink was opened.

        Args:
            pixels: uint8 in 0..255 or uint16 in 0..65535, whatever the depth of the file. They are copied, and
                scaled if they have another size.
            pts: When the frame is shown, in `like.time_base`; more than the last frame's.
            name: The name of its picture in a folder, without suffix. By default frames are numbered.

        Raises:
            ValueError: another shape or dtype, or a `pts` that does not increase.
            VideoError: the disk is full, the encoder fails, or another picture has that name.
        """
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        if channels != self._channels or pixels.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"{self.path} takes uint8 or uint16 of {self._channels} channels, not {pixels.dtype} of {pixels.shape}"
            )
        if self._last_pts is not None and pts <= self._last_pts:
            raise ValueError(f"{self.path}: a frame's pts of {pts} does not come after {self._last_pts}")
        self._name = name
        with self._told():
            self._encode(pixels, pts)
        self._last_pts = pts

    def finish(self) -> None:
        """Write the frames that are still in the encoder. A second call does nothing.

        Raises:
            VideoError: the disk is full, or there was no frame.
        """
        if self._finished:
            return
        if self._last_pts is None:
            raise VideoError(f"{self.path} would hold no frame")
        with self._told():
            self._flush()
        self._finished = True

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"cannot write {self.path}: {error.strerror or error}") from error

    @abstractmethod
    def _encode(self, pixels: Pixels, pts: int) -> None: ...

    @abstractmethod
    def _flush(self) -> None: ...

    def _frame(self, pixels: Pixels, pixel_format: str, colour: Colour, pts: int) -> av.VideoFrame:
        pixels = _for_format(cast(Pixels, np.ascontiguousarray(pixels)), pixel_format)
        rgb = av.VideoFrame.from_ndarray(pixels, _RGB_FORMATS[self._channels, pixels.dtype.itemsize])
        frame = self._reformatter.reformat(
            rgb,
            self.like.width,
            self.like.height,
            pixel_format,
            src_color_range=ColorRange.JPEG,
            dst_color_range=colour.range_code,
            dst_colorspace=colour.scaler_matrix,
            interpolation=INTERPOLATION,
        )
        frame.colorspace, frame.color_range = colour.matrix, colour.range_code
        frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
        frame.pts = pts
        return frame


def _for_format(pixels: Pixels, pixel_format: str) -> Pixels:
    """Scale pixels so that FFmpeg keeps their brightness: white is 65535 in its deep RGB, else 255 or 255 * 256."""
    wanted = av.VideoFormat(pixel_format)
    deep_rgb = wanted.components[0].bits > 8 and (wanted.is_rgb or pixel_format.startswith("gray"))
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint16) * np.uint16(257) if deep_rgb else pixels
    if deep_rgb:
        return pixels
    scaled = pixels.astype(np.uint16)
    colours = scaled[..., :3]  # FFmpeg scales alpha correctly
    colours -= colours >> 8
    return scaled


@contextmanager
def open_sink(
    path: Path,
    like: Properties,
    alpha: bool,
    grey: bool = False,
    codec: str | None = None,
    quality: int | None = None,
    mbps: float | None = None,
    tracks: Tracks | None = None,
    replace: bool = True,
    bits: int | None = None,
) -> Iterator[Sink]:
    """Open a file or folder for frames with the size, timestamps, depth and colours of `like`.

    The suffix selects the kind: .mp4, .mkv, .mov, .webm or .avi is a video, .png, .jpg or .jpeg is one picture, no
    suffix is a folder of 0000.png and so on. Videos are H.264 of 8 bits or HEVC Main 10, and VP9 in WebM, unless
    `codec` is given. With `replace`, it replaces a file of that name, or a folder that holds nothing but PNG.

    With `alpha`, .mov is ProRes 4444 and .webm VP9; a folder holds RGBA. Depths above 8 bits are kept (as 10 in a lossy
    video, as 16 in PNG and lossless ones) if the codec can.

    H.264 and H.265 cannot hold an odd width or height with chroma at half the size, so such a video is 4:4:4. Some
    players (browsers on phones, QuickTime) do not play that: give `--codec libvpx-vp9` or an even size for those.

    Matroska, WebM and AVI have no time before 0, so the packet that AAC starts with before 0 is left out there.

    AVI has no timestamps: each frame goes to the nearest time of a constant rate. A matrix or range that a file cannot
    declare (the full range in ProRes) becomes the one that players assume. WebM loses non-square pixels.

    Args:
        path: The final name. Missing parent folders are created.
        like: The properties of the source. `width` and `height` are the frames'.
        alpha: Frames are (H, W, 4), with straight alpha.
        grey: Frames are (H, W).
        codec: An FFmpeg encoder, such as libx265 or ffv1.
        quality: The encoder's CRF: 0 (best) to 51 for libx264 (default 18) and libx265 (20), to 63 for libvpx-vp9 (24)
            and libsvtav1 (28). Others have none.
        mbps: Bit rate in Mbit/s, instead of a quality.
        tracks: Sound, subtitles, chapters, titles and the like to copy, packet by packet. What the container cannot
            hold is left out, with a UserWarning.
        bits: 8 or 10, instead of the depth of `like`. H.264 of 10 bits and HDR in 8 bits must be asked for so.
        replace: Replace what has that name. Without it, not even an output that appears while this one is written.

    Raises:
        VideoError: an unknown suffix, a place that cannot be written to, a codec that is missing or cannot do what is
            requested, alpha for a suffix without it, more than one frame for a picture.
    """
    suffix = path.suffix.lower()
    channels = 1 if grey else 4 if alpha else 3
    if bits is not None:
        like = dataclasses.replace(like, bits=bits)
    if grey:
        like = dataclasses.replace(like, colour=like.colour.in_sdr(), hdr=None)
    check_size(like.width, like.height, path)
    if suffix not in (*CONTAINERS, *IMAGE_SUFFIXES, ""):
        raise VideoError(
            f"{path} ends in none of {', '.join((*CONTAINERS, *IMAGE_SUFFIXES))}, nor is it a folder's name"
        )
    if suffix not in CONTAINERS and (codec, quality, mbps) != (None, None, None):
        raise VideoError(f"{path} is no video, so it has no codec, quality or bit rate; leave them out")
    encoder = None
    if suffix in CONTAINERS:
        encoder = choose_encoder(path, like, alpha, grey, codec, quality, mbps, chosen_depth=bits is not None)
        if encoder.loses_hdr:
            warnings.warn(f"{path} cannot hold the mastering metadata of HDR in {encoder.name}", stacklevel=4)
    if suffix in IMAGE_SUFFIXES and not (like.still or like.frames == 1):
        raise VideoError(f"{path} holds one picture only; give a video's name, or a folder's, which has no suffix")
    if alpha and suffix in (".jpg", ".jpeg"):
        raise VideoError(f"{path} cannot hold alpha; give {ALPHA_OUTPUTS}, or a .png")
    with _staged(path, folder=not suffix, replace=replace) as staged, ExitStack() as opened:
        sink: Sink
        if encoder is not None:
            sink = _VideoSink(path, like, channels, staged, encoder, tracks, opened)
        elif not suffix or suffix == ".png":
            sink = _PngSink(path, like, channels, staged)
        else:
            sink = _JpegSink(path, like, channels, staged)
        yield sink
        sink.finish()


class _VideoSink(Sink):
    def __init__(
        self,
        path: Path,
        like: Properties,
        channels: int,
        staged: Path,
        encoder: Encoder,
        tracks: Tracks | None,
        opened: ExitStack,
    ):
        super().__init__(path, like, channels)
        self._encoder = encoder
        rgb = av.VideoFormat(encoder.pixel_format).is_rgb
        self._colour = like.colour.in_rgb() if rgb else encoder.told(like.colour.in_yuv(), like.width, like.height)
        self._written = 0
        try:
            self._container: OutputContainer = opened.enter_context(
                av.open(
                    f"file:{staged}",
                    "w",
                    format=encoder.container.format,
                    container_options=self._muxer_options(tracks),
                )
            )
            self._stream = self._add_stream()
            self._tracks = (
                opened.enter_context(TracksCopy(tracks, self._container, self._stream, path, encoder.container))
                if tracks
                else None
            )
            with usual_scheduling():
                self._container.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"{encoder.name} cannot write {path} ({like.width}x{like.height}, {encoder.pixel_format}): "
                f"{getattr(error, 'strerror', error)}; give another codec"
            ) from error

    def _muxer_options(self, tracks: Tracks | None) -> dict[str, str]:
        """Return options that give MP4 and MOV a fine unit for when tracks begin. Its default is a millisecond."""
        if self._encoder.container.format not in ("mp4", "mov"):
            return {}
        ticks = self.like.time_base.denominator
        both = math.lcm(ticks, tracks.ticks) if tracks else ticks
        return {"movie_timescale": str(both if both < 2**31 else ticks)}

    def _add_stream(self) -> VideoStream:
        encoder, like = self._encoder, self.like
        stream = self._container.add_stream(encoder.name, rate=like.frame_rate, options=encoder.options)
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = like.width, like.height, encoder.pixel_format
        context.time_base = stream.time_base = (
            1 / like.frame_rate if encoder.container.constant_rate else like.time_base
        )
        context.sample_aspect_ratio = like.pixel_aspect
        context.colorspace, context.color_range = self._colour.matrix, self._colour.range_code
        context.color_primaries, context.color_trc = self._colour.primaries, self._colour.transfer
        context.thread_type = "AUTO"
        if encoder.bit_rate is not None:
            context.bit_rate = encoder.bit_rate
        if encoder.tag is not None:
            context.codec_tag = encoder.tag
        return stream

    def _encode(self, pixels: Pixels, pts: int) -> None:
        frame = self._frame(pixels, self._encoder.pixel_format, self._colour, pts)
        frame.time_base = self.like.time_base
        if self._tracks is not None:
            self._tracks.copy_until(pts * self.like.time_base)
        self._container.mux(self._stream.encode(frame))
        self._written += 1

    def _flush(self) -> None:
        assert self._last_pts is not None
        packets = self._stream.encode(None)
        if self._encoder.name == "libx265" and self._written <= _SHORT_FOR_X265:
            for packet in packets:
                packet.dts = packet.pts
        self._container.mux(packets)
        if self._tracks is not None:
            self._tracks.copy_rest(self._last_pts * self.like.time_base + 1 / self.like.frame_rate)
        self._container.close()


class _PngSink(Sink):
    """A folder of PNG, or one. It uses FFmpeg's encoder, which has 16 bits and compresses several frames at a time."""

    def __init__(self, path: Path, like: Properties, channels: int, staged: Path):
        super().__init__(path, like, channels)
        self._staged = staged
        self._written = 0
        self._names: list[str] = []
        self._names_taken: set[str] = set()
        self._pixel_format = _PNG_FORMATS[channels, 1 if like.bits == 8 else 2]
        context = CodecContext.create("png", "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = like.width, like.height, self._pixel_format
        context.time_base = like.time_base
        context.thread_type = "FRAME"
        # Measured at 1080p on one core: seven times as fast as zlib's default, for a fifth more bytes.
        context.options = {"compression_level": "1"}
        self._context = context

    def _note_name(self) -> None:
        name = f"{len(self._names):04d}" if self._name is None else self._name
        if name in self._names_taken:
            raise VideoError(f"{self.path} would hold two pictures called {name}.png; rename one of the inputs")
        self._names_taken.add(name)
        self._names.append(name)

    def _encode(self, pixels: Pixels, pts: int) -> None:
        self._note_name()
        colour = self.like.colour.in_rgb()
        self._save(self._context.encode(self._frame(pixels, self._pixel_format, colour, pts)))

    def _flush(self) -> None:
        self._save(self._context.encode(None))

    def _save(self, packets: "list[av.Packet[VideoStream]]") -> None:
        for packet in packets:
            if self._staged.is_dir():
                (self._staged / f"{self._names[self._written]}.png").write_bytes(packet)
            elif self._written:
                raise VideoError(
                    f"{self.path} holds one picture only; give a video's name, or a folder's without suffix"
                )
            else:
                self._staged.write_bytes(packet)
            self._written += 1


class _JpegSink(Sink):
    def __init__(self, path: Path, like: Properties, channels: int, staged: Path):
        super().__init__(path, like, channels)
        self._staged = staged

    def _encode(self, pixels: Pixels, pts: int) -> None:
        if self._last_pts is not None:
            raise VideoError(f"{self.path} holds one picture only; give a video's name, or a folder's without suffix")
        frame = self._frame(pixels, "gray" if self._channels == 1 else "rgb24", self.like.colour.in_rgb(), pts)
        Image.fromarray(frame.to_ndarray()).save(self._staged, "JPEG", quality=95)

    def _flush(self) -> None:
        """Do nothing: `_encode` has written the only frame."""


@contextmanager
def _staged(path: Path, folder: bool, replace: bool) -> Iterator[Path]:
    """Yield a hidden name beside `path`. Rename it to `path` at the end, or remove it after an exception."""
    if not path.name:
        raise VideoError(f"{str(path)!r} is no name for an output; give a file's or a folder's")
    try:
        if not replace and os.path.lexists(path):
            raise _taken(path)
        path = path.resolve() if path.is_symlink() else path
        staged = path.with_name(f".{path.stem}-{uuid4().hex[:8]}{path.suffix}")
        if path.exists() and folder != path.is_dir():
            raise VideoError(
                f"{path} is a {'file, not a folder' if folder else 'folder, not a file'}; give another name"
            )
        if folder and path.is_dir() and any(file.suffix.lower() != ".png" for file in path.iterdir()):
            raise VideoError(f"{path} holds more than PNG files, which would be lost; give a new folder's name")
        path.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            staged.mkdir()
        else:
            staged.touch()
    except OSError as error:
        raise VideoError(f"cannot write {path}: {error.strerror}; give another place") from error
    try:
        yield staged
        aside = staged.with_name(f"{staged.name}-old")
        try:
            if replace:
                move_over(staged, path, aside)
            else:
                move_new(staged, path)
        except FileExistsError as error:
            raise _taken(path) from error
        except OSError as error:
            raise VideoError(f"cannot write {path}: {error.strerror}") from error
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        _remove(staged)


def _taken(path: Path) -> VideoError:
    return VideoError(f"{path} exists; use --force to replace it, or write elsewhere")


def _remove(staged: Path) -> None:
    with suppress(OSError):
        if staged.is_dir():
            shutil.rmtree(staged)
        else:
            staged.unlink(missing_ok=True)
