"""Run SavedModels in TensorFlow, in this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Set before the import, which would log the machine's properties. Without oneDNN all machines give the same numbers.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from exporters.artifact import INPUTS, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.runtime import Device, Frame, Matte, State, Step
from exporters.spec import Fixed
from exporters.support.archive import unpacked
from exporters.support.identify import identify
from exporters.support.own_metadata import read_metadata
from exporters.tensorflow import GRAPH, METADATA
from exporters.tensorflow.serving import SIGNATURE, first_line, open_serving, open_weights, read_graph
from rvm_model.device import DeviceError
from rvm_model.state import state_shapes

_FLOAT32 = tf.float32.as_datatype_enum


def inspect(path: Path) -> Artifact:
    """Describe the file. See `exporters.runtime.Runtime`."""
    with unpacked(path, GRAPH) as folder:
        graph = read_graph(path, folder)
        shapes = [tuple(shape) for shape in open_weights(path, folder).get_variable_to_shape_map().values()]
        metadata = read_metadata(path, folder, METADATA)
    signature = graph.signature_def.get(SIGNATURE)
    found = identify({(shape[3], shape[2], *shape[:2]) for shape in shapes if len(shape) == 4})
    if signature is None or found is None or not {*INPUTS[:5]} <= {*signature.inputs} <= {*INPUTS}:
        raise ArtifactError(f"{path} is a SavedModel, but not of a matting network as rvm-export writes it")
    if {*signature.outputs} != {*OUTPUTS}:
        raise ArtifactError(f"{path} gives {', '.join(sorted(signature.outputs))}; expected {', '.join(OUTPUTS)}")
    # Compared as numbers: a damaged file may have one that TensorFlow has no type for.
    if {info.dtype for port in (signature.inputs, signature.outputs) for info in port.values()} != {_FLOAT32}:
        raise ArtifactError(f"{path} has inputs or outputs that are not float32")
    inputs = tuple(_tensor_info(name, signature.inputs[name]) for name in INPUTS if name in signature.inputs)
    outputs = tuple(_tensor_info(name, signature.outputs[name]) for name in OUTPUTS)
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
        serve = open_serving(artifact.path, folder)
        ratio_input = {} if artifact.fixed else {INPUTS[5]: tf.constant(ratio, tf.float32)}
        no_state = (tf.constant(0.0),) * 4

        def step(frame: Frame, state: State) -> tuple[Matte, State]:
            states = dict(zip(INPUTS[1:5], state or no_state, strict=True))
            src = tf.constant(np.ascontiguousarray(frame.transpose(0, 2, 3, 1)))
            try:
                with tf.device(place):
                    outputs = serve({"src": src, **states, **ratio_input})
            except tf.errors.OpError as error:
                raise ArtifactError(f"{artifact.path} does not run: {first_line(error)}") from error
            matte = Matte(fgr=_nchw(outputs["fgr"]), pha=_nchw(outputs["pha"]))
            return matte, tuple(outputs[name] for name in OUTPUTS[2:])

        yield step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    return tuple(_nchw(tensor) for tensor in state)


def _nchw(tensor: tf.Tensor) -> NDArray[Any]:
    return np.ascontiguousarray(tensor.numpy().transpose(0, 3, 1, 2))


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
    return TensorInfo(name=name, dtype="float32", shape=axes)
