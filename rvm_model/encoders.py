"""Which encoder and which pixel format a video file gets, as data."""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import av
from av.codec import Codec
from av.codec.codec import UnknownCodecError

from rvm_model.colour import VideoError
from rvm_model.frames import Properties


@dataclass(frozen=True, kw_only=True)
class Container:
    """`codec` and `alpha_codec` are what it holds if nobody says otherwise."""

    format: str
    codec: str
    alpha_codec: str | None = None
    constant_rate: bool = False
    negative_times: bool = False


CONTAINERS = {
    ".mp4": Container(format="mp4", codec="libx264", negative_times=True),
    ".mkv": Container(format="matroska", codec="libx264"),
    ".mov": Container(format="mov", codec="libx264", alpha_codec="prores_ks", negative_times=True),
    ".webm": Container(format="webm", codec="libvpx-vp9", alpha_codec="libvpx-vp9"),
    ".avi": Container(format="avi", codec="libx264", constant_rate=True),
}
ALPHA_OUTPUTS = "a .mov (ProRes 4444), a .webm (VP9) or a folder of PNG, which has no suffix"


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """All that is decided before a video file is opened."""

    name: str
    container: Container
    pixel_format: str
    options: dict[str, str]
    bit_rate: int | None
    tag: str | None


@dataclass(frozen=True, kw_only=True)
class _Codec:
    """`smallest` is the shortest side it takes. `worst_crf` is the end of the scale of `quality`, None if the encoder
    has none. `odd` says whether it can hold an odd width with chroma at half the size.
    """

    smallest: int = 1
    worst_crf: int | None = None
    crf: int = 0
    options: dict[str, str] = field(default_factory=dict)
    odd: bool = False
    rate_controlled: bool = True


_CODECS = {
    # At 1920x1080 on one core 23 frames a second, 9 with the default preset, at about the same size.
    "libx264": _Codec(worst_crf=51, crf=18, options={"preset": "veryfast"}),
    # Of less than 64 pixels a side, some sizes (33x48, 32x48) overwrite memory that is not x265's.
    "libx265": _Codec(smallest=64, worst_crf=51, crf=20, options={"x265-params": "log-level=error"}),
    "libvpx-vp9": _Codec(worst_crf=63, crf=24, options={"row-mt": "1", "cpu-used": "4"}, odd=True),
    "libsvtav1": _Codec(worst_crf=63, crf=28, odd=True),
    "prores_ks": _Codec(rate_controlled=False),
    "ffv1": _Codec(options={"level": "3", "slicecrc": "1"}, odd=True, rate_controlled=False),
    "mpeg4": _Codec(odd=True),
}
_UNLISTED = _Codec()

# For a codec without a quality of its own: enough for a picture without visible loss, in bits a pixel and frame.
_BITS_PER_PIXEL = 0.2

# Pixel formats, the best first, of which an encoder gets the first that it has. RGB is for those that lose nothing.
_YUV = ("yuv420p", "yuv422p", "yuv444p", "yuv422p10le", "yuv444p10le", "yuvj420p")
_YUV_ODD = ("yuv444p", "yuv444p10le", "yuv420p")
_YUV_DEEP = ("yuv420p10le", "yuv422p10le", "yuv444p10le", "p010le")
_YUV_DEEP_ODD = ("yuv444p10le",)
_YUV_ALPHA = ("yuva420p", "yuva444p", "yuva444p10le")
_YUV_ALPHA_DEEP = ("yuva444p10le", "yuva422p10le", "yuva420p10le")
_RGB = ("bgr0", "rgb24", "gbrp", "rgb32", "bgr24")
_RGB_DEEP = ("rgb48le", "gbrp16le")
_RGB_ALPHA = ("bgra", "rgba", "argb", "gbrap")
_RGB_ALPHA_DEEP = ("rgba64le", "gbrap16le")
_GREY = ("gray",)
_GREY_DEEP = ("gray16le", "gray16be")


def holds_alpha(suffix: str) -> bool:
    """Whether an output of that suffix can be transparent: some videos, a folder of PNG (no suffix), a PNG."""
    return suffix in ("", ".png") or (suffix in CONTAINERS and CONTAINERS[suffix].alpha_codec is not None)


def choose_encoder(
    path: Path, like: Properties, alpha: bool, grey: bool, codec: str | None, quality: int | None, mbps: float | None
) -> Encoder:
    """Raises VideoError if the codec is missing, or cannot do what is asked for in a file of this suffix."""
    container = CONTAINERS[path.suffix.lower()]
    name = codec or (container.alpha_codec if alpha else container.codec)
    if name is None:
        raise VideoError(f"{path} cannot hold alpha; give {ALPHA_OUTPUTS}")
    row = _CODECS.get(name, _UNLISTED)
    available = _available(path, name)
    if min(like.width, like.height) < row.smallest:
        raise VideoError(
            f"{name} cannot write {path} of {like.width}x{like.height}: a side must have at least {row.smallest} "
            "pixels; give another codec"
        )
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
    pixel_format = _pixel_format(path, available, like, alpha, grey, row.odd)
    if name == "prores_ks":
        options["profile"] = "4444" if "444" in pixel_format else "hq"
    return Encoder(
        name=name,
        container=container,
        pixel_format=pixel_format,
        options=options,
        bit_rate=bit_rate,
        # Without this name of H.265 Apple's players do not open it.
        tag="hvc1" if name == "libx265" and container.format in ("mp4", "mov") else None,
    )


def _available(path: Path, name: str) -> Codec:
    """The encoder, if this FFmpeg has it and the container can hold it."""
    suffix = path.suffix.lower()
    with av.open(BytesIO(), "w", format=CONTAINERS[suffix].format) as file:
        supported = file.supported_codecs
    try:
        codec = Codec(name, "w")
    except UnknownCodecError:
        codec = None
    if codec is None or codec.type != "video" or name not in supported:
        known = ", ".join(known for known in _CODECS if known in supported and _exists(known))
        wrong = f"a {suffix} file cannot hold it" if name in supported | av.codecs_available else "this FFmpeg has none"
        raise VideoError(f"no codec {name} for {path}: {wrong}; give one of {known}")
    return codec


def _exists(name: str) -> bool:
    try:
        return Codec(name, "w").is_encoder
    except UnknownCodecError:
        return False


def _pixel_format(path: Path, codec: Codec, like: Properties, alpha: bool, grey: bool, holds_odd: bool) -> str:
    deep, odd = like.bits > 8, bool(like.width % 2 or like.height % 2) and not holds_odd
    lossless = codec.lossless and not codec.lossy
    wanted: tuple[str, ...] = ()
    if alpha:
        wanted = _RGB_ALPHA_DEEP * (deep and lossless) + _RGB_ALPHA * lossless
        wanted += _YUV_ALPHA_DEEP * deep + _YUV_ALPHA
    else:
        if lossless:
            wanted = (_GREY_DEEP * deep + _GREY) * grey + _RGB_DEEP * deep + _RGB
        wanted += (_YUV_DEEP_ODD if odd else _YUV_DEEP) * deep + (_YUV_ODD if odd else _YUV)
    available = {video_format.name for video_format in codec.video_formats or ()}
    found = next((name for name in wanted if name in available), None)
    if found is None:
        raise VideoError(
            f"{codec.name} cannot hold alpha; give {ALPHA_OUTPUTS}"
            if alpha
            else f"{codec.name} takes none of the pixel formats that are made here for {path}; give another codec"
        )
    return found
