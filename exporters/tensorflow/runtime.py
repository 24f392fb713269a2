"""Run SavedModels in TensorFlow, in this process."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Set before the import, which would log the machine's properties. Without oneDNN all machines give the same numbers.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2

from exporters.artifact import INPUTS, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.runtime import Device, Frame, Matte, State, Step
from exporters.spec import Fixed
from exporters.support.archive import unpacked
from exporters.support.identify import identify
from exporters.tensorflow import GRAPH, METADATA
from exporters.tensorflow.allowed_ops import OPERATIONS, SAVING
from rvm_model.device import DeviceError
from rvm_model.state import state_shapes

_SIGNATURE = "serving_default"


def inspect(path: Path) -> Artifact:
    """Describe the file. See `exporters.runtime.Runtime`."""
    with unpacked(path, GRAPH) as folder:
        graph = read_graph(path, folder)
        shapes = _weight_shapes(path, folder)
        metadata = _read_metadata(path, folder)
    signature = graph.signature_def.get(_SIGNATURE)
    found = identify({(shape[3], shape[2], *shape[:2]) for shape in shapes if len(shape) == 4})
    if signature is None or found is None or not {*INPUTS[:5]} <= {*signature.inputs} <= {*INPUTS}:
        raise ArtifactError(f"{path} is a SavedModel, but not of a matting network as rvm-export writes it")
    if {*signature.outputs} != {*OUTPUTS}:
        raise ArtifactError(f"{path} gives {', '.join(sorted(signature.outputs))}; expected {', '.join(OUTPUTS)}")
    inputs = tuple(_tensor_info(name, signature.inputs[name]) for name in INPUTS if name in signature.inputs)
    outputs = tuple(_tensor_info(name, signature.outputs[name]) for name in OUTPUTS)
    if {tensor.dtype for tensor in (*inputs, *outputs)} != {"float32"}:
        raise ArtifactError(f"{path} has inputs or outputs that are not float32")
    variant, refiner = found
    return Artifact(
        path=path,
        format="tensorflow",
        variant=variant,
        refiner=refiner,
        precision="fp32",
        refine="auto",
        fixed=None if len(inputs) == len(INPUTS) else _fixed(path, variant, inputs[0], metadata),
        inputs=inputs,
        outputs=outputs,
        metadata=metadata,
        facts={
            "TensorFlow": graph.meta_info_def.tensorflow_version,
            "operations": sum(len(function.node_def) for function in graph.graph_def.library.function),
            "parameters": sum(int(np.prod(shape)) for shape in shapes),
        },
    )


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:
    """Yield the step function. See `exporters.runtime.Runtime`."""
    if device == "cuda":
        if not tf.config.list_physical_devices("GPU"):
            raise DeviceError(f"TensorFlow {tf.__version__} has no CUDA GPU here; use --device cpu")
        tf.config.experimental.enable_tensor_float_32_execution(False)
    place = "/GPU:0" if device == "cuda" else "/CPU:0"
    with unpacked(artifact.path, GRAPH) as folder, tf.device(place):
        try:
            # Keep the model in a variable: a signature does not keep its weights alive.
            model = tf.saved_model.load(str(folder))
        except (
            Exception
        ) as error:  # TensorFlow raises nearly any error for a damaged one, IndexError and AssertionError too
            raise ArtifactError(f"{artifact.path} does not load in TensorFlow: {_first_line(error)}") from error
        serve = model.signatures[_SIGNATURE]
        ratio_input = {} if artifact.fixed else {INPUTS[5]: tf.constant(ratio, tf.float32)}
        no_state = (tf.constant(0.0),) * 4

        def step(frame: Frame, state: State) -> tuple[Matte, State]:
            states = dict(zip(INPUTS[1:5], state or no_state, strict=True))
            src = tf.constant(np.ascontiguousarray(frame.transpose(0, 2, 3, 1)))
            try:
                with tf.device(place):
                    outputs = serve(src=src, **states, **ratio_input)
            except tf.errors.OpError as error:
                raise ArtifactError(f"{artifact.path} does not run: {_first_line(error)}") from error
            matte = Matte(fgr=_nchw(outputs["fgr"]), pha=_nchw(outputs["pha"]))
            return matte, tuple(outputs[name] for name in OUTPUTS[2:])

        yield step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    return tuple(_nchw(tensor) for tensor in state)


def _nchw(tensor: tf.Tensor) -> NDArray[Any]:
    return np.ascontiguousarray(tensor.numpy().transpose(0, 3, 1, 2))


def read_graph(path: Path, folder: Path) -> Any:
    """Return the only graph of a SavedModel. Raises ArtifactError unless all its operations are allowed."""
    try:
        model = saved_model_pb2.SavedModel.FromString((folder / GRAPH).read_bytes())
    except DecodeError as error:
        raise ArtifactError(f"{path} is truncated or damaged: its {GRAPH} is no SavedModel") from error
    if len(model.meta_graphs) != 1:
        raise ArtifactError(f"{path} holds {len(model.meta_graphs)} graphs; expected one")
    graph = model.meta_graphs[0]
    functions = {each.signature.name: each for each in graph.graph_def.library.function}
    nodes = [*graph.graph_def.node, *(node for each in functions.values() for node in each.node_def)]
    for_frames = [node for name in _called_for_frames(graph, functions) for node in functions[name].node_def]
    unknown = {node.op for node in nodes} - OPERATIONS - SAVING - {*functions}
    unknown |= {node.op for node in (*graph.graph_def.node, *for_frames)} & SAVING
    if unknown:
        # A SavedModel is a program: some operations read and write files, or run code.
        shown = ", ".join(sorted(unknown)[:5])
        raise ArtifactError(f"{path} has operations that a matting network does not need: {shown}")
    return graph


def _called_for_frames(graph: Any, functions: Mapping[str, Any]) -> set[str]:
    """Return the functions that a consumer can call, and their callees: all that neither restore nor save weights."""
    saver = {graph.saver_def.save_tensor_name.partition(":")[0], graph.saver_def.restore_op_name}
    nodes = [node for node in graph.graph_def.node if node.name not in saver]
    waiting = [*graph.object_graph_def.concrete_functions, *(name for node in nodes for name in _callees(node))]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in functions and name not in found:
            found.add(name)
            waiting += [callee for node in functions[name].node_def for callee in _callees(node)]
    return found


def _callees(node: Any) -> set[str]:
    """Return the names of functions that a node may run."""
    values = node.attr.values()
    return {node.op, *(value.func.name for value in values), *(f.name for value in values for f in value.list.func)}


def _weight_shapes(path: Path, folder: Path) -> list[tuple[int, ...]]:
    try:
        reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        return [tuple(shape) for shape in reader.get_variable_to_shape_map().values()]
    except (tf.errors.OpError, ValueError, IndexError) as error:
        raise ArtifactError(f"{path} has no weights that can be read: {_first_line(error)}") from error


def _read_metadata(path: Path, folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / METADATA).read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: its {METADATA} is no JSON") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ArtifactError(f"{path} is damaged: its {METADATA} is not text by name")
    return found


def _fixed(path: Path, variant: str, src: TensorInfo, metadata: dict[str, str]) -> Fixed:
    try:
        batch, height, width, _ = (int(axis) for axis in src.shape)
        fixed = Fixed(width=width, height=height, ratio=float(metadata.get("downsample_ratio", "")), batch=batch)
        state_shapes(variant, height, width, fixed.ratio)
    except ValueError as error:
        raise ArtifactError(
            f"{path} takes no downsample_ratio, and does not say in its metadata which one is baked in ({error})"
        ) from error
    return fixed


def _tensor_info(name: str, info: Any) -> TensorInfo:
    shape = info.tensor_shape
    axes = ("any rank",) if shape.unknown_rank else tuple(d.size if d.size >= 0 else "any" for d in shape.dim)
    return TensorInfo(name=name, dtype=tf.dtypes.as_dtype(info.dtype).name, shape=axes)


def _first_line(error: Exception) -> str:
    """Return the first line that names the error, not its place."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Graph execution error:", "Detected at node"))]
    return (told or [type(error).__name__])[0][:500]
