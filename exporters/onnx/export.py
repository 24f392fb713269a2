"""The lowered program as an ONNX file.

The names and types of inputs and outputs are those of the released files, mended in one place: every state's axes have
names of their own, since four states of different sizes cannot share one name for their heights.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from exporters.metadata import identity, release
from exporters.onnx import OnnxSpec
from exporters.onnx.fixed import FixedOnnxOps
from exporters.onnx.ops import Dtype, OnnxOps
from exporters.program import program
from exporters.spec import INPUTS, OUTPUTS
from exporters.weights import lowered_convs
from rvm_model import __version__
from rvm_model.checkpoint import Checkpoint
from rvm_model.state import state_shapes

Axes = Sequence[int | str]
_TYPES: dict[str, tuple[Dtype, int]] = {
    "fp32": (np.float32, TensorProto.FLOAT),
    "fp16": (np.float16, TensorProto.FLOAT16),
}


def export(checkpoint: Checkpoint, spec: OnnxSpec, path: Path) -> None:
    """Write the file. See `exporters.runtime.Exporter`."""
    dtype, element = _TYPES[spec.precision]
    src, *states, ratio = INPUTS
    r1, r2, r3, r4 = states
    fixed = spec.fixed
    ops = OnnxOps(dtype, spec) if fixed is None else FixedOnnxOps(dtype, spec, fixed, src)
    convs = lowered_convs(checkpoint.network())
    matte = program(
        ops,
        convs,
        src,
        (r1, r2, r3, r4),
        ratio if fixed is None else float(fixed.ratio),
        at_ratio_one="refine" if fixed is None else "skip",
    )
    ops.name_outputs(dict(zip(OUTPUTS, (matte.fgr, matte.pha, *matte.states), strict=True)))

    def tensor(name: str, axes: Axes) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, element, axes)

    batch, height, width = ("batch", "height", "width") if fixed is None else (fixed.batch, fixed.height, fixed.width)
    inputs = [tensor(src, (batch, 3, height, width)), *map(tensor, states, _state_axes(states, spec))]
    if fixed is None:
        inputs.append(helper.make_tensor_value_info(ratio, TensorProto.FLOAT, [1]))
    graph = helper.make_graph(
        ops.nodes,
        f"rvm_{spec.variant}",
        inputs=inputs,
        outputs=[
            tensor("fgr", (batch, 3, height, width)),
            tensor("pha", (batch, 1, height, width)),
            *map(tensor, OUTPUTS[2:], _state_axes(OUTPUTS[2:], spec)),
        ],
        initializer=list(ops.initializers.values()),
    )
    opsets = [helper.make_opsetid("", spec.opset)]
    model = helper.make_model(
        graph,
        ir_version=helper.find_min_ir_version_for(opsets),
        opset_imports=opsets,
        producer_name="rvm-export",
        producer_version=__version__,
    )
    size = {}
    if fixed is not None:
        size = {
            "batch": str(fixed.batch),
            "resolution": f"{fixed.width}x{fixed.height}",
            "downsample_ratio": repr(fixed.ratio),
        }
    metadata = identity(
        checkpoint,
        spec,
        **size,
        opset=str(spec.opset),
        onnx_version=release(onnx.__version__),
        graph_sha256=graph_sha256(model),
    )
    helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString(deterministic=True))


def graph_sha256(model: onnx.ModelProto) -> str:
    """Over everything but the metadata: tells a damaged file from one that is as it was written."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def _state_axes(names: Sequence[str], spec: OnnxSpec) -> list[Axes]:
    """Full-size shapes for a fixed size; else names, of each state's own."""
    fixed = spec.fixed
    if fixed is not None:
        return [*state_shapes(spec.variant, fixed.height, fixed.width, fixed.ratio, fixed.batch)]
    return [[f"{name}_{axis}" for axis in ("batch", "channels", "height", "width")] for name in names]
