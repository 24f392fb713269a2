"""Read an ONNX file as a message that is safe to pass on: whole, valid, and bounded by its own size.

Everything is read from the file itself. References to other files and unbounded work are refused here, before any
library trusts them. How much memory a graph needs shows only when it runs.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from onnx import GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, numpy_helper

from exporters.artifact import ArtifactError
from exporters.support.enlarging import LARGEST_PADDING, LARGEST_SIDE, refuse_large
from exporters.support.protobuf import parse
from rvm_model.errors import first_line
from rvm_model.files import read_file

_REPEATING = ("Loop", "Scan", "SequenceMap")
_ENLARGING = {
    "Pad": LARGEST_PADDING,
    **dict.fromkeys(("ConstantOfShape", "Expand", "Range", "Resize", "Tile", "Upsample"), LARGEST_SIDE),
}
"""Operations that enlarge an image, and the largest number in a constant that one of them may get."""

_INTEGERS = (TensorProto.INT32, TensorProto.INT64)
_BY_FACTORS = ("Resize", "Upsample")
_INTEGERS_OR_FACTORS = (*_INTEGERS, TensorProto.FLOAT)


def read_model(path: Path) -> ModelProto:
    """Return the file's message.

    Raises:
        ArtifactError: truncated, damaged or edited since it was written, not valid, or with external weights, loops,
            functions or sparse tensors, none of which a matting network has.
    """
    try:
        # Not `onnx.load`, which goes by the file's suffix and would read .json as text.
        model: ModelProto = parse(ModelProto, read_file(path), path)
        _refuse_unbounded(path, model)
        onnx.checker.check_model(model)
        _refuse_enlarging(path, model)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except DecodeError as error:
        raise ArtifactError(f"{path} is truncated or damaged: it is no ONNX file as it stands") from error
    except (onnx.checker.ValidationError, ValueError) as error:  # ValueError: no UTF-8
        raise ArtifactError(f"{path} is damaged or no valid ONNX file: {first_line(error)}") from error
    claimed = next((entry.value for entry in model.metadata_props if entry.key == "graph_sha256"), None)
    if claimed is not None and claimed != graph_sha256(model):
        raise ArtifactError(
            f"{path} has changed since rvm-export wrote it: damaged, or edited; for an edited file remove its metadata "
            "entry graph_sha256"
        )
    return model


def graph_sha256(model: onnx.ModelProto) -> str:
    """Return the hash of everything but the metadata. It detects a damaged file."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def _refuse_unbounded(path: Path, model: ModelProto) -> None:
    """Raise ArtifactError for forbidden parts anywhere in the message: in branches, in attributes, in unused parts."""
    if model.functions:
        # A function that calls another twice, which calls a third twice, expands to a graph of any size.
        raise ArtifactError(f"{path} has functions of its own; inline them with onnx.inliner.inline_local_functions")
    for message in messages(model):
        if isinstance(message, TensorProto) and (
            message.data_location == TensorProto.EXTERNAL or message.external_data
        ):
            raise ArtifactError(f"{path} keeps its weights in other files; give a file that holds them itself")
        if isinstance(message, TensorProto) and message.data_type not in TensorProto.DataType.values():
            raise ArtifactError(f"{path} is damaged: a tensor has element type {message.data_type}, which ONNX lacks")
        if isinstance(message, SparseTensorProto):
            raise ArtifactError(f"{path} has sparse tensors; give a file whose weights are dense")
        if isinstance(message, NodeProto) and message.op_type in _REPEATING:
            raise ArtifactError(f"{path} has a {message.op_type}, which may never end; a matting network has none")


def _refuse_enlarging(path: Path, model: ModelProto) -> None:
    """Raise ArtifactError for a padding or a size that no network has."""
    parts = [*messages(model.graph)]
    constants = {tensor.name: tensor for part in parts if isinstance(part, GraphProto) for tensor in part.initializer}
    nodes = [part for part in parts if isinstance(part, NodeProto)]
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name == "pads":
                refuse_large(path, node.name, attribute.ints, LARGEST_PADDING)
            for output in node.output[:1] if node.op_type == "Constant" else ():
                if attribute.name == "value":
                    constants[output] = attribute.t
                elif attribute.name == "value_ints":
                    constants[output] = numpy_helper.from_array(np.array(attribute.ints, np.int64))
    for node in nodes:
        for name in node.input if node.op_type in _ENLARGING else ():
            tensor = constants.get(name)
            if tensor and tensor.data_type in (_INTEGERS_OR_FACTORS if node.op_type in _BY_FACTORS else _INTEGERS):
                refuse_large(path, name, numpy_helper.to_array(tensor).ravel().tolist(), _ENLARGING[node.op_type])


def messages(message: Message) -> Iterator[Message]:
    """Yield a message and all messages in it. Protobuf reads at most 100 levels of nesting."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if isinstance(value, Message) else value:
                yield from messages(each)
