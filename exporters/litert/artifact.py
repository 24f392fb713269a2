"""Describe a LiteRT model by its flatbuffer. Nothing of it runs."""

import math
from pathlib import Path

from exporters.artifact import INPUTS, LINE, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.litert.load import Model, Operation, Tensor, read
from exporters.litert.operations import GPU_DELEGATE
from exporters.spec import LONGEST_SIDE, Fixed
from exporters.support.identify import identify
from rvm_model.state import REFINERS, internal_size, state_shapes

_MATTES = (OUTPUTS[:2], OUTPUTS[:1], OUTPUTS[1:2], LINE)
"""The outputs before the states that go together."""

_PRECISIONS = {"int8": "int8", "float16": "fp16", "float32": "fp32"}
"""Precisions by stored type, coarsest first: a file may keep some weights in a finer one."""

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def inspect(path: Path) -> Artifact:
    """Describe the model. See `exporters.runtime.Runtime`."""
    model = read(path)
    kernels = kernels_of(model)
    found = identify({_as_in_pytorch(kernel) for kernel in kernels})
    matte = next((each for each in _MATTES if {*model.outputs} == {*each, *OUTPUTS[2:]}), None)
    dtypes = {model.tensors[number].dtype for number in (*model.inputs.values(), *model.outputs.values())}
    if found is None or matte is None or {*model.inputs} != {*INPUTS[:5]} or dtypes != {"float32"}:
        raise ArtifactError(f"{path} is a LiteRT model, but not of a matting network as rvm-export writes it")
    variant, refiner = found
    try:
        fixed = _fixed(model, variant, matte)
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged, or no matting network: {error}") from error
    if fixed.ratio == 1 and matte != LINE and model.metadata.get("refiner") in REFINERS:
        refiner = model.metadata["refiner"]  # the graph has no refiner, so only the metadata knows the checkpoint's
    stored = {kernel.dtype for kernel in kernels}
    in_int8 = sum(model.tensors[each.inputs[0]].dtype == "int8" for each in model.operations if _is_convolution(each))
    operations = {operation.kind for operation in model.operations}
    return Artifact(
        path=path,
        format="litert",
        variant=variant,
        refiner=refiner,
        precision=next(precision for dtype, precision in _PRECISIONS.items() if dtype in stored),
        refine="always" if matte == LINE else "auto",
        fixed=fixed,
        inputs=tuple(_info(name, model.tensors[model.inputs[name]]) for name in INPUTS[:5]),
        outputs=tuple(_info(name, model.tensors[model.outputs[name]]) for name in (*matte, *OUTPUTS[2:])),
        metadata=model.metadata,
        facts={
            "operations": len(model.operations),
            "parameters": sum(math.prod(tensor.shape) for tensor in model.tensors if tensor.data is not None),
            "GPU delegate": "lists all operations" if operations <= GPU_DELEGATE else "does not list all operations",
            **({"convolutions in int8": in_int8} if in_int8 else {}),
            **({"runtime": f"TensorFlow Lite {model.oldest_runtime} or later"} if model.oldest_runtime else {}),
        },
    )


def kernels_of(model: Model) -> list[Tensor]:
    """Return the weights of the convolutions as they are stored, before a DEQUANTIZE."""
    stored = {each.outputs[0]: each.inputs[0] for each in model.operations if each.kind == "DEQUANTIZE"}
    numbers = (each.inputs[1] for each in model.operations if _is_convolution(each))
    tensors = (model.tensors[stored.get(number, number)] for number in numbers)
    return [tensor for tensor in tensors if tensor.data is not None and len(tensor.shape) == 4]


def _is_convolution(operation: Operation) -> bool:
    return operation.kind in CONVOLUTIONS and len(operation.inputs) > 1


def _as_in_pytorch(kernel: Tensor) -> tuple[int, ...]:
    """Convert (out, height, width, in) to (out, in, height, width). Depthwise kernels identify no network."""
    out, height, width, into = kernel.shape
    return out, into, height, width


def _info(name: str, tensor: Tensor) -> TensorInfo:
    return TensorInfo(name=name, dtype=tensor.dtype, shape=tensor.shape)


def _fixed(model: Model, variant: str, matte: tuple[str, ...]) -> Fixed:
    """Return the size. Only the metadata has the exact ratio; all shapes must agree. Raises ValueError."""
    numbers = {**model.inputs, **model.outputs}
    shapes = {name: model.tensors[number].shape for name, number in numbers.items()}
    metadata = model.metadata
    if "downsample_ratio" not in metadata:
        raise ValueError("it does not say in its metadata which downsample_ratio is baked in")
    ratio = float(metadata["downsample_ratio"])
    _, height, width, _ = small = shapes["src"]
    if matte == LINE:  # then src has the internal size
        width, height = map(int, metadata.get("resolution", "").split("x"))
    states = [(b, h, w, c) for b, c, h, w in state_shapes(variant, height, width, ratio)]
    if matte == LINE:
        small = (1, *internal_size(height, width, ratio), 3)
    images = {"src": 3, "fgr": 3, "pha": 1} | dict.fromkeys(LINE, 4)
    expected = {name: (1, *small[1:3], channels) for name, channels in images.items()}
    expected |= dict(zip(INPUTS[1:5], states, strict=True)) | dict(zip(OUTPUTS[2:], states, strict=True))
    wrong = [name for name, shape in shapes.items() if shape != expected[name]]
    if wrong or max(height, width) > LONGEST_SIDE:
        raise ValueError(f"it has shapes that do not go together: {', '.join(wrong) or 'src'}")
    return Fixed(width=width, height=height, ratio=ratio)
