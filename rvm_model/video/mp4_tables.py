"""Find MP4 and QuickTime headers for which FFmpeg would take gigabytes: they declare more samples than there are bytes.

Source: ISO/IEC 14496-12, boxes and sample tables.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rvm_model.video.colour import VideoError

_BOXES_OF_BOXES = (
    b"moov",
    b"hoov",
    b"trak",
    b"mdia",
    b"minf",
    b"stbl",
    b"edts",
    b"dinf",
    b"udta",
    b"mvex",
    b"moof",
    b"traf",
)
_COUNTS_AT = {b"stsz": 8, b"stz2": 8, b"trun": 4}
"""Where a table says its number of samples, behind its name."""

_DEEPEST = 16


def refuse_empty_samples(path: Path, file: BinaryIO, size: int) -> None:
    """Check the tables of a file of `size` bytes, if it is one of boxes, and go back to its start.

    Raises:
        VideoError: its tables declare more samples than the file has bytes, or are compressed.
    """
    samples = 0
    for name, start in _boxes(file, 0, size, 0):
        if name == b"cmov":
            raise VideoError(f"cannot read {path} as a video: its header is compressed; convert it to MP4")
        if name in _COUNTS_AT:
            file.seek(start + _COUNTS_AT[name])
            samples += int.from_bytes(file.read(4), "big")
        if samples > size:
            raise VideoError(
                f"cannot read {path} as a video: it is damaged: it declares {samples} samples and has {size} bytes"
            )
    file.seek(0)


def _boxes(file: BinaryIO, start: int, end: int, depth: int) -> Iterator[tuple[bytes, int]]:
    """Yield the name of each box between two places and the place of its content, and so on within."""
    while start + 8 <= end and depth < _DEEPEST:
        file.seek(start)
        length, name = struct.unpack(">I4s", file.read(8))
        content = start + 8
        if length == 1:
            length, content = int.from_bytes(file.read(8), "big"), start + 16
        stop = end if length == 0 else min(start + length, end)
        if stop < content:
            return
        yield name, content
        if name in _BOXES_OF_BOXES:
            yield from _boxes(file, content, stop, depth + 1)
        start = stop
