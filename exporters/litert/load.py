"""Read a LiteRT model whole, without the runtime: operations, tensors, signature and metadata, with all checks.

The runtime runs most files with flipped bits, and gives wrong mattes. So a file of ours holds a hash of itself.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import ArtifactError
from exporters.litert import METADATA
from exporters.litert.operations import DTYPES, KINDS
from exporters.support.flatbuffer import Table, root
from rvm_model.files import read_file

HASH = "content_sha256"
UNHASHED = "0" * 64
"""Stands in place of the hash while it is computed."""

_MOST_OPERATIONS = 5000
_LARGEST_SIDE = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Tensor:
    """A tensor. `data` is None unless it is constant. `scale` and `zero` are empty unless it is quantised."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: NDArray[Any] | None
    scale: NDArray[Any]
    zero: NDArray[Any]
    axis: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """An operation. Inputs and outputs are numbers of tensors; an input is -1 if it is left out."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model. `inputs` and `outputs` are those of its signature. `metadata` is empty if it has none."""

    tensors: Sequence[Tensor]
    operations: Sequence[Operation]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    metadata: Mapping[str, str]
    oldest_runtime: str


def read(path: Path) -> Model:
    """Return a model. Raises ArtifactError if it is damaged, changed, or has what a matting network does not need."""
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
        raise ArtifactError(
            f"{path} has changed since rvm-export wrote it: damaged, or edited; for an edited file remove {HASH} from "
            f"its metadata entry {METADATA}"
        )
    return model


def content_sha256(content: bytes, claimed: str) -> str:
    """Return the hash of a file's bytes, with zeros in the place of the hash that it claims."""
    return hashlib.sha256(content.replace(claimed.encode(errors="replace"), UNHASHED.encode(), 1)).hexdigest()


def parse(content: bytes) -> Model:
    """Return the model in a file's bytes. Raises ValueError for any fault."""
    model = root(content)
    buffers, subgraphs, signatures = model.tables(4), model.tables(2), model.tables(7)
    if len(subgraphs) != 1 or len(signatures) != 1:
        raise ValueError(f"it has {len(subgraphs)} graphs and {len(signatures)} signatures, not one of each")
    if model.has(8) or model.has(9):
        raise ValueError("it keeps data in other files")
    graph, signature = subgraphs[0], signatures[0]
    tensors = [_tensor(table, buffers) for table in graph.tables(0)]
    inputs, outputs = ({each.text(0): each.number(1, "I") for each in signature.tables(side)} for side in (0, 1))
    if not {*inputs.values(), *outputs.values()} <= {*range(len(tensors))}:
        raise ValueError("its signature names tensors that it has not")
    operations = _operations(graph.tables(3), [_kind(code) for code in model.tables(1)])
    _check_order(operations, tensors, inputs, outputs)
    entries = {entry.text(0): _data(entry.number(1, "I"), buffers).tobytes() for entry in model.tables(6)}
    return Model(
        tensors=tensors,
        operations=operations,
        inputs=inputs,
        outputs=outputs,
        metadata=_metadata(entries.get(METADATA, b"{}")),
        oldest_runtime=re.sub(r"[^0-9.]", "", entries.get("min_runtime_version", b"").decode(errors="replace")),
    )


def _kind(code: Table) -> int | str:
    """Return the number of a kind that a matting network needs, else the kind's name or number for the message."""
    number = max(code.number(0, "b"), code.number(3, "i"))
    return number if number in KINDS else code.text(1)[:60] or str(number)


def _operations(tables: Sequence[Table], kinds: Sequence[int | str]) -> list[Operation]:
    if not 0 < len(tables) <= _MOST_OPERATIONS:
        raise ValueError(f"it has {len(tables)} operations; at most {_MOST_OPERATIONS} are read")
    operations = []
    for table in tables:
        index = table.number(0, "I")
        number = kinds[index] if index < len(kinds) else f"{index} of {len(kinds)}"
        if isinstance(number, str):
            raise ValueError(f"it has the operation {number!r}, which a matting network does not need")
        kind, options = KINDS[number], table.table(4)
        operations.append(
            Operation(
                kind=kind.name,
                inputs=tuple(map(int, table.numbers(1, "<i4"))),
                outputs=tuple(map(int, table.numbers(2, "<i4"))),
                options={
                    name: default if options is None else options.number(slot, each, default)
                    for name, (slot, each, default) in kind.options.items()
                },
            )
        )
    return operations


def _tensor(table: Table, buffers: Sequence[Table]) -> Tensor:
    name, shape = table.text(3)[:200], tuple(map(int, table.numbers(0, "<i4")))
    dtype = DTYPES.get(table.number(1, "b"))
    if dtype is None or len(shape) > 4 or not all(0 < side <= _LARGEST_SIDE for side in shape):
        raise ValueError(f"its tensor {name!r} has a type or a shape that a matting network does not need")
    content = _data(table.number(2, "I"), buffers)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if content.size and content.size != size:
        raise ValueError(f"its tensor {name!r} has {content.size} bytes, and its shape {size}")
    data = content.view(np.dtype(dtype).newbyteorder("<")).reshape(shape) if content.size else None
    quantised = table.table(4)
    scale, zero = (np.zeros(0), np.zeros(0)) if quantised is None else (quantised.numbers(k, d) for k, d in _STEPS)
    if not all(np.isfinite(each).all() for each in (data, scale) if each is not None):
        raise ValueError(f"its tensor {name!r} has numbers that are not finite")
    return Tensor(
        name=name,
        dtype=dtype,
        shape=shape,
        data=data,
        scale=scale,
        zero=zero,
        axis=0 if quantised is None else quantised.number(6, "i"),
    )


_STEPS = ((2, "<f4"), (3, "<i8"))
"""The slots of scales and zeros, and their types."""


def _data(number: int, buffers: Sequence[Table]) -> NDArray[np.uint8]:
    if number >= len(buffers):
        raise ValueError(f"it has {len(buffers)} buffers, and refers to number {number}")
    if buffers[number].number(1, "Q") > 1:
        raise ValueError("it keeps data behind the flatbuffer, as files beyond 2 GB do")
    return buffers[number].numbers(0, "u1")  # type: ignore[return-value]


def _check_order(
    operations: Sequence[Operation], tensors: Sequence[Tensor], inputs: Mapping[str, int], outputs: Mapping[str, int]
) -> None:
    """Raise ValueError unless each tensor is written once, before it is read."""
    written = {*inputs.values(), *(number for number, tensor in enumerate(tensors) if tensor.data is not None), -1}
    for operation in operations:
        if not written.issuperset(operation.inputs):
            raise ValueError(f"its {operation.kind} reads a tensor that is not there to be read")
        for number in operation.outputs:
            if number in written or not 0 <= number < len(tensors):
                raise ValueError(f"its {operation.kind} writes a tensor that another has written, or that is none")
            written.add(number)
    if not written.issuperset(outputs.values()):
        raise ValueError("its signature has an output that nothing writes")


def _metadata(content: bytes) -> dict[str, str]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ValueError(f"its metadata entry {METADATA} is no JSON") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"its metadata entry {METADATA} is not text by name")
    return found
