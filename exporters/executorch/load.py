"""Read an ExecuTorch program whole, without the runtime: its XNNPACK graph, its weights and its metadata, with all
checks.

A file is a flatbuffer, a header behind the flatbuffer's identifier, and segments. One segment is the graph, which has a
header and a flatbuffer of its own. Each of the others is one constant, or our metadata, and has a name.

The runtime runs most files with flipped bits, and gives wrong mattes. So a file of ours holds a hash of itself.
"""

import hashlib
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import ArtifactError
from exporters.executorch import MAGIC, METADATA
from exporters.executorch.operations import DTYPES, KINDS, SCALARS
from exporters.support.budget import Budget
from exporters.support.flatbuffer import Table, root
from rvm_model.files import read_file

HASH = "content_sha256"
UNHASHED = "0" * 64
"""Stands in place of the hash while it is computed."""

BACKEND = "XnnpackBackend"
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
class Tensor:
    """A tensor that a method passes to the graph, the number of its value there, and that of its data if it has any."""

    dtype: str
    shape: tuple[int, ...]
    value: int
    buffer: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A program with one method. `metadata` is empty if it has none."""

    values: Mapping[int, Value]
    operations: Sequence[Operation]
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    metadata: Mapping[str, str]


def read(path: Path) -> Model:
    """Return a program. Raises ArtifactError if it is damaged, changed, or has what a matting network does not need."""
    try:
        content = read_file(path)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        model = parse(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged, or no matting network: {error}") from error
    claimed = model.metadata.get(HASH)
    if claimed is not None and claimed != content_sha256(content, claimed):
        raise ArtifactError(f"{path} has changed since rvm-export wrote it: damaged, or edited; export it again")
    return model


def content_sha256(content: bytes, claimed: str) -> str:
    """Return the hash of a file's bytes, with zeros in the place of the hash that it claims."""
    return hashlib.sha256(content.replace(claimed.encode(errors="replace"), UNHASHED.encode(), 1)).hexdigest()


def parse(content: bytes) -> Model:
    """Return the program in a file's bytes. Raises ValueError for any fault."""
    if content[4:8] != MAGIC or content[8:12] != b"eh00" or len(content) < 40:
        raise ValueError("it has no extended header, as old or damaged files have none")
    size, base, length = struct.unpack_from("<QQQ", content, 16)
    if not 0 < size <= base or base + length != len(content):
        raise ValueError(f"it has {len(content)} bytes, and its header says {base + length}")
    program = root(content[:size])
    segments = [_segment(content, base, table) for table in program.tables(4)]
    named = {table.text(0): _at(segments, table.number(1, "I")) for table in program.tables(7)}
    methods = program.tables(1)
    if len(methods) != 1:
        raise ValueError(f"it has {len(methods)} methods, and a matting network has one")
    delegates, arguments = methods[0].tables(7), _delegate_call(methods[0])
    if len(delegates) != 1 or delegates[0].text(0) != BACKEND:
        raise ValueError(f"it is not one piece for {BACKEND}")
    data = delegates[0].table(1)
    if data is None or data.number(0, "b") != 1:
        raise ValueError("its graph is not in a segment")
    graph = _graph(_at(segments, data.number(1, "I")).tobytes())
    budget = Budget(content)
    values, externals = _values(graph, named, budget)
    tensors = {number: _tensor(methods[0], number, externals.get(at)) for at, number in enumerate(arguments)}
    inputs, outputs = ([_passed(tensors, int(each)) for each in methods[0].numbers(slot, "<i4")] for slot in (3, 4))
    for tensor in tensors.values():
        if tensor.buffer:  # a constant that is not the graph's own, but passed to it
            constant = _buffer(program, segments, tensor, budget)
            values[tensor.value] = replace(values[tensor.value], data=constant)
    operations = [_operation(table) for table in _bounded(graph.tables(1))]
    _check_order(operations, values, inputs, outputs)
    return Model(
        values=values,
        operations=operations,
        inputs=inputs,
        outputs=outputs,
        metadata=_metadata(named[METADATA].tobytes()) if METADATA in named else {},
    )


def _at(segments: Sequence[NDArray[np.uint8]], number: int) -> NDArray[np.uint8]:
    if number >= len(segments):
        raise ValueError(f"it has {len(segments)} segments, and refers to number {number}")
    return segments[number]


def _segment(content: bytes, base: int, table: Table) -> NDArray[np.uint8]:
    offset, size = table.number(0, "Q"), table.number(1, "Q")
    if offset + size > len(content) - base:
        raise ValueError("a segment of it lies beyond its end")
    return np.frombuffer(content, np.uint8, size, base + offset)


def _delegate_call(method: Table) -> tuple[int, ...]:
    """Return the arguments of the method's only instruction, a call of its piece for the backend."""
    chains = method.tables(5)
    instructions = [each for chain in chains for each in chain.tables(2)]
    call = instructions[0].table(1) if len(instructions) == 1 and instructions[0].number(0, "B") == 2 else None
    if call is None:
        raise ValueError(f"it has {len(instructions)} instructions, where a matting network calls one piece")
    return tuple(map(int, call.numbers(1, "<i4")))


def _graph(content: bytes) -> Table:
    """Return the graph in a segment that begins with a header of XNNPACK's."""
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
        data = _array(number, dtype, shape, _named(number, named, constants[index]), budget) if index else None
        found[number] = Value(dtype=dtype, shape=shape, data=data)
        if place != NO_VALUE:
            passed[place] = number
    return found, passed


def _named(number: int, named: Mapping[str, NDArray[np.uint8]], constant: Table) -> NDArray[np.uint8]:
    name = constant.text(2)
    if name not in named:
        raise ValueError(f"its value {number} is a constant that it has not")
    return named[name]


def _array(number: int, dtype: str, shape: tuple[int, ...], content: NDArray[np.uint8], budget: Budget) -> NDArray[Any]:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if content.size != size:
        raise ValueError(f"its value {number} has {content.size} bytes, and its shape {size}")
    budget.take(size)
    data = content.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)
    if not np.isfinite(data).all():
        raise ValueError(f"its value {number} has numbers that are not finite")
    return data


def _tensor(method: Table, number: int, value: int | None) -> Tensor:
    """Return a tensor of a method. Its axes are NCHW in memory too."""
    evaluated = method.tables(2)
    tensor = evaluated[number].table(1) if 0 <= number < len(evaluated) else None
    if tensor is None or value is None or evaluated[number].number(0, "B") != 5:
        raise ValueError("its method passes what is no tensor, or what its graph has not")
    dtype, shape = SCALARS.get(tensor.number(0, "b")), tuple(map(int, tensor.numbers(2, "<i4")))
    if dtype is None or tuple(tensor.numbers(3, "u1")) != tuple(range(len(shape))):
        raise ValueError(f"its value {value} has a type or an order of axes that a matting network does not need")
    return Tensor(dtype=dtype, shape=shape, value=value, buffer=tensor.number(5, "I"))


def _passed(tensors: Mapping[int, Tensor], number: int) -> Tensor:
    if number not in tensors:
        raise ValueError("its method has an input or an output that it does not pass to its graph")
    return tensors[number]


def _buffer(program: Table, segments: Sequence[NDArray[np.uint8]], tensor: Tensor, budget: Budget) -> NDArray[Any]:
    constants = program.table(5)
    offsets = [] if constants is None else [*map(int, constants.numbers(1, "<u8"))]
    if constants is None or tensor.buffer >= len(offsets):
        raise ValueError(f"it has {len(offsets)} constants of methods, and refers to number {tensor.buffer}")
    begin = offsets[tensor.buffer]
    size = math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
    content = _at(segments, constants.number(0, "I"))[begin : begin + size]
    return _array(tensor.value, tensor.dtype, tensor.shape, content, budget)


def _check_order(
    operations: Sequence[Operation], values: Mapping[int, Value], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> None:
    """Raise ValueError unless each value is written once, before it is read."""
    written = {*(each.value for each in inputs), *(number for number, each in values.items() if each.data is not None)}
    for operation in operations:
        if not (written | {NO_VALUE}).issuperset(operation.inputs):
            raise ValueError(f"its {operation.kind} reads a value that is not there to be read")
        if operation.output in written or operation.output not in values:
            raise ValueError(f"its {operation.kind} writes a value that another has written, or that is none")
        written.add(operation.output)
    if not written.issuperset(each.value for each in outputs):
        raise ValueError("its method has an output that nothing writes")


def _metadata(content: bytes) -> dict[str, str]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ValueError(f"its named data {METADATA} is no JSON") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"its named data {METADATA} is not text by name")
    return found
