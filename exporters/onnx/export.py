"""Export the lowered program as an ONNX file.

Inputs and outputs have the names and types of the released files, with one correction: every state's axes have their
own names, since four states of different sizes cannot share one name for their heights.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from exporters.artifact import IMAGES, INPUTS, LINE, OUTPUTS
from exporters.lowering.folding import divided_convs
from exporters.lowering.program import line_program, program
from exporters.onnx import OnnxSpec
from exporters.onnx.graph.banded import BandedOnnxOps
from exporters.onnx.graph.calibrate import value_ranges
from exporters.onnx.graph.fixed import FixedOnnxOps
from exporters.onnx.graph.ops import Dtype, OnnxOps
from exporters.onnx.graph.quantise import boundaries, quantised
from exporters.onnx.graph.simplify import simplified
from exporters.onnx.load import graph_sha256
from exporters.support.calibration import BUILTIN, load_calibration
from exporters.support.metadata import BY_THE_CALLER, identity, release
from rvm_model import __version__
from rvm_model.state import STATE_CHANNELS, internal_size, state_shapes
from rvm_model.weights.checkpoint import Checkpoint

Axes = Sequence[int | str]
_TYPES: dict[str, tuple[Dtype, int]] = {
    "fp32": (np.float32, TensorProto.FLOAT),
    "fp16": (np.float16, TensorProto.FLOAT16),
    "int8": (np.float32, TensorProto.FLOAT),  # until it is quantised
}


def export(checkpoint: Checkpoint, spec: OnnxSpec, path: Path, *, cut: bool = True) -> None:
    """Write the file. See `exporters.runtime.Exporter`.

    Without `cut`, full-size images of a banded file stay whole. That is faster in OpenVINO, and takes more memory in
    onnxruntime.
    """
    dtype, element = _TYPES[spec.precision]
    io_element = TensorProto.FLOAT if spec.io_dtype == "fp32" else element
    image_element = TensorProto.UINT8 if spec.image_bytes else io_element
    fixed = spec.fixed
    src, *states, ratio = INPUTS
    if fixed is None:
        ops = BandedOnnxOps(dtype, spec) if spec.banded else OnnxOps(dtype, spec)
    else:
        ops = FixedOnnxOps(dtype, spec, fixed.internal() if spec.gives_line else fixed, src, cut=cut)

    def cast(value: str, to: int) -> str:
        return value if io_element == element else ops.cast(value, to)

    with ops.scope("input"):
        image = ops.image_from_bytes(src, spec.bgr) if spec.image_bytes else cast(src, element)
        r1, r2, r3, r4 = (cast(state, element) for state in states)
    convs, before = divided_convs(checkpoint.network()), (r1, r2, r3, r4)
    if spec.gives_line:
        line = line_program(ops, convs, image, before)
        outputs = dict(zip((*LINE, *OUTPUTS[2:]), (line.A, line.b, *line.states), strict=True))
    else:
        matte = program(
            ops,
            convs,
            image,
            before,
            ratio if fixed is None else float(fixed.ratio),
            at_ratio_one="refine" if fixed is None else "skip",
        )
        outputs = dict(zip(OUTPUTS, (matte.fgr, matte.pha, *matte.states), strict=True))
    with ops.scope("output"):
        for name, value in outputs.items():
            if name in IMAGES and spec.image_bytes:
                outputs[name] = ops.image_to_bytes(value, spec.bgr and name == "fgr")
            else:
                outputs[name] = cast(value, io_element)
    wanted = {name: value for name, value in outputs.items() if name in spec.outputs.split(",") or name not in IMAGES}
    ops.finish(wanted)

    shapes = _shapes(spec)

    def tensor(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, image_element if name in IMAGES else io_element, shapes[name])

    inputs = [tensor(name) for name in (src, *states)]
    if fixed is None and not spec.gives_line:
        inputs.append(helper.make_tensor_value_info(ratio, TensorProto.FLOAT, [1]))
    graph = helper.make_graph(
        ops.nodes,
        f"rvm_{spec.variant}",
        inputs=inputs,
        outputs=[tensor(name) for name in wanted],
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
    more = {}
    if spec.simplify:
        model = simplified(model)
        more = {"onnxsim_version": version("onnxsim")}
    if spec.precision == "int8":
        calibration = load_calibration(BUILTIN if spec.calibration is None else spec.calibration, fixed)
        frames = calibration.fitted(fixed)
        model = quantised(model, value_ranges(model, boundaries(model), frames, spec))
        more |= {**calibration.metadata(), "onnxruntime_version": release(version("onnxruntime"))}
    if spec.image_bytes:
        order = "BGR" if spec.bgr else "RGB"
        more |= {
            "channel_order": order,
            "layout": f"src, fgr and pha NHWC uint8, {order}; states NCHW",
            "value_range": "src, fgr, pha: levels and opacity, 0 to 255, fgr not premultiplied",
        }
    if fixed is not None:
        more |= fixed.metadata()
    elif spec.gives_line:
        more["downsample_ratio"] = BY_THE_CALLER
    metadata = identity(
        checkpoint,
        spec,
        **more,
        opset=str(spec.opset),
        onnx_version=release(onnx.__version__),
        graph_sha256=graph_sha256(model),
    )
    helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _shapes(spec: OnnxSpec) -> dict[str, Axes]:
    """Return the shapes of all images and states: numbers for a fixed size, else names, which no two states share."""
    states = (*INPUTS[1:5], *OUTPUTS[2:])
    fixed = spec.fixed
    if fixed is None:
        image: tuple[int | str, ...] = ("batch", "height", "width")
        # Only outputs declare their channels as numbers: onnxruntime refuses an input that differs from a declared
        # number, and the states of the first frame are (1, 1, 1, 1).
        channels_of = dict(zip(OUTPUTS[2:], STATE_CHANNELS[spec.variant], strict=True))
        axes: list[Axes] = [
            [f"{name}_batch", channels_of.get(name, f"{name}_channels"), f"{name}_height", f"{name}_width"]
            for name in states
        ]
    else:
        image = (fixed.batch, fixed.height, fixed.width)
        axes = [*state_shapes(spec.variant, fixed.height, fixed.width, fixed.ratio, fixed.batch)] * 2
    batch, height, width = image
    if fixed is not None and spec.gives_line:
        height, width = internal_size(fixed.height, fixed.width, fixed.ratio)

    def images(channels: int) -> Axes:
        return (batch, height, width, channels) if spec.image_bytes else (batch, channels, height, width)

    shapes = {"src": images(3), "fgr": images(3), "pha": images(1)} | dict.fromkeys(LINE, images(4))
    return {**shapes, **dict(zip(states, axes, strict=True))}
