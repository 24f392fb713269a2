"""Pictures and videos that name other files, start programs, never end, or unpack to too much."""

import shutil
import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import EpsImagePlugin, Image

from tools.tests.hostile.constructions.construction import Build, Construction, copied, sparse
from tools.tests.hostile.good_files import write_video
from tools.tests.hostile.home import Home
from tools.tests.hostile.spoil_media import boxes, png, png_chunks, png_of, with_box

POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 64 48
%%EndComments
(escaped) (w) file closefile
0 0 64 48 rectfill showpage
%%EOF
"""
PLAYLIST = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{segment}\n{end}"
SDP = (
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 50040 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
)
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic" profiles="x">'
    '<Period><AdaptationSet><Representation id="0" bandwidth="1"><BaseURL>{segment}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>"
)


def _text(name: str, kind: str, text: bytes) -> Build:
    def build(home: Home) -> Construction:
        (home.files / name).write_bytes(text)
        return Construction(kind, home.files / name)

    return build


def _script(name: str, text: str, outside: bool = True) -> Build:
    """Write a text that names a video, which lies outside or beside it."""

    def build(home: Home) -> Construction:
        segment = (home.outside if outside else home.files) / "segment.ts"
        frames = [np.full((48, 64, 3), 9 * k, np.uint8) for k in range(24)]
        write_video(segment, frames, "mpeg2video")
        place = f"../{home.outside.name}/segment.ts" if outside else "segment.ts"
        path = home.files / name
        path.write_text(text.replace("{segment}", place).replace("{absolute}", str(segment)))
        return Construction("video", path)

    return build


def _postscript(name: str, kind: str) -> Build:
    def build(home: Home) -> Construction:
        EpsImagePlugin.gs_binary = None  # Pillow looks for Ghostscript once in each process, and each time must show
        return _text(name, kind, POSTSCRIPT)(home)

    return build


def postscript_in_a_folder(home: Home) -> Construction:
    EpsImagePlugin.gs_binary = None
    path = copied(home, "clip")
    (path / "7.png").write_bytes(POSTSCRIPT)
    return Construction("pictures", path)


def _image(name: str, kind: str, image_format: str) -> Build:
    """Write a picture of another format under a name of ours."""

    def build(home: Home) -> Construction:
        path = home.files / name
        Image.new("RGB", (64, 48), (9, 99, 9)).save(path, image_format)
        return Construction(kind, path)

    return build


def _png(width: int, height: int, unpacked: int, depth: int = 8) -> Build:
    """Write a PNG file that claims a size, whose data unpacks to so many zeros."""

    def build(home: Home) -> Construction:
        packer = zlib.compressobj(9)
        data = b"".join(packer.compress(bytes(min(1 << 24, unpacked - k))) for k in range(0, unpacked, 1 << 24))
        (home.files / "x.png").write_bytes(png_of(width, height, data + packer.flush(), depth))
        return Construction("picture", home.files / "x.png")

    return build


def _chunk(name: bytes, head: bytes, unpacked: int = 1_000_000_000) -> Build:
    """Add a chunk to a good picture that unpacks to a gigabyte."""

    def build(home: Home) -> Construction:
        packer = zlib.compressobj(9)
        data = b"".join(packer.compress(bytes(1 << 24)) for _ in range(unpacked >> 24)) + packer.flush()
        first, *rest = png_chunks((home.good / "picture.png").read_bytes())
        (home.files / "x.png").write_bytes(png([first, (name, head + data), *rest]))
        return Construction("picture", home.files / "x.png")

    return build


def huge_jpeg(home: Home) -> Construction:
    """Claim 65,535 x 65,535 pixels."""
    content = (home.good / "picture.jpg").read_bytes()
    at = content.index(b"\xff\xc0") + 5
    (home.files / "x.jpg").write_bytes(content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :])
    return Construction("picture", home.files / "x.jpg")


def pattern_as_a_name(home: Home) -> Construction:
    """Name a picture of 16 bits as FFmpeg names a sequence, the first of which lies outside."""
    path = home.files / "f%d.png"
    path.write_bytes(png_of(64, 48, zlib.compress(bytes(48 * (1 + 64 * 6))), 16))
    home.secret.write_bytes(png_of(64, 48, zlib.compress(b"\0" + b"\xff" * (48 * (1 + 64 * 6) - 1)), 16))
    (home.files / "f0.png").symlink_to(home.secret)
    return Construction("picture", path)


def _mp4(changes: Mapping[bytes, Callable[[bytes], bytes]]) -> Build:
    """Change the content of some boxes of a good video."""

    def build(home: Home) -> Construction:
        content = (home.good / "video.mp4").read_bytes()
        for name, change in changes.items():
            start, end = next((start, end) for each, start, end in boxes(content) if each == name)
            content = with_box(content, name, change(content[start:end]))
        (home.files / "x.mp4").write_bytes(content)
        return Construction("video", home.files / "x.mp4")

    return build


def _outside(home_path: str) -> bytes:
    entry = b"\0\0\0\0" + home_path.encode() + b"\0"
    return b"\0\0\0\0" + struct.pack(">I", 1) + struct.pack(">I", 8 + len(entry)) + b"url " + entry


def samples_outside(home: Home) -> Construction:
    """Let a video say that its samples lie in another file."""
    shutil.copy(home.good / "video.mp4", home.secret)
    content = with_box((home.good / "video.mp4").read_bytes(), b"dref", _outside(f"file://{home.secret}"))
    (home.files / "x.mp4").write_bytes(content)
    return Construction("video", home.files / "x.mp4")


def huge_video(home: Home) -> Construction:
    """Claim frames of 30,000 x 30,000 pixels, uncompressed, in an AVI file."""
    path = home.files / "x.avi"
    write_video(path, [np.zeros((48, 64, 3), np.uint8)] * 3, "rawvideo")
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<II", 64, 48), struct.pack("<II", 30_000, 30_000)))
    return Construction("video", path)


def sizes_that_differ(home: Home) -> Construction:
    """Put one picture of 8,000 x 8,000 pixels into a folder of small ones."""
    path = copied(home, "clip")
    (path / "3.png").write_bytes(png_of(8_000, 8_000, zlib.compress(bytes(8_000 * (1 + 8_000 * 3)))))
    return Construction("pictures", path)


def raw_zeros(name: str) -> Build:
    """Write zeros under the name of a raw stream, which a reader could search for a picture forever."""

    def build(home: Home) -> Construction:
        (home.files / name).write_bytes(bytes(20_000_000))
        return Construction("video", home.files / name)

    return build


def sparse_stream(head: bytes) -> Build:
    """Write a raw stream whose last picture never ends, which a reader could keep in memory."""

    def build(home: Home) -> Construction:
        return Construction("video", sparse(home.files / "x.h264", head, 2_650_000_000))

    return build


MEDIA: dict[str, Build] = {
    "PostScript named x.jpg": _postscript("x.jpg", "picture"),
    "PostScript named x.png": _postscript("x.png", "picture"),
    "PostScript in a folder of pictures": postscript_in_a_folder,
    "PostScript named x.mp4": _postscript("x.mp4", "video"),
    "SVG named x.png": _text("x.png", "picture", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    "GIF named x.png": _image("x.png", "picture", "GIF"),
    "TIFF named x.jpg": _image("x.jpg", "picture", "TIFF"),
    "x.tif": _image("x.tif", "video", "TIFF"),
    "PNG named x.mp4": _image("x.mp4", "video", "PNG"),
    "a playlist that names a video outside": _script("x.m3u8", PLAYLIST.replace("{end}", "#EXT-X-ENDLIST\n")),
    "a playlist named x.mp4": _script("x.mp4", PLAYLIST.replace("{end}", "#EXT-X-ENDLIST\n")),
    "a playlist that names a video by its whole path": _script(
        "x.m3u8", PLAYLIST.replace("{segment}", "{absolute}").replace("{end}", "#EXT-X-ENDLIST\n")
    ),
    "a playlist without an end": _script("x.m3u8", PLAYLIST.replace("{end}", ""), outside=False),
    "a playlist without an end named x.mp4": _script("x.mp4", PLAYLIST.replace("{end}", ""), outside=False),
    "a list of files to join": _script("x.mp4", "ffconcat version 1.0\nfile {segment}\n"),
    "a list of whole paths to join": _script("x.mp4", "ffconcat version 1.0\nfile {absolute}\n"),
    "a list of files to join beside it": _script("x.mp4", "ffconcat version 1.0\nfile segment.ts\n", outside=False),
    "a session of RTP": _text("x.sdp", "video", SDP.encode()),
    "a session of RTP named x.mp4": _text("x.mp4", "video", SDP.encode()),
    "a DASH manifest": _script("x.mpd", DASH),
    "a video whose samples lie outside": samples_outside,
    "a name that is a pattern": pattern_as_a_name,
    "PNG of 16,384 x 16,384 pixels": _png(16_384, 16_384, 16_384 * (1 + 16_384 * 3)),
    "PNG of 16,384 x 16,384 pixels of 16 bits": _png(16_384, 16_384, 16_384 * (1 + 16_384 * 6), 16),
    "PNG of 60,000 x 60,000 pixels": _png(60_000, 60_000, 1_000_000),
    "PNG of 2 billion x 2 billion pixels": _png(2**31 - 1, 2**31 - 1, 1_000),
    "PNG of no pixels": _png(0, 0, 0),
    "PNG whose data is a thousand times too long": _png(64, 48, 1_000_000_000),
    "PNG with a text of a gigabyte": _chunk(b"zTXt", b"x\0\0"),
    "PNG with a colour profile of a gigabyte": _chunk(b"iCCP", b"x\0\0"),
    "PNG with an international text of a gigabyte": _chunk(b"iTXt", b"x\0\1\0\0\0"),
    "JPEG of 65,535 x 65,535 pixels": huge_jpeg,
    "MP4 of 4 billion frames": _mp4({b"stts": lambda _: struct.pack(">IIII", 0, 1, 2**32 - 1, 1)}),
    "MP4 of 30 million samples of a byte": _mp4({b"stsz": lambda _: struct.pack(">III", 0, 1, 30_000_000)}),
    "MP4 with a timescale of zero": _mp4({b"mdhd": lambda each: each[:12] + bytes(4) + each[16:]}),
    "MP4 that lasts 600 years": _mp4({b"stts": lambda _: struct.pack(">IIII", 0, 1, 16, 2**31 - 1)}),
    "MP4 with frames of 4 GB": _mp4({b"stsz": lambda each: each[:4] + struct.pack(">II", 2**32 - 1, 2**32 - 1)}),
    "MP4 with a matrix of zeros": _mp4({b"tkhd": lambda each: each[:40] + bytes(36) + each[76:]}),
    "AVI of 30,000 x 30,000 pixels": huge_video,
    "a folder of pictures with one of 8,000 x 8,000": sizes_that_differ,
    "zeros named x.mpg": raw_zeros("x.mpg"),
    "zeros named x.mp4": raw_zeros("x.mp4"),
    "zeros named x.dv": raw_zeros("x.dv"),
    "zeros named x.h264": raw_zeros("x.h264"),
    "zeros named x.y4m": raw_zeros("x.y4m"),
    "2.65 GB of zeros named x.h264": sparse_stream(b""),
    "2.65 GB of one picture named x.h264": sparse_stream(b"\0\0\0\1\x65"),
}
