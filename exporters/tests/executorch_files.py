"""Change numbers in the flatbuffers of an ExecuTorch program, in place, for tests of spoiled files."""

import struct
from dataclasses import dataclass

from exporters.executorch.load import parse
from exporters.support.flatbuffer import Table, root
from exporters.support.own_metadata import HASH, UNHASHED, hashed


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """The program of a file, and the graph of its piece with its place in the file."""

    program: Table
    method: Table
    graph: Table
    graph_at: int


def parts(content: bytes) -> Parts:
    size, base = struct.unpack_from("<QQ", content, 16)
    program = root(content[:size])
    (method,) = program.tables(1)
    segment = program.tables(4)[method.tables(7)[0].table(1).number(1, "I")]
    at = base + segment.number(0, "Q")
    offset, length = struct.unpack_from("<II", content, at + 10)
    at += offset
    return Parts(program=program, method=method, graph=root(content[at : at + length]), graph_at=at)


def place(table: Table, slot: int) -> int:
    """Return where a table's field lies in its flatbuffer. The field must be there."""
    at = table._field(slot)
    assert at is not None
    return at


def put(content: bytes, at: int, kind: str, value: float) -> bytes:
    """Return the content with another number at a place."""
    packed = struct.pack(f"<{kind}", value)
    return content[:at] + packed + content[at + len(packed) :]


def rehashed(content: bytes, claimed: str) -> bytes:
    """Return a changed file with a hash that fits it. `claimed` is that of the file before."""
    return hashed(content.replace(claimed.encode(), UNHASHED.encode(), 1))


def claimed_by(content: bytes) -> str:
    return parse(content).metadata[HASH]
