"""Ways to spoil pictures and videos: the chunks of a PNG, the segments of a JPEG, the boxes of an MP4."""

import struct
import zlib
from collections.abc import Iterable
from random import Random

from tools.tests.hostile.home import SECRET, Home
from tools.tests.hostile.spoil_bytes import Mutation

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGE = (0, 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta")


def spoil_header(content: bytes, random: Random, home: Home) -> bytes:
    """Change the size, depth or kind in a PNG's header."""
    (name, header), *rest = png_chunks(content)
    fields = [*struct.unpack(">IIBBBBB", header)]
    fields[random.choice((0, 0, 1, 1, 2, 3, 4, 5, 6))] = random.choice(LARGE)
    small = [each & 0xFF for each in fields[2:]]
    return png([(name, struct.pack(">II", *fields[:2]) + bytes(small)), *rest])


def spoil_chunks(content: bytes, random: Random, home: Home) -> bytes:
    """Remove, repeat, move or shorten a PNG's chunks."""
    chunks = png_chunks(content)
    k = random.randrange(len(chunks))
    name, data = chunks[k]
    actions = (
        [*chunks[:k], *chunks[k + 1 :]],
        [*chunks[: k + 1], *chunks[k:]],
        random.sample(chunks, len(chunks)),
        [*chunks[:k], (name, data[: len(data) // 2]), *chunks[k + 1 :]],
    )
    return png(random.choice(actions))


def add_chunk(content: bytes, random: Random, home: Home) -> bytes:
    """Add a chunk of text, colours or orientation, some of which unpack to much more."""
    bomb = zlib.compress(bytes(80_000_000))
    chunk = random.choice(
        (
            (b"zTXt", b"x\0\0" + bomb),
            (b"iCCP", b"x\0\0" + bomb),
            (b"iTXt", b"x\0\1\0\0\0" + bomb),
            (b"tEXt", b"x\0\x1b[2J"),
            (b"eXIf", b"MM\0*" + struct.pack(">I", 2**31)),
            (b"acTL", struct.pack(">II", 2**31 - 1, 0)),
            (b"PLTE", bytes(random.randrange(2_000))),
            (b"tRNS", bytes(random.randrange(2_000))),
            (b"gAMA", struct.pack(">I", random.choice(LARGE))),
        )
    )
    first, *rest = png_chunks(content)
    return png([first, chunk, *rest])


def spoil_data(content: bytes, random: Random, home: Home) -> bytes:
    """Replace the pixels of a PNG: too few, too many, no zlib."""
    data = random.choice((b"", b"\xff" * 100, zlib.compress(bytes(random.choice((1, 100, 10**8))))))
    return png([(name, data if name == b"IDAT" else each) for name, each in png_chunks(content)])


def spoil_segment(content: bytes, random: Random, home: Home) -> bytes:
    """Change, remove or repeat a segment of a JPEG, or lie about its length."""
    segments, scan = _segments(content)
    k = random.randrange(len(segments))
    marker, data = segments[k]
    changed = bytearray(data)
    for _ in range(random.choice((1, 4))):
        if changed:
            changed[random.randrange(len(changed))] = random.choice((0, 1, 0x7F, 0xFF))
    one = [(marker, bytes(changed))]
    new = random.choice((one, one, one, [], segments[k : k + 1] * 2, [(random.randrange(0xC0, 0xFF), data)]))
    return b"\xff\xd8" + b"".join(map(_segment, [*segments[:k], *new, *segments[k + 1 :]])) + scan


def spoil_size(content: bytes, random: Random, home: Home) -> bytes:
    """Change the height, width or channels in a JPEG's frame header."""
    segments, scan = _segments(content)
    for k, (marker, data) in enumerate(segments):
        if marker in (0xC0, 0xC2):
            sizes = [random.choice((0, 1, 65535, 64)) for _ in range(2)]
            segments[k] = (
                marker,
                data[:1] + struct.pack(">HH", *sizes) + bytes([random.choice((3, 1, 0, 255))]) + data[6:],
            )
    return b"\xff\xd8" + b"".join(map(_segment, segments)) + scan


def spoil_box(content: bytes, random: Random, home: Home) -> bytes:
    """Set four bytes somewhere in an MP4's tables to an odd number."""
    damaged = bytearray(content)
    start, end = random.choice([(start, end) for name, start, end in boxes(content) if name not in (b"mdat", b"free")])
    if end - start >= 4:
        where = random.randrange(start, end - 3)
        damaged[where : where + 4] = struct.pack(">I", random.choice(LARGE))
    return bytes(damaged)


def spoil_box_size(content: bytes, random: Random, home: Home) -> bytes:
    """Lie about the size of a box."""
    damaged = bytearray(content)
    _, start, _ = random.choice(boxes(content))
    damaged[start - 8 : start - 4] = struct.pack(">I", random.choice((*LARGE, 7, 9)))
    return bytes(damaged)


def rename_box(content: bytes, random: Random, home: Home) -> bytes:
    """Rename a box: readers skip one that they do not know, and misread one that they do."""
    damaged = bytearray(content)
    _, start, _ = random.choice(boxes(content))
    damaged[start - 4 : start] = random.choice((b"free", b"moov", b"stco", b"stsz", b"cmov", b"uuid", b"\0\0\0\0"))
    return bytes(damaged)


def refer_outside(content: bytes, random: Random, home: Home) -> bytes:
    """Let an MP4 say that its samples lie in another file."""
    other = random.choice((f"file://{home.secret}", f"../outside/{SECRET}", "http://127.0.0.1:9/x"))
    entry = _box(random.choice((b"url ", b"alis")), b"\0\0\0\0" + other.encode() + b"\0")
    return with_box(content, b"dref", b"\0\0\0\0" + struct.pack(">I", 1) + entry)


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and data of a PNG's chunks."""
    chunks, at = [], len(PNG_SIGNATURE)
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG file of these chunks, with right checksums."""
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return PNG_SIGNATURE + b"".join(parts)


def png_of(width: int, height: int, data: bytes, depth: int = 8) -> bytes:
    """Return a PNG file in RGB that claims a size and has this data, which zlib may unpack to anything."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return png([(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")])


def boxes(content: bytes) -> list[tuple[bytes, int, int]]:
    """Return name, start and end of the content of all boxes of an MP4, nested ones too."""
    found, waiting = [], [(0, len(content))]
    while waiting:
        at, end = waiting.pop()
        while at + 8 <= end:
            size, name = struct.unpack(">I4s", content[at : at + 8])
            stop = at + size if size >= 8 else end
            found.append((name, at + 8, min(stop, end)))
            if name in _CONTAINERS:
                waiting.append((at + 8, min(stop, end)))
            at = stop
    return found


def with_box(content: bytes, name: bytes, data: bytes) -> bytes:
    """Replace the content of the first box of a name, and mend the sizes of those around it."""
    start, end = next((start, end) for each, start, end in boxes(content) if each == name)
    grown = len(data) - (end - start)
    changed = bytearray(content[:start] + data + content[end:])
    for _, outer, stop in boxes(content):
        if outer <= start and end <= stop:
            changed[outer - 8 : outer - 4] = struct.pack(">I", stop - outer + 8 + grown)
    return bytes(changed)


def _box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + name + data


def _segments(content: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the marker and data of a JPEG's segments before its pixels, and the rest."""
    segments, at = [], 2
    while content[at + 1] != 0xDA:
        (length,) = struct.unpack(">H", content[at + 2 : at + 4])
        segments.append((content[at + 1], content[at + 4 : at + 2 + length]))
        at += 2 + length
    return segments, content[at:]


def _segment(segment: tuple[int, bytes]) -> bytes:
    marker, data = segment
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


PNG: tuple[Mutation, ...] = (spoil_header, spoil_header, spoil_chunks, add_chunk, spoil_data)
JPEG: tuple[Mutation, ...] = (spoil_segment, spoil_segment, spoil_segment, spoil_size)
MP4: tuple[Mutation, ...] = (spoil_box, spoil_box, spoil_box, spoil_box_size, rename_box, refer_outside)
