"""Read constants of ML programs from the specification or the weight file, and check them against their types."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters.artifact import ArtifactError
from exporters.coreml.blobs import Blob
from exporters.coreml.protobufs import protobuf_module

Constant = Tensor | str
"""A constant. Floats are float32, whatever their width in the file; integers and booleans keep their type."""

_WEIGHTS = "@model_path/"


@dataclass(frozen=True, kw_only=True)
class TensorType:
    """A value's dtype by CoreML's name, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def is_float(self) -> bool:
        return self.dtype.startswith("FLOAT")

    @property
    def values(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """The storage of a dtype: its bits, the numpy dtype of its bytes, and its field if that is not `bytes`."""

    bits: int
    dtype: type[np.generic]
    field: str = "bytes"


_STORED = {
    "FLOAT16": _Stored(bits=16, dtype=np.float16),
    "FLOAT32": _Stored(bits=32, dtype=np.float32, field="floats"),
    "INT32": _Stored(bits=32, dtype=np.int32, field="ints"),
    "INT16": _Stored(bits=16, dtype=np.int16, field="ints"),
    "UINT16": _Stored(bits=16, dtype=np.uint16, field="ints"),
    "UINT32": _Stored(bits=32, dtype=np.uint32),
    "INT8": _Stored(bits=8, dtype=np.int8),
    "UINT8": _Stored(bits=8, dtype=np.uint8),
    "INT4": _Stored(bits=4, dtype=np.int8),
    "UINT6": _Stored(bits=6, dtype=np.uint8),
    "UINT4": _Stored(bits=4, dtype=np.uint8),
    "UINT3": _Stored(bits=3, dtype=np.uint8),
    "UINT2": _Stored(bits=2, dtype=np.uint8),
    "UINT1": _Stored(bits=1, dtype=np.uint8),
    "BOOL": _Stored(bits=8, dtype=np.bool_, field="bools"),
}


def tensor_type(value_type: Any) -> TensorType:
    """Return the type in a `ValueType` message. Raises ArtifactError if it is no tensor of known lengths."""
    if value_type.WhichOneof("type") != "tensorType":
        raise ArtifactError(f"it has a value that is a {value_type.WhichOneof('type')}, and not a tensor")
    tensor = value_type.tensorType
    if any(axis.WhichOneof("dimension") != "constant" for axis in tensor.dimensions):
        raise ArtifactError("it has a tensor of flexible size; give a file for one size")
    shape = tuple(int(axis.constant.size) for axis in tensor.dimensions)
    if tensor.rank != len(shape):
        raise ArtifactError(f"it has a tensor of rank {tensor.rank} with {len(shape)} axes")
    known = protobuf_module("MIL").DataType
    dtype = known.Name(tensor.dataType) if tensor.dataType in known.values() else f"type {tensor.dataType}"
    return TensorType(dtype=dtype, shape=shape)


def constant(value: Any, weights: Mapping[str, Mapping[int, Blob]]) -> Constant:
    """Return the content of a `Value` message.

    Args:
        value: The message.
        weights: The package's weights, by file name and position.

    Raises:
        ArtifactError: the value does not match its type, or is not at its position.
    """
    kind = tensor_type(value.type)
    where = value.WhichOneof("value")
    if kind.dtype == "STRING" and where == "immediateValue":
        strings = value.immediateValue.tensor.strings.values
        if kind.shape or len(strings) != 1:
            raise ArtifactError(f"it has a string of shape {kind.shape}, with {len(strings)} values")
        return str(strings[0])
    if kind.dtype not in _STORED:
        raise ArtifactError(f"it has a constant of the unknown dtype {kind.dtype}")
    if where == "blobFileValue":
        return _widened(_from_blob(value.blobFileValue, kind, weights), kind)
    if where == "immediateValue" and value.immediateValue.WhichOneof("value") == "tensor":
        return _widened(_immediate(value.immediateValue.tensor, kind), kind)
    raise ArtifactError("it has a constant without a value")


def blob_file(value: Any) -> str | None:
    """Return the file that a `Value` message refers to, relative to the specification; None if it holds its content.

    A file outside of the package keeps its name as it is.
    """
    if value.WhichOneof("value") != "blobFileValue":
        return None
    return str(value.blobFileValue.fileName).removeprefix(_WEIGHTS)


def _from_blob(reference: Any, kind: TensorType, weights: Mapping[str, Mapping[int, Blob]]) -> NDArray[Any]:
    name = reference.fileName.removeprefix(_WEIGHTS)
    if name not in weights or not reference.fileName.startswith(_WEIGHTS):
        raise ArtifactError(f"it takes a constant from {reference.fileName[:100]!r}, which the package does not list")
    if reference.offset not in weights[name]:
        raise ArtifactError(f"it takes a constant from byte {reference.offset} of {name}, where none begins")
    blob = weights[name][reference.offset]
    if blob.dtype != kind.dtype:
        raise ArtifactError(
            f"it takes a constant of {kind.dtype} from byte {reference.offset} of {name}, where there is {blob.dtype}"
        )
    return _unpacked(blob.content, kind)


def _immediate(tensor: Any, kind: TensorType) -> NDArray[Any]:
    stored = _STORED[kind.dtype]
    if tensor.WhichOneof("value") != stored.field:
        raise ArtifactError(f"it has a constant of {kind.dtype} that is stored as {tensor.WhichOneof('value')}")
    values = getattr(tensor, stored.field).values
    if stored.field == "bytes":
        return _unpacked(memoryview(values), kind)
    if len(values) != kind.values:
        raise ArtifactError(f"it has a constant of shape {kind.shape} with {len(values)} values")
    try:
        return np.array(values, stored.dtype).reshape(kind.shape)
    except OverflowError as error:
        raise ArtifactError(f"it has a constant of {kind.dtype} whose values are beyond that") from error


def _unpacked(content: memoryview, kind: TensorType) -> NDArray[Any]:
    """Return the elements; those smaller than a byte are unpacked from the lowest bit of the first byte on."""
    stored = _STORED[kind.dtype]
    if len(content) != -(-kind.values * stored.bits // 8):
        raise ArtifactError(
            f"it has a constant of {kind.dtype} and shape {kind.shape} with {len(content)} bytes, which are not enough "
            "or too many"
        )
    if stored.bits >= 8:
        return np.frombuffer(content, stored.dtype).reshape(kind.shape)
    bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[: kind.values * stored.bits]
    place = (1 << np.arange(stored.bits)).astype(np.uint8)
    values: NDArray[Any] = (bits.reshape(-1, stored.bits) * place).sum(1, dtype=np.uint8)
    if stored.dtype is np.int8:
        values = (values.astype(np.int8) ^ (1 << stored.bits - 1)) - (1 << stored.bits - 1)  # its highest bit is a sign
    return values.reshape(kind.shape)


def _widened(array: NDArray[Any], kind: TensorType) -> Tensor:
    """Return a copy in the dtype that torch computes with. Nobody else writes to it."""
    wide = {"UINT16": np.int32, "UINT32": np.int64, "FLOAT16": np.float32}
    return torch.from_numpy(array.astype(wide.get(kind.dtype, array.dtype), copy=True))
