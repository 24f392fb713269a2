"""The choice of an encoder and a pixel format for a video file, as data."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
from av.codec import Codec
from av.codec.codec import UnknownCodecError

from rvm_model.video.colour import Colour, VideoError, assumed_matrix
from rvm_model.video.frames import Properties
from rvm_model.video.hdr import HdrMetadata, hdr_name, svtav1_parameters, x264_parameters, x265_parameters


@dataclass(frozen=True, kw_only=True)
class Container:
    """A file format.

    `codec`, `deep_codec` and `alpha_codec` are its defaults: for 8 bits, for more, with alpha. `beside` are the kinds
    of track that it may hold.
    """

    format: str
    codec: str
    deep_codec: str | None = None
    alpha_codec: str | None = None
    constant_rate: bool = False
    negative_times: bool = False
    tells_matrix: bool = True
    tells_range: bool = False
    beside: tuple[str, ...] = ("audio", "subtitle", "data")
    chapters: bool = True


CONTAINERS = {
    ".mp4": Container(format="mp4", codec="libx264", deep_codec="libx265", negative_times=True),
    ".mkv": Container(
        format="matroska",
        codec="libx264",
        deep_codec="libx265",
        beside=("audio", "subtitle", "data", "attachment"),
    ),
    ".mov": Container(
        format="mov", codec="libx264", deep_codec="libx265", alpha_codec="prores_ks", negative_times=True
    ),
    ".webm": Container(
        format="webm",
        codec="libvpx-vp9",
        deep_codec="libvpx-vp9",
        alpha_codec="libvpx-vp9",
        beside=("audio", "subtitle"),
    ),
    ".avi": Container(
        format="avi", codec="libx264", constant_rate=True, tells_matrix=False, beside=("audio",), chapters=False
    ),
}
ALPHA_OUTPUTS = "a .mov (ProRes 4444), a .webm (VP9) or a folder of PNG, which has no suffix"


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """All settings that are chosen before a video file is opened."""

    name: str
    container: Container
    pixel_format: str
    options: dict[str, str]
    bit_rate: int | None
    tag: str | None
    tells_matrix: bool
    tells_range: bool
    loses_hdr: bool

    def told(self, colour: Colour, width: int, height: int) -> Colour:
        """Return the matrix and range that the file can declare, else those that players assume."""
        matrix = colour.matrix if self.tells_matrix else assumed_matrix(width, height)
        return replace(colour, matrix=matrix, full_range=colour.full_range and self.tells_range)


@dataclass(frozen=True, kw_only=True)
class _Codec:
    """An encoder's properties.

    `narrowest` is the least width it takes. `worst_crf` is the end of the scale of `quality`, None if the encoder has
    none. `odd`: it can hold an odd width with chroma at half the size. `lossless`: it gets RGB unchanged.
    `tells_matrix` and `tells_range`: its stream declares them, for containers that do not. `hdr` is the name of its
    option that takes metadata of a high dynamic range, and the function that writes the option. `environment`: what
    keeps it from printing, where no option does; what the user has set stays.
    """

    narrowest: int = 1
    worst_crf: int | None = None
    crf: int = 0
    options: dict[str, str] = field(default_factory=dict)
    odd: bool = False
    lossless: bool = False
    rate_controlled: bool = True
    tells_matrix: bool = False
    tells_range: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    hdr: tuple[str, Callable[[HdrMetadata], str]] | None = None


_CODECS = {
    # More than twice as fast as the default preset, at about the same size, on the real clip at 1920x1080.
    "libx264": _Codec(
        worst_crf=51,
        crf=18,
        options={"preset": "veryfast"},
        tells_matrix=True,
        tells_range=True,
        hdr=("x264-params", x264_parameters),
    ),
    # At widths up to 48, x265 writes outside its memory at any height, as glibc's MALLOC_CHECK_ finds.
    "libx265": _Codec(
        narrowest=49,
        worst_crf=51,
        crf=20,
        options={"x265-params": "log-level=error"},
        tells_matrix=True,
        tells_range=True,
        hdr=("x265-params", x265_parameters),
    ),
    "libvpx-vp9": _Codec(
        worst_crf=63,
        crf=24,
        options={"row-mt": "1", "cpu-used": "4"},
        odd=True,
        tells_matrix=True,
        tells_range=True,
    ),
    "libsvtav1": _Codec(
        worst_crf=63,
        crf=28,
        odd=True,
        tells_matrix=True,
        tells_range=True,
        environment={"SVT_LOG": "1"},
        hdr=("svtav1-params", svtav1_parameters),
    ),
    "prores_ks": _Codec(rate_controlled=False, tells_matrix=True),
    "ffv1": _Codec(options={"level": "3", "slicecrc": "1"}, odd=True, lossless=True, rate_controlled=False),
    "mpeg4": _Codec(odd=True),
}
_UNLISTED = _Codec()

# For a codec without a quality setting: bits per pixel and frame for a picture without visible loss.
_BITS_PER_PIXEL = 0.2

# Pixel formats, best first; an encoder gets the first one that it has. The key is the kind of input, and whether it has
# more than 8 bits. "odd": an odd width or height, which rules out chroma at half the size.
_YUV_FORMATS = {
    ("plain", False): ("yuv420p", "yuv422p", "yuv444p", "yuv422p10le", "yuv444p10le", "yuvj420p"),
    ("plain", True): ("yuv420p10le", "yuv422p10le", "yuv444p10le", "p010le"),
    ("odd", False): ("yuv444p", "yuv444p10le"),
    ("odd", True): ("yuv444p10le",),
    ("alpha", False): ("yuva420p", "yuva444p", "yuva444p10le"),
    ("alpha", True): ("yuva444p10le", "yuva422p10le", "yuva420p10le"),
}
_RGB_FORMATS = {
    ("plain", False): ("bgr0", "rgb24", "gbrp", "bgr24"),
    ("plain", True): ("rgb48le", "gbrp16le"),
    ("alpha", False): ("bgra", "rgba", "argb", "gbrap"),
    ("alpha", True): ("rgba64le", "gbrap16le"),
    ("grey", False): ("gray",),
    ("grey", True): ("gray16le", "gray16be"),
}


def choose_encoder(
    path: Path,
    like: Properties,
    alpha: bool,
    grey: bool,
    codec: str | None,
    quality: int | None,
    mbps: float | None,
    chosen_depth: bool,
) -> Encoder:
    """Choose an encoder. `chosen_depth`: the user chose the depth of `like`.

    Raises:
        VideoError: the codec is missing, or cannot write this file in the requested way.
    """
    container = CONTAINERS[path.suffix.lower()]
    name = codec or _default_codec(path, container, like, alpha)
    available = _available(path, name)
    name = available.name  # `h264` is libx264
    row = _CODECS.get(name, _UNLISTED)
    if like.width < row.narrowest:
        raise VideoError(
            f"{name} cannot write {path} of {like.width}x{like.height}: frames must be at least {row.narrowest} pixels "
            "wide; give another codec"
        )
    if name == "libx264" and like.bits > 8 and not chosen_depth:
        raise VideoError(
            f"{name} would write {path} as H.264 of 10 bits, which phones and browsers do not play; give --bits 8, or "
            "leave the codec out for HEVC, or give --bits 10"
        )
    for variable, value in row.environment.items():
        os.environ.setdefault(variable, value)
    options = dict(row.options)
    if quality is not None:
        if mbps is not None:
            raise VideoError(f"{path} cannot have both a quality and a bit rate; give one of them")
        if row.worst_crf is None:
            raise VideoError(
                f"{name} has no quality to choose; leave it out" + ", or give a bit rate" * row.rate_controlled
            )
        if not 0 <= quality <= row.worst_crf:
            raise VideoError(f"quality {quality} is not in 0 (best) to {row.worst_crf}, the CRF of {name}")
    if mbps is not None and not (row.rate_controlled and 0 < mbps <= 2000):
        limit = "has no bit rate to choose; leave it out" if not row.rate_controlled else "takes above 0 to 2000 Mbit/s"
        raise VideoError(f"a bit rate of {mbps} Mbit/s: {name} {limit}")
    bit_rate = None
    if mbps is not None:
        bit_rate = int(mbps * 1e6)
    elif row.worst_crf is not None:
        options["crf"] = str(row.crf if quality is None else quality)
    elif row.rate_controlled:
        bit_rate = int(_BITS_PER_PIXEL * like.width * like.height * like.frame_rate)
    pixel_format = _pixel_format(path, name, available, like, alpha, grey, row)
    transfer = hdr_name(like.colour.transfer)
    if transfer and av.VideoFormat(pixel_format).components[0].bits == 8 and not chosen_depth:
        raise VideoError(
            f"{path} would hold HDR ({transfer}) in 8 bits, which shows bands; give --bits 8 to have it so, or another "
            "codec, such as libsvtav1 in .webm"
        )
    if like.hdr is not None and row.hdr is not None:
        option, parameters = row.hdr
        options[option] = ":".join(filter(None, (options.get(option), parameters(like.hdr))))
    if name == "prores_ks":
        options["profile"] = "4444" if "444" in pixel_format else "hq"
    return Encoder(
        name=name,
        container=container,
        pixel_format=pixel_format,
        options=options,
        bit_rate=bit_rate,
        # Apple's players open H.265 only under this name.
        tag="hvc1" if name == "libx265" and container.format in ("mp4", "mov") else None,
        tells_matrix=row.tells_matrix or container.tells_matrix,
        tells_range=row.tells_range or container.tells_range,
        loses_hdr=like.hdr is not None and row.hdr is None,
    )


def _default_codec(path: Path, container: Container, like: Properties, alpha: bool) -> str:
    if alpha:
        if container.alpha_codec is None:
            raise VideoError(f"{path} cannot hold alpha; give {ALPHA_OUTPUTS}")
        return container.alpha_codec
    if like.bits == 8:
        return container.codec
    if container.deep_codec is None:
        raise VideoError(f"{path} cannot hold 10 bits in a way that players know; give --bits 8, or .mp4 or .mkv")
    return container.deep_codec


def holds_alpha(suffix: str) -> bool:
    """Return whether an output with that suffix can have alpha: some videos, a folder of PNG (no suffix), a PNG."""
    return suffix in ("", ".png") or (suffix in CONTAINERS and CONTAINERS[suffix].alpha_codec is not None)


def _available(path: Path, name: str) -> Codec:
    """Return the encoder. Raise VideoError if this FFmpeg lacks it, or the container cannot hold it."""
    container = CONTAINERS[path.suffix.lower()]
    with av.open("/dev/null", "w", format=container.format) as file:
        supported = file.supported_codecs
    usual = ", ".join(codec for codec in _CODECS if codec in supported)
    try:
        codec = Codec(name, "w")
    except UnknownCodecError as error:
        raise VideoError(f"this FFmpeg has no video encoder {name}; for {path.suffix} there are {usual}") from error
    if codec.type != "video" or codec.name not in supported:
        raise VideoError(f"{path.suffix} cannot hold video of {name}; give one of {usual}, or another suffix")
    return codec


def _pixel_format(path: Path, name: str, codec: Codec, like: Properties, alpha: bool, grey: bool, row: _Codec) -> str:
    """Return the encoder's best pixel format for this input."""
    deep = like.bits > 8
    uneven = like.width % 2 == 1 or like.height % 2 == 1
    kind = "alpha" if alpha else "odd" if uneven and not row.odd else "plain"
    exact = "alpha" if alpha else "grey" if grey else "plain"
    wanted = (*_RGB_FORMATS[exact, deep], *_RGB_FORMATS[exact, False]) if row.lossless else ()
    wanted += (*_YUV_FORMATS[kind, deep], *_YUV_FORMATS[kind, False], *_RGB_FORMATS[exact, False])
    has = {each.name for each in codec.video_formats or ()}
    found = next((each for each in wanted if each in has), None)
    if found is None and alpha:
        raise VideoError(f"{name} cannot hold alpha in {path}; leave the codec out, or give a background")
    if found is None:
        raise VideoError(
            f"{name} cannot hold frames of {like.width}x{like.height} in {path}; give even sides, or another"
        )
    return found
