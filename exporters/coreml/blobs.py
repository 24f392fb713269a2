"""Read a package's weight file: a header, then entries of a header and bytes each, all at multiples of 64.

The layout is that of MILBlob's storage format, version 2, in Apple's coremltools; little-endian.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from exporters.artifact import ArtifactError

ALIGNMENT = 64
VERSION = 2

_HEADER = struct.Struct("<II")  # entries, version; 56 unused bytes
_ENTRY = struct.Struct("<IIQQQ")  # sentinel, dtype, bytes, where they begin, unused bits of the last byte
_SENTINEL = 0xDEADBEEF

_DTYPES = {
    1: "FLOAT16",
    2: "FLOAT32",
    3: "UINT8",
    4: "INT8",
    6: "INT16",
    7: "UINT16",
    8: "INT4",
    9: "UINT1",
    10: "UINT2",
    11: "UINT4",
    12: "UINT3",
    13: "UINT6",
    14: "INT32",
    15: "UINT32",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Blob:
    """One entry: its dtype and its elements, packed if they are smaller than a byte."""

    dtype: str
    content: memoryview


def read_blobs(content: bytes, name: str) -> Mapping[int, Blob]:
    """Return all entries by the position of their headers, by which a program refers to them.

    Args:
        content: The file's bytes.
        name: The file's name for the user, in messages.

    Raises:
        ArtifactError: the file is truncated, longer than its entries, or not of this format.
    """
    if len(content) < ALIGNMENT:
        raise ArtifactError(f"{name} is truncated: its {len(content)} bytes are less than a header")
    count, version = _HEADER.unpack_from(content)
    if version != VERSION:
        raise ArtifactError(f"{name} is damaged: it says that it is version {version}; {VERSION} is known here")
    blobs: dict[int, Blob] = {}
    position = ALIGNMENT
    for _ in range(count):
        if position + ALIGNMENT > len(content):
            raise ArtifactError(f"{name} is truncated: it ends after {len(blobs)} of its {count} entries")
        sentinel, dtype, length, start, unused = _ENTRY.unpack_from(content, position)
        if sentinel != _SENTINEL or dtype not in _DTYPES or start != position + ALIGNMENT or unused > 7:
            raise ArtifactError(f"{name} is damaged: what stands at byte {position} is no header of an entry")
        if start + length > len(content):
            raise ArtifactError(f"{name} is truncated or damaged: it ends within the entry at byte {position}")
        blobs[position] = Blob(dtype=_DTYPES[dtype], content=memoryview(content)[start : start + length])
        position = -(-(start + length) // ALIGNMENT) * ALIGNMENT
    if position < len(content):
        raise ArtifactError(f"{name} is damaged: {len(content) - position} bytes follow its last entry")
    return blobs
