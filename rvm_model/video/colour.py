"""The colour properties of a video: matrix, range, primaries and transfer; read, assumed and written.

Frames are RGB here, in the source's own primaries and transfer; nothing is tone-mapped. Only the matrix (YCbCr to RGB)
and the range (16..235 or 0..255) enter computations. If a file does not declare them:

* Matrix: BT.709 from 1280 pixels of width or 577 of height on, BT.601 below. Players assume this, so the network sees
  what people see. (FFmpeg's own converter assumes BT.601 at any size.)
* Range: limited, as H.264 and H.265 define for an undeclared range; full for FFmpeg's `yuvj` formats (motion JPEG).

Outputs declare what was assumed, so that nobody has to assume it again. Primaries and transfer are copied, also where
undeclared: nothing depends on them here.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import av
from av.video.reformatter import ColorRange, Interpolation

from rvm_model.errors import UserError
from rvm_model.video.hdr import hdr_name

RGB = 0
BT709 = 1
UNTOLD = 2
BT601 = 6
BT2020 = 9
SRGB_TRANSFER = 13

# FFmpeg's scaler numbers the matrices that it supports differently.
_SCALER_MATRIX = {BT709: 1, 4: 4, 5: 5, BT601: 5, 7: 7, BT2020: 9}

# Chroma is interpolated and rounded: flat colours are at most 1/255 off after a round trip. FFmpeg's default is 2/255.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
INTERPOLATION = Interpolation.BILINEAR | _EXACT
# To 16 bits libswscale 9's bilinear filter gives wrong colours if chroma has half the height and the range is full.
DEEP_INTERPOLATION = Interpolation.BICUBIC | _EXACT


class VideoError(UserError):
    """A video or picture that cannot be read or written. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True)
class Colour:
    """Code points of ITU-T H.273, as in FFmpeg; 2 is undeclared. `matrix` is always declared."""

    matrix: int
    full_range: bool
    primaries: int
    transfer: int

    def in_yuv(self) -> "Colour":
        """Return these colours for a YCbCr format: RGB becomes limited BT.709."""
        return replace(self, matrix=BT709, full_range=False) if self.matrix == RGB else self

    def in_sdr(self) -> "Colour":
        """Return the colours of SDR for numbers that are no light, such as alpha, in a file of high dynamic range."""
        return replace(self, matrix=BT709, primaries=BT709, transfer=BT709) if hdr_name(self.transfer) else self

    def in_rgb(self) -> "Colour":
        return replace(self, matrix=RGB, full_range=True)

    @property
    def range_code(self) -> ColorRange:
        return ColorRange.JPEG if self.full_range else ColorRange.MPEG

    @property
    def scaler_matrix(self) -> int | None:
        """The matrix for PyAV's `reformat`; None for RGB, which has none."""
        return _SCALER_MATRIX.get(self.matrix)


SRGB = Colour(matrix=RGB, full_range=True, primaries=BT709, transfer=SRGB_TRANSFER)
"""The colours of pictures."""


def colour_of(frame: av.VideoFrame, path: Path) -> Colour:
    """Return the colours that a decoded frame of `path` declares, with assumptions for those that it does not.

    Raises:
        VideoError: FFmpeg's scaler does not support the matrix (YCgCo, ICtCp and the like).
    """
    if frame.format.is_rgb:
        matrix, full_range = RGB, True
    else:
        matrix = assumed_matrix(frame.width, frame.height) if frame.colorspace in (RGB, UNTOLD, 3) else frame.colorspace
        full_range = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        if matrix not in _SCALER_MATRIX:
            raise VideoError(
                f"{path} has a colour matrix (number {matrix} of ITU-T H.273) that is not known here; "
                "convert it to BT.709"
            )
    return Colour(matrix=matrix, full_range=full_range, primaries=frame.color_primaries, transfer=frame.color_trc)


def assumed_matrix(width: int, height: int) -> int:
    """Return the matrix to assume for a file that declares none."""
    return BT709 if width >= 1280 or height > 576 else BT601
