"""MP4 headers for which FFmpeg would take gigabytes are refused before it sees them."""

import io
import struct
from pathlib import Path

import pytest

from rvm_model.tests.clips import drawn, encode_clip
from rvm_model.video.colour import VideoError
from rvm_model.video.mp4_tables import refuse_empty_samples
from rvm_model.video.source import open_source


def box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), name) + body


def table(name: bytes, count: int) -> bytes:
    head = struct.pack(">II", 0, count) if name == b"trun" else struct.pack(">III", 0, 1, count)
    return box(name, head)


def nested(*content: bytes) -> bytes:
    return box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", *content)))))


def refuse(content: bytes) -> None:
    refuse_empty_samples(Path("x.mp4"), io.BytesIO(content), len(content))


@pytest.mark.parametrize(
    "content",
    [
        nested(table(b"stsz", 10_000)),
        nested(table(b"stz2", 10_000)),
        box(b"free") + nested(table(b"stsz", 300), table(b"stsz", 300)),
        box(b"moof", box(b"traf", table(b"trun", 10_000))),
        box(b"moof", box(b"traf", *[table(b"trun", 50)] * 4)),
        table(b"stsz", 10_000),
        struct.pack(">I4sQ", 1, b"moov", 16 + 20) + table(b"stsz", 10_000),
        struct.pack(">I4s", 0, b"moov") + table(b"stsz", 10_000),
    ],
)
def test_more_samples_than_bytes_are_refused(content):
    with pytest.raises(
        VideoError, match=r"x\.mp4 as a video: it is damaged: it declares \d+ samples and has \d+ bytes"
    ):
        refuse(content)


def test_a_compressed_header_is_refused():
    with pytest.raises(VideoError, match="its header is compressed; convert it to MP4"):
        refuse(box(b"moov", box(b"cmov", box(b"dcom", b"zlib"))))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        bytes(100),
        b"\xff" * 100,
        nested(table(b"stsz", 20)),
        struct.pack(">I4s", 7, b"moov") + table(b"stsz", 10_000),
        struct.pack(">I4s", 2**32 - 1, b"mdat") + b"\0" * 50,
    ],
)
def test_other_files_are_left_to_ffmpeg(content):
    refuse(content)


def test_nesting_ends():
    content = b""
    for _ in range(10_000):
        content = struct.pack(">I4s", 8 + len(content), b"moov") + content
    refuse(content)


def test_a_good_video_whose_table_is_changed(tmp_path):
    path = tmp_path / "x.mp4"
    encode_clip(path, drawn(16, 64, 48))
    with open_source(path) as source:
        assert sum(1 for _ in source) == 16
    content = path.read_bytes()
    at = content.index(b"stsz") + 12
    path.write_bytes(content[:at] + struct.pack(">I", 30_000_000) + content[at + 4 :])
    with pytest.raises(VideoError, match="declares 30000000 samples"), open_source(path):
        pass
