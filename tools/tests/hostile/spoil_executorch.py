"""Ways to spoil an ExecuTorch program: its flatbuffers. The hash is made anew, so that only the program can tell."""

from collections.abc import Callable
from random import Random

import numpy as np

from exporters.executorch.operations import KINDS
from exporters.tests.executorch_files import claimed_by, parts, place, put, rehashed
from tools.tests.hostile.home import Home
from tools.tests.hostile.spoil_bytes import Mutation

ODD_NUMBERS = (0, 1, 2, 3, 255, 65536, 2**31 - 1, 2**32 - 1)
Change = Callable[[bytes, Random], bytes]


def change_kind(content: bytes, random: Random) -> bytes:
    found = parts(content)
    node = random.choice(found.graph.tables(1))
    return put(content, found.graph_at + place(node, 0), "B", random.choice((0, 1, 2, 7, 13, 36, 47, 255)))


def change_operation(content: bytes, random: Random) -> bytes:
    """Change an input, an output or an option of an operation."""
    found = parts(content)
    node = random.choice(found.graph.tables(1))
    kind, fields = KINDS[node.number(0, "B")], node.table(1)
    assert fields is not None
    slots = [slot for slot in (*kind.inputs, kind.output, *kind.options.values()) if fields.has(slot)]
    if not slots:
        return content
    value = random.choice((*ODD_NUMBERS, random.randrange(500)))
    return put(content, found.graph_at + place(fields, random.choice(slots)), "I", value)


def change_value(content: bytes, random: Random) -> bytes:
    """Change the type, the constant, the place or the number of a value."""
    found = parts(content)
    fields = random.choice(found.graph.tables(2)).table(1)
    assert fields is not None
    slot, kind = random.choice([each for each in ((0, "h"), (3, "I"), (4, "I"), (6, "I")) if fields.has(each[0])])
    most = 2**15 if kind == "h" else 2**32
    return put(content, found.graph_at + place(fields, slot), kind, random.choice(ODD_NUMBERS) % most)


def change_shape(content: bytes, random: Random) -> bytes:
    found = parts(content)
    fields = random.choice([each.table(1) for each in found.graph.tables(2)])
    assert fields is not None
    begin, count = fields._vector(2, 4)
    return put(content, found.graph_at + begin + 4 * random.randrange(count), "I", random.choice(ODD_NUMBERS))


def change_limits(content: bytes, random: Random) -> bytes:
    found = parts(content)
    limits = random.choice([each.table(3) for each in found.graph.tables(1) if each.table(3) is not None])
    assert limits is not None
    slots = [slot for slot in (0, 1) if limits.has(slot)]
    value = random.choice((np.nan, np.inf, -np.inf, 1e30, 0.0))
    return put(content, found.graph_at + place(limits, random.choice(slots)), "f", value) if slots else content


def change_segment(content: bytes, random: Random) -> bytes:
    found = parts(content)
    segment = random.choice(found.program.tables(4))
    slot = random.choice([slot for slot in (0, 1) if segment.has(slot)])
    value = random.choice((0, 1, 16, 2**32, 2**63, 2**64 - 1))
    return put(content, place(segment, slot), "Q", value)


def change_tensor(content: bytes, random: Random) -> bytes:
    """Change the type or a size of a tensor that the method passes, or where its constant lies."""
    method = parts(content).method
    tensor = random.choice([each.table(1) for each in method.tables(2) if each.number(0, "B") == 5])
    assert tensor is not None
    if random.random() < 0.5:
        begin, count = tensor._vector(2, 4)
        return put(content, begin + 4 * random.randrange(count), "I", random.choice(ODD_NUMBERS))
    slot, kind = random.choice([each for each in ((0, "B"), (5, "I")) if tensor.has(each[0])] or [(-1, "")])
    return content if slot < 0 else put(content, place(tensor, slot), kind, random.choice((0, 1, 2, 5, 6, 99)))


def change_metadata(content: bytes, random: Random) -> bytes:
    value = random.choice(("nan", "1.0", "0.0", "-.5", "9e9", "0.3", "\x1b[2"))
    return content.replace(b'"downsample_ratio": "0.5"', f'"downsample_ratio": "{value[:3]:3}"'.encode(), 1)


def change_header(content: bytes, random: Random) -> bytes:
    at = random.choice((0, 12, 16, 24, 32))
    return put(content, at, "I", random.choice((*ODD_NUMBERS, random.randrange(len(content)))))


def change_offset(content: bytes, random: Random) -> bytes:
    """Change four bytes of the graph, which may be an offset, a length or a count."""
    found = parts(content)
    at = found.graph_at + random.randrange(0, 60_000, 4)
    return put(content, at, "I", random.choice((2**31 - 1, 2**32 - 1, 0, random.randrange(100_000))))


def on_program(change: Change) -> Mutation:
    """Return a mutation of a file that changes its program once, with a hash that fits it."""

    def mutate(content: bytes, random: Random, home: Home) -> bytes:
        return rehashed(change(content, random), claimed_by(content))

    mutate.__name__ = change.__name__
    return mutate


EXECUTORCH: tuple[Mutation, ...] = tuple(
    map(
        on_program,
        (
            *(change_kind, change_operation, change_operation, change_value, change_shape, change_limits),
            *(change_segment, change_tensor, change_metadata, change_header, change_offset, change_offset),
        ),
    )
)
