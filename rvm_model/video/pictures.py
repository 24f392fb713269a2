"""Sources of pictures: a folder of them as a video, or one."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from PIL import ExifTags, Image, UnidentifiedImageError

from rvm_model.files import check_file, leads_out, open_file, read_file
from rvm_model.video.colour import SRGB, VideoError
from rvm_model.video.frames import MOST_PIXELS, Pixels, Properties, Source, TimedFrame, Window, check_size

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
PICTURE_RATE = Fraction(30)
"""Pictures per second in a folder, which declares no rate; the released converter's choice."""

_MOST_BYTES = 2**30
"""Largest file of a picture: the most pixels that Pillow opens, in 16-bit RGB without compression."""

_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The turns that make a picture upright, by its Exif orientation."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class PictureSource(Source):
    """The pictures of a folder in natural order, one per tick of 1/30 s; or one picture."""

    def __init__(self, path: Path, window: Window):
        self._files = picture_files(path) if path.is_dir() else [path]
        super().__init__(path, window)

    def read(self) -> Iterator[TimedFrame]:
        start = round(self.window.start * PICTURE_RATE)
        end = None if self.window.end is None else round(self.window.end * PICTURE_RATE)
        files = self._files[start:end][: self.window.max_frames]
        first = None
        for pts, file in enumerate(files):
            try:
                pixels = read_picture(file)
                if first is None:
                    first = pixels
                    width, height = self.window.resize or (pixels.shape[1], pixels.shape[0])
                    self.properties = Properties(
                        width=width,
                        height=height,
                        frame_rate=PICTURE_RATE,
                        time_base=1 / PICTURE_RATE,
                        bits=8 * pixels.itemsize,
                        colour=SRGB,
                        frames=len(files),
                        still=not self.path.is_dir(),
                    )
                _check_alike(file, pixels, self._files[start], first)
            except VideoError as error:
                self.loss = str(error)
                return
            yield TimedFrame(pixels=self._resized(pixels), pts=pts, name=file.stem)

    def _resized(self, pixels: Pixels) -> Pixels:
        width, height = self.properties.width, self.properties.height
        if pixels.shape[:2] == (height, width):
            return pixels
        contiguous = cast(Pixels, np.ascontiguousarray(pixels))
        frame = av.VideoFrame.from_ndarray(contiguous, "rgb24" if pixels.itemsize == 1 else "rgb48le")
        return self.rgb(frame, SRGB, self.properties.bits, width, height)


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures of a folder in natural order.

    Raises:
        VideoError: there are none, or one is a link that leads out of the folder.
    """
    files = [
        file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        raise VideoError(f"no {', '.join(IMAGE_SUFFIXES)} in {folder}; give a folder of frames or a video file")
    for file in files:
        if leads_out(file, folder):
            raise VideoError(f"{file} is a link that leads out of its folder; give a folder of the pictures")
    return sorted(files, key=natural_order)


def natural_order(file: Path) -> list[tuple[int, str]]:
    """Return a sort key that puts frame2 before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def read_picture(file: Path) -> Pixels:
    """Return the picture upright (EXIF), without alpha: (H, W, 3), uint8, or uint16 for a PNG of 16 bits.

    Raises:
        VideoError: it is no regular file, neither PNG nor JPEG (whatever its suffix), damaged, or too large.
    """
    try:
        check_file(file, _MOST_BYTES)
        with open_file(file) as content:
            deep = _has_16_bits(content.peek(25))
            # For other formats Pillow would start programs, such as Ghostscript for PostScript.
            with Image.open(content, formats=("JPEG", "PNG")) as image:
                check_size(*image.size, file)
                if not deep:
                    upright = _upright(image)
                    return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))
        return _decode_16_bits(read_file(file, _MOST_BYTES))
    except UnidentifiedImageError as error:
        raise VideoError(f"cannot read {file}: it is neither PNG nor JPEG, or damaged; convert it") from error
    # Errors of Pillow for damaged files and for pictures so large that they look like an attack; errors of FFmpeg.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, av.FFmpegError) as error:
        raise VideoError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error


def _upright(image: Image.Image) -> Image.Image:
    """Return the image as its Exif orientation says. Pillow's function also writes Exif, and fails at a damaged one."""
    image.load()  # Exif may follow the pixels
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    return image if turn is None else image.transpose(turn)


def _has_16_bits(head: bytes) -> bool:
    return head.startswith(_PNG_SIGNATURE) and head[24:25] == b"\x10"


def _decode_16_bits(content: bytes) -> Pixels:
    """Decode a PNG with FFmpeg, since Pillow would cut each channel to 8 bits."""
    decoder = CodecContext.create("png", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.options = {"max_pixels": str(MOST_PIXELS)}
    (frame,) = decoder.decode(av.Packet(content))
    return cast(Pixels, frame.to_ndarray(format="rgb48le"))


def _check_alike(file: Path, pixels: Pixels, first_file: Path, first: Pixels) -> None:
    if pixels.shape != first.shape:
        raise VideoError(
            f"{file} is {pixels.shape[1]}x{pixels.shape[0]}, {first_file.name} is {first.shape[1]}x{first.shape[0]}; "
            "the frames of a folder must not differ in size"
        )
    if pixels.dtype != first.dtype:
        more, fewer = (file, first_file) if pixels.itemsize == 2 else (first_file, file)
        raise VideoError(f"{more} has more than 8 bits a channel, {fewer.name} has not; give images of one depth")
