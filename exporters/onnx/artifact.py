"""Describe an ONNX file by its content, whatever runtime runs it."""

import math
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from exporters.artifact import IMAGES, INPUTS, LINE, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.onnx.load import read_model
from exporters.spec import LONGEST_SIDE, Fixed
from exporters.support.identify import identify
from rvm_model.state import REFINERS, internal_size, state_shapes

_EDGES = {
    *((inputs, matte) for inputs in (INPUTS, INPUTS[:5]) for matte in (OUTPUTS[:2], OUTPUTS[:1], OUTPUTS[1:2])),
    (INPUTS[:5], LINE),
}
"""The inputs and the outputs before the states that go together."""

_PRECISIONS = {
    frozenset({TensorProto.FLOAT}): "fp32",
    frozenset({TensorProto.FLOAT16}): "fp16",
    # Some convolutions are in eight bits, some are not.
    frozenset({TensorProto.FLOAT, TensorProto.INT8}): "int8",
    frozenset({TensorProto.FLOAT, TensorProto.UINT8}): "int8",
}
"""Precisions by the element types of the convolutions' weights."""


def inspect(path: Path) -> Artifact:
    """Describe the file. See `exporters.runtime.Runtime`."""
    model = read_model(path)
    graph = model.graph
    found = identify({tuple(weight.dims) for weight in graph.initializer})
    inputs, outputs = tuple(map(_tensor_info, graph.input)), tuple(map(_tensor_info, graph.output))
    names = tuple(tensor.name for tensor in inputs), tuple(tensor.name for tensor in outputs)
    matte = names[1][: -len(OUTPUTS[2:])]
    if found is None or names[1] != (*matte, *OUTPUTS[2:]) or (names[0], matte) not in _EDGES:
        raise ArtifactError(
            f"{path} is an ONNX file, but not of a matting network as rvm-export and RVM v1.0.0 write it"
        )
    images = {tensor.dtype for tensor in (*inputs, *outputs) if tensor.name in IMAGES}
    others = {tensor.dtype for tensor in (*inputs, *outputs) if tensor.name not in IMAGES}
    elements = frozenset(weight.data_type for weight in graph.initializer if len(weight.dims) == 4)
    if (
        elements not in _PRECISIONS
        or images not in ({"float32"}, {"float16"}, {"uint8"})
        or not others <= {"float32", "float16"}
    ):
        raise ArtifactError(
            f"{path} has weights, inputs or outputs of an unknown kind; give float32 or float16, or uint8 images"
        )
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise ArtifactError(f"{path} does not say which version of ONNX's operators it uses")
    variant, refiner = found
    metadata = {_text(entry.key): _text(entry.value) for entry in model.metadata_props}
    any_size = len(inputs) == len(INPUTS) or (matte == LINE and isinstance(inputs[0].shape[-1], str))
    fixed = None if any_size else _fixed(path, variant, (*inputs, *outputs), metadata)
    refines = fixed is None or matte == LINE
    if fixed is not None and fixed.ratio == 1 and not refines and metadata.get("refiner") in REFINERS:
        refiner = metadata["refiner"]  # the graph has no refiner, so only the metadata knows the checkpoint's
    return Artifact(
        path=path,
        format="onnx",
        variant=variant,
        refiner=refiner,
        precision=_PRECISIONS[elements],
        refine="always" if refines else "auto",
        fixed=fixed,
        inputs=inputs,
        outputs=outputs,
        metadata=metadata,
        facts={
            "opset": opset,
            "IR version": model.ir_version,
            "nodes": len(graph.node),
            "parameters": sum(math.prod(weight.dims) for weight in graph.initializer),
        },
    )


def _fixed(path: Path, variant: str, tensors: tuple[TensorInfo, ...], metadata: dict[str, str]) -> Fixed:
    """Return the size of a file without a ratio input.

    Only its metadata holds the exact ratio. All shapes must agree.
    """
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    layout = "NHWC" if tensors[0].dtype == "uint8" else "NCHW"
    try:
        ratio = float(metadata.get("downsample_ratio", ""))
        src = {axis: int(length) for axis, length in zip(layout, shapes["src"], strict=True)}
        batch, height, width = src["N"], src["H"], src["W"]
        if LINE[0] in shapes:  # then src has the internal size
            width, height = map(int, metadata.get("resolution", "").split("x"))
            src["H"], src["W"] = internal_size(height, width, ratio)
        states = state_shapes(variant, height, width, ratio, batch)
    except ValueError as error:
        raise ArtifactError(
            f"{path} takes no downsample_ratio, and does not say in its metadata which one is baked in ({error})"
        ) from error
    images = {"src": 3, "fgr": 3, "pha": 1} | dict.fromkeys(LINE, 4)
    expected: dict[str, tuple[int, ...]] = {
        name: tuple((src | {"C": channels})[axis] for axis in layout) for name, channels in images.items()
    }
    expected |= dict(zip(INPUTS[1:5], states, strict=True)) | dict(zip(OUTPUTS[2:], states, strict=True))
    wrong = [name for name, shape in shapes.items() if shape != expected[name]]
    if wrong or min(batch, height, width) < 1 or max(height, width) > LONGEST_SIDE:
        raise ArtifactError(f"{path} has shapes that do not go together: {', '.join(wrong) or 'src'}")
    return Fixed(width=width, height=height, ratio=ratio, batch=batch)


def _tensor_info(value: onnx.ValueInfoProto) -> TensorInfo:
    tensor = value.type.tensor_type
    known = tensor.elem_type in TensorProto.DataType.values() and tensor.elem_type != TensorProto.UNDEFINED
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if known else f"type {tensor.elem_type}"
    return TensorInfo(
        name=value.name,
        dtype=dtype,
        shape=tuple(
            axis.dim_param or (axis.dim_value if axis.HasField("dim_value") else "any") for axis in tensor.shape.dim
        ),
    )


def _text(value: str | bytes) -> str:
    """Return a protobuf string as text: one that is no UTF-8 comes as bytes."""
    return value if isinstance(value, str) else value.decode(errors="replace")
