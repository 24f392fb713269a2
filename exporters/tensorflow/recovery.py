"""Read a SavedModel as a `Dataflow`: `runtime.py` checks its operations, then TensorFlow freezes its function."""

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from exporters.artifact import INPUTS, Artifact
from exporters.recovery.dataflow import Dataflow, Interval, RecoveryError
from exporters.recovery.tensorflow_graph import Operation
from exporters.recovery.tensorflow_graph import dataflow as tensorflow_dataflow
from exporters.support.archive import unpacked
from exporters.tensorflow import GRAPH
from exporters.tensorflow.serving import first_line, open_serving

_ROLES = dict(zip(INPUTS, ("src", "r1", "r2", "r3", "r4"), strict=False))


def dataflow(artifact: Artifact) -> Dataflow:
    """Return the graph of a file or folder. Raises ArtifactError if it is damaged, or cannot be recovered."""
    with unpacked(artifact.path, GRAPH) as folder:
        serve = open_serving(artifact.path, folder)
        try:
            frozen = convert_variables_to_constants_v2(serve.function, lower_control_flow=False)
        except Exception as error:  # TensorFlow raises nearly anything, see `serving.py`
            raise RecoveryError(f"TensorFlow does not freeze it: {first_line(error)}") from error
        graph = frozen.graph.as_graph_def()
        names = {name: tensor.partition(":")[0] for name, tensor in serve.placeholders.items()}
        outputs = [tensor.name for tensor in frozen.outputs]
    constants = {
        node.name: interval for node in graph.node if node.op == "Const" and (interval := _interval(node)) is not None
    }
    operations = [_operation(node) for node in graph.node]
    roles = {names[name]: role for name, role in _ROLES.items() if name in names}
    return tensorflow_dataflow(operations, constants, roles, outputs)


def _interval(node: Any) -> Interval | None:
    array = tf.make_ndarray(node.attr["value"].tensor)
    return Interval.of(array) if array.dtype.kind in "fi" else None


def _operation(node: Any) -> Operation:
    return Operation(
        name=node.name,
        op=node.op,
        inputs=tuple(name for name in node.input if not name.startswith("^")),
        attributes={key: _attribute(value) for key, value in node.attr.items()},
    )


def _attribute(value: Any) -> Any:
    """Return the attribute in plain Python, or None for a kind that nothing here needs."""
    kind = value.WhichOneof("value")
    if kind == "list":
        return [*value.list.i] or [each.decode(errors="replace") for each in value.list.s]
    if kind == "s":
        return value.s.decode(errors="replace")
    return getattr(value, kind) if kind in ("i", "f") else None
