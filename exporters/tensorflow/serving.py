"""The serving function of a SavedModel, rebuilt from its checked graph.

`tf.saved_model.load` runs whatever functions a file names to restore it, and they may write files. Here nothing of the
file runs but what its signature's outputs need, and each operation of that is in `allowed_ops.OPERATIONS`. TensorFlow's
checkpoint reader reads the weights.
"""

import itertools
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before the import, which otherwise logs the features of the machine. Without oneDNN all machines give equal numbers.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from exporters.artifact import ArtifactError
from exporters.support.enlarging import LARGEST_PADDING, refuse_large
from exporters.support.protobuf import parse
from exporters.support.tensorflow_sizes import PADDINGS, limits
from exporters.tensorflow import GRAPH
from exporters.tensorflow.allowed_ops import OPERATIONS, SAVING
from rvm_model.files import read_file

SIGNATURE = "serving_default"

_OBJECTS = {"user_object", "function", "bare_concrete_function", "variable", "constant"}
"""Kinds of objects that a SavedModel of a network consists of. Others are files, tables or captured tensors."""

_INTEGERS = {tf.int32.as_datatype_enum: "<i4", tf.int64.as_datatype_enum: "<i8"}
_SERIAL = itertools.count()
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclass(frozen=True, kw_only=True, eq=False)
class Serving:
    """The function, from tensors or arrays by input name to tensors by output name.

    `variables` are its weights, which live as long as this does. `placeholders` names its inputs in `function`'s graph.
    """

    function: Any
    placeholders: Mapping[str, str]
    variables: tuple[tf.Variable, ...]

    def __call__(self, inputs: Mapping[str, Any]) -> Mapping[str, tf.Tensor]:
        outputs: Mapping[str, tf.Tensor] = self.function(
            *(tf.convert_to_tensor(inputs[name]) for name in self.placeholders)
        )
        return outputs


def read_graph(path: Path, folder: Path) -> Any:
    """Return the only graph of a SavedModel. Raises ArtifactError unless its operations and objects are all allowed."""
    try:
        model = parse(saved_model_pb2.SavedModel, read_file(folder / GRAPH), path)
    except DecodeError as error:
        raise ArtifactError(f"{path} is truncated or damaged: its {GRAPH} is no SavedModel") from error
    if len(model.meta_graphs) != 1:
        raise ArtifactError(f"{path} holds {len(model.meta_graphs)} graphs; expected one")
    graph = model.meta_graphs[0]
    functions = _functions(graph)
    nodes = [*graph.graph_def.node, *(node for each in functions.values() for node in each.node_def)]
    for_frames = [node for name in _called_for_frames(graph, functions) for node in functions[name].node_def]
    unknown = {node.op for node in nodes} - OPERATIONS - SAVING - {*functions}
    unknown |= {node.op for node in (*graph.graph_def.node, *for_frames)} & SAVING
    if unknown:
        # A SavedModel is a program: some operations read and write files, or run code.
        shown = ", ".join(sorted(unknown)[:5])
        raise ArtifactError(f"{path} has operations that a matting network does not need: {shown}")
    for place in (graph.graph_def.node, *(each.node_def for each in functions.values())):
        _check_constants(path, place)
    kinds = {node.WhichOneof("kind") or "nothing" for node in graph.object_graph_def.nodes} - _OBJECTS
    if kinds:
        raise ArtifactError(f"{path} has objects that a matting network does not need: {', '.join(sorted(kinds))}")
    return graph


def open_serving(path: Path, folder: Path) -> Serving:
    """Rebuild the function behind `SIGNATURE`.

    Args:
        path: The file, for messages.
        folder: Holds the SavedModel: `path` itself, or what it unpacks to.

    Raises:
        ArtifactError: an operation that no network needs, damaged weights, or a graph that TensorFlow does not import.
    """
    graph = read_graph(path, folder)
    signature = graph.signature_def.get(SIGNATURE)
    if signature is None:
        raise ArtifactError(f"{path} has no signature {SIGNATURE!r}")
    inputs = {name: info.name for name, info in signature.inputs.items()}
    outputs = {name: info.name for name, info in signature.outputs.items()}
    try:
        nodes = _needed(graph, (*inputs.values(), *outputs.values()))
        variables = _variables(path, folder, [node for node in nodes if node.op == "VarHandleOp"])
        definition = graph_pb2.GraphDef(versions=graph.graph_def.versions)
        definition.node.extend(node for node in nodes if node.op != "VarHandleOp")
        functions = _functions(graph)
        definition.library.function.extend(functions[name] for name in sorted(_reached(nodes, functions)))
        _rename_functions(definition, f"_{next(_SERIAL)}")

        def build() -> None:
            handles = {}
            for name, variable in variables.items():
                variable.read_value()  # so that TensorFlow lists it as a variable of this graph
                handles[f"{name}:0"] = tf.compat.v1.get_default_graph().capture(variable.handle)
            tf.graph_util.import_graph_def(definition, input_map=handles, name="")

        whole = tf.compat.v1.wrap_function(build, [])
        element = whole.graph.get_tensor_by_name
        function = whole.prune(
            feeds=[element(name) for name in inputs.values()],
            fetches={name: element(tensor) for name, tensor in outputs.items()},
        )
    except ArtifactError:
        raise
    # TensorFlow raises nearly anything for a damaged file, IndexError and AssertionError too.
    except Exception as error:
        raise ArtifactError(f"{path} does not load in TensorFlow: {first_line(error)}") from error
    return Serving(function=function, placeholders=inputs, variables=tuple(variables.values()))


def open_weights(path: Path, folder: Path) -> Any:
    """Return TensorFlow's reader of the weights in a folder of `unpacked`.

    Raises ArtifactError if there are none, or if they claim to be more than the bytes that they are stored in.
    """
    try:
        reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    except (tf.errors.OpError, ValueError, IndexError) as error:
        raise ArtifactError(f"{path} has no weights that can be read: {first_line(error)}") from error
    claimed = sum(math.prod(shape) * dtypes[name].size for name, shape in shapes.items())
    stored = sum(file.stat().st_size for file in (folder / "variables").iterdir())
    if claimed > stored:
        raise ArtifactError(
            f"{path} is damaged: its weights would have {claimed} bytes, and their files have {stored} together"
        )
    return reader


def first_line(error: Exception) -> str:
    """Return the first line that says what is wrong, not where."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Graph execution error:", "Detected at node"))]
    return (told or [type(error).__name__])[0][:500]


def _functions(graph: Any) -> dict[str, Any]:
    return {each.signature.name: each for each in graph.graph_def.library.function}


def _check_constants(path: Path, nodes: Collection[Any]) -> None:
    """Raise ArtifactError for a constant of a graph or a function that would end this process, or take gigabytes."""
    limit = limits((node.op, node.input) for node in nodes)
    for node in nodes:
        if PADDINGS in node.attr:
            refuse_large(path, node.name, node.attr[PADDINGS].list.i, LARGEST_PADDING)
        if node.op != "Const":
            continue
        tensor = node.attr["value"].tensor
        if tensor.dtype != node.attr["dtype"].type:  # TensorFlow's optimiser ends the process over it
            raise ArtifactError(f"{path} is damaged: constant {node.name[-100:]!r} has not the type that it claims")
        if node.name in limit and tensor.dtype in _INTEGERS:
            refuse_large(path, node.name, _integers(tensor), limit[node.name])


def _integers(tensor: Any) -> list[int]:
    """Return the numbers of a constant, which are in a field of its own type or in its bytes."""
    dtype, content = np.dtype(_INTEGERS[tensor.dtype]), tensor.tensor_content
    whole = len(content) // dtype.itemsize * dtype.itemsize
    return [*tensor.int_val, *tensor.int64_val, *np.frombuffer(content[:whole], dtype).tolist()]


def _needed(graph: Any, tensors: Iterable[str]) -> list[Any]:
    """Return the nodes that tensors depend on, in the graph's order."""
    nodes = {node.name: node for node in graph.graph_def.node}
    found = _closure((_node(each) for each in tensors), lambda name: {_node(each) for each in nodes[name].input})
    return [node for node in graph.graph_def.node if node.name in found]


def _node(tensor: str) -> str:
    """Return the name of the node that a tensor, or a control input, belongs to."""
    return tensor.removeprefix("^").partition(":")[0]


def _rename_functions(definition: Any, suffix: str) -> None:
    """Append a suffix to the names of all functions, wherever they are named: a process has one function of a name."""
    names = {each.signature.name for each in definition.library.function}
    for function in definition.library.function:
        function.signature.name += suffix
    for node in (*definition.node, *(node for each in definition.library.function for node in each.node_def)):
        if node.op in names:
            node.op += suffix
        for value in node.attr.values():
            for called in (value.func, *value.list.func):
                if called.name in names:
                    called.name += suffix


def _variables(path: Path, folder: Path, nodes: Iterable[Any]) -> dict[str, tf.Variable]:
    """Return a variable for each handle, by the handle's name, with its value of the checkpoint."""
    reader = open_weights(path, folder)
    objects = parse(trackable_object_graph_pb2.TrackableObjectGraph, reader.get_tensor(_OBJECT_GRAPH), path)
    keys = {value.full_name: value.checkpoint_key for node in objects.nodes for value in node.attributes}
    return {
        node.name: tf.Variable(reader.get_tensor(keys[node.attr["shared_name"].s.decode()]), trainable=False)
        for node in nodes
    }


def _called_for_frames(graph: Any, functions: Mapping[str, Any]) -> set[str]:
    """Return the functions that a consumer can call, and those that they call: all but the restoring and saving."""
    saver = {graph.saver_def.save_tensor_name.partition(":")[0], graph.saver_def.restore_op_name}
    nodes = [node for node in graph.graph_def.node if node.name not in saver]
    named = {*graph.object_graph_def.concrete_functions}
    for each in graph.object_graph_def.nodes:
        named |= {*each.function.concrete_functions, each.bare_concrete_function.concrete_function_name}
    return _reached(nodes, functions, named)


def _reached(nodes: Iterable[Any], functions: Mapping[str, Any], named: Collection[str] = ()) -> set[str]:
    """Return the functions that nodes may run, those of `named`, and those that these may run."""
    first = {*named, *(name for node in nodes for name in _callees(node))} & {*functions}
    return _closure(
        first, lambda name: {each for node in functions[name].node_def for each in _callees(node)} & {*functions}
    )


def _callees(node: Any) -> set[str]:
    """Return the names of functions that a node may run."""
    values = node.attr.values()
    return {node.op, *(value.func.name for value in values), *(f.name for value in values for f in value.list.func)}


def _closure(first: Iterable[str], following: Callable[[str], set[str]]) -> set[str]:
    """Return the names that are reached from the first ones, themselves included."""
    waiting, found = [*first], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += following(name)
    return found
