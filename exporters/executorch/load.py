"""Read an ExecuTorch program whole, without the runtime: its graph, its weights and its metadata, with all checks.

A file is a flatbuffer, a header behind the flatbuffer's identifier, and segments. One segment is the graph, see
`graph.py`. Each of the others is one constant, or our metadata, and has a name.
"""

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
from exporters.executorch.operations import SCALARS
from exporters.executorch.xnnpack import NO_VALUE, Operation, Value, array_of, parse_graph
from exporters.support.budget import Budget
from exporters.support.flatbuffer import Table, root
from exporters.support.own_metadata import is_unchanged, parse_metadata
from rvm_model.files import read_file

BACKEND = "XnnpackBackend"


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
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged, or no matting network: {error}") from error
    if not is_unchanged(content, model.metadata):
        raise ArtifactError(f"{path} has changed since rvm-export wrote it: damaged, or edited; export it again")
    return model


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
    if [each.text(0) for each in methods] != ["forward"]:
        raise ValueError(f"it has {len(methods)} methods, and a matting network has one, called forward")
    delegates, arguments = methods[0].tables(7), _delegate_call(methods[0])
    if len(delegates) != 1 or delegates[0].text(0) != BACKEND:
        raise ValueError(f"it is not one piece for {BACKEND}")
    data = delegates[0].table(1)
    if data is None or data.number(0, "b") != 1:
        raise ValueError("its graph is not in a segment")
    budget = Budget(content)
    graph = parse_graph(_at(segments, data.number(1, "I")).tobytes(), named, budget)
    values = dict(graph.values)
    tensors = {number: _tensor(methods[0], number, graph.passed.get(at)) for at, number in enumerate(arguments)}
    inputs, outputs = ([_passed(tensors, int(each)) for each in methods[0].numbers(slot, "<i4")] for slot in (3, 4))
    for tensor in tensors.values():
        if tensor.buffer:  # a constant that is not the graph's own, but passed to it
            constant = _buffer(program, segments, tensor, budget)
            values[tensor.value] = replace(values[tensor.value], data=constant)
    _check_order(graph.operations, values, inputs, outputs)
    return Model(
        values=values,
        operations=graph.operations,
        inputs=inputs,
        outputs=outputs,
        metadata=parse_metadata(named[METADATA].tobytes(), f"named data {METADATA}") if METADATA in named else {},
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
    return array_of(tensor.value, tensor.dtype, tensor.shape, content, budget)


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
