"""Find MP4 and QuickTime headers for which FFmpeg would take gigabytes, and files whose index is cut off.

The former declare more samples than there are bytes.

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

_FIRST_BOXES = (b"ftyp", b"wide", b"mdat", b"free", b"skip", b"moov")

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


def lacks_index(file: BinaryIO, size: int) -> bool:
    """Return whether a file of `size` bytes is one of boxes whose index is missing, or cut off at its end.

    The index is `moov`, which most recorders write last, or a `moof` for each part of the file.
    """
    start, first = 0, True
    while start + 8 <= size:
        file.seek(start)
        length, name = struct.unpack(">I4s", file.read(8))
        if first and name not in _FIRST_BOXES:
            return False
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        if name == b"moof" or (name == b"moov" and (length == 0 or start + length <= size)):
            return False
        if length < 8:  # to the end of the file, or damaged
            return True
        start, first = start + length, False
    return not first


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
