"""Read an XNNPACK graph, the one piece of an ExecuTorch program, with all checks: its values and its operations.

A graph is a header and a flatbuffer. Its constants lie outside of it, and have names.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.executorch.operations import DTYPES, KINDS
from exporters.support.budget import Budget
from exporters.support.flatbuffer import Table, root

NO_VALUE = 0xFFFFFFFF
"""The number that stands for no value: of a bias that is left out."""

_MOST_OPERATIONS = 5000
_LARGEST_SIDE = 1 << 20
_LOW, _HIGH = -math.inf, math.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """A value of the graph. `data` is None unless it is constant. Images are NHWC, or NCHW beside a transpose."""

    dtype: str
    shape: tuple[int, ...]
    data: NDArray[Any] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """An operation. Inputs and the output are numbers of values. The result is clamped to `low` and `high`."""

    kind: str
    inputs: tuple[int, ...]
    output: int
    options: Mapping[str, int]
    lists: Mapping[str, tuple[int, ...]]
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A graph. `values` are by number. `passed` are the numbers of those that a call passes, by their place in it."""

    values: Mapping[int, Value]
    operations: Sequence[Operation]
    passed: Mapping[int, int]


def parse_graph(content: bytes, constants: Mapping[str, NDArray[np.uint8]], budget: Budget) -> Graph:
    """Return the graph in a segment's bytes. Raises ValueError for any fault.

    Args:
        content: The segment.
        constants: The bytes of all constants, by name.
        budget: Counts the arrays of the file.
    """
    graph = _flatbuffer(content)
    values, passed = _values(graph, constants, budget)
    operations = [_operation(table) for table in _bounded(graph.tables(1))]
    return Graph(values=values, operations=operations, passed=passed)


def array_of(
    number: int, dtype: str, shape: tuple[int, ...], content: NDArray[np.uint8], budget: Budget
) -> NDArray[Any]:
    """Return the numbers of a constant value. Raises ValueError if they do not fit its shape, or are not finite."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if content.size != size:
        raise ValueError(f"its value {number} has {content.size} bytes, and its shape {size}")
    budget.take(size)
    data = content.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)
    if not np.isfinite(data).all():
        raise ValueError(f"its value {number} has numbers that are not finite")
    return data


def _flatbuffer(content: bytes) -> Table:
    """Return the root of the flatbuffer behind a header of XNNPACK's."""
    if content[4:8] != b"XH00" or len(content) < 30:
        raise ValueError("its graph has no header of XNNPACK's")
    offset, size = struct.unpack_from("<II", content, 10)
    if offset + size > len(content):
        raise ValueError("its graph lies beyond the end of its segment")
    return root(content[offset : offset + size])


def _bounded(tables: Sequence[Table]) -> Sequence[Table]:
    if not 0 < len(tables) <= _MOST_OPERATIONS:
        raise ValueError(f"it has {len(tables)} operations; at most {_MOST_OPERATIONS} are read")
    return tables


def _operation(node: Table) -> Operation:
    kind, fields, limits = KINDS.get(node.number(0, "B")), node.table(1), node.table(3)
    if kind is None or fields is None:
        number = node.number(0, "B")
        raise ValueError(f"it has operation {number} of XNNPACK's schema, which a matting network does not need")
    return Operation(
        kind=kind.name,
        inputs=tuple(fields.number(slot, "I") for slot in kind.inputs),
        output=fields.number(kind.output, "I"),
        options={name: fields.number(slot, "I") for name, slot in kind.options.items()},
        lists={name: tuple(map(int, fields.numbers(slot, "<u4"))) for name, slot in kind.lists.items()},
        low=_LOW if limits is None else limits.real(0),
        high=_HIGH if limits is None else limits.real(1),
    )


def _values(
    graph: Table, named: Mapping[str, NDArray[np.uint8]], budget: Budget
) -> tuple[dict[int, Value], dict[int, int]]:
    """Return the values by number, and the numbers of those that a method passes, by their place in its call."""
    constants = graph.tables(8)
    found: dict[int, Value] = {}
    passed: dict[int, int] = {}
    for table in graph.tables(2):
        fields = table.table(1)
        if fields is None or table.number(0, "B") != 1:
            raise ValueError("it has a value of a kind that a matting network does not need")
        number, shape = fields.number(6, "I"), tuple(map(int, fields.numbers(2, "<u4")))
        dtype = DTYPES.get(fields.number(0, "h"))
        if dtype is None or len(shape) > 4 or not all(0 < side <= _LARGEST_SIDE for side in shape):
            raise ValueError(f"its value {number} has a type or a shape that a matting network does not need")
        index, place = fields.number(3, "I"), fields.number(4, "I")
        if number in found or place in passed:
            raise ValueError(f"it has two values of number {number}, or at place {place}")
        if index >= max(len(constants), 1):
            raise ValueError(f"it has {len(constants)} constants, and refers to number {index}")
        data = array_of(number, dtype, shape, _named(number, named, constants[index]), budget) if index else None
        found[number] = Value(dtype=dtype, shape=shape, data=data)
        if place != NO_VALUE:
            passed[place] = number
    return found, passed


def _named(number: int, named: Mapping[str, NDArray[np.uint8]], constant: Table) -> NDArray[np.uint8]:
    name = constant.text(2)
    if name not in named:
        raise ValueError(f"its value {number} is a constant that it has not")
    return named[name]
