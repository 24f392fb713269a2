"""Describe a CoreML file by its content: variant and precision from its weights, the ratio from its resize.

A package of several sizes gives one artifact for each function, the default function first.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from exporters.artifact import INPUTS, LINE, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.coreml.evaluator.features import feature
from exporters.coreml.evaluator.values import Constant, constant, tensor_type
from exporters.coreml.package import Stored, read_package
from exporters.spec import LONGEST_SIDE, Fixed
from exporters.support.identify import Shape, identify
from rvm_model.state import internal_size, state_shapes

STATES = ("r1", "r2", "r3", "r4")
"""The names of states that the model keeps."""

IMAGE = "8-bit image"
"""The dtype of an input or output that a consumer sees as an image."""

_KINDS = {"mlProgram": "ML program", "neuralNetwork": "neural network"}
_PRECISIONS = {"int8": 0, "fp16": 1, "fp32": 2}
"""Precisions by stored dtype, coarsest first: a file may keep some weights in a finer one."""


@dataclass(frozen=True, kw_only=True)
class _Weight:
    """The weight of a convolution, as in PyTorch: (out, in / groups, height, width)."""

    shape: Shape
    precision: str


def inspect(path: Path) -> Artifact:
    """Describe the file. See `exporters.runtime.Runtime`."""
    stored = read_package(path)
    functions = [*stored.model.description.functions] or [stored.model.description]
    named = {getattr(function, "name", ""): function for function in functions}
    default = stored.model.description.defaultFunctionName
    artifacts = {
        name: _artifact(stored, name, function, position) for position, (name, function) in enumerate(named.items())
    }
    first = artifacts.pop(default if default in named else next(iter(named)))
    if not artifacts:
        return first
    return replace(
        first, facts={**first.facts, "other functions": ", ".join(artifacts)}, others=tuple(artifacts.values())
    )


def _artifact(stored: Stored, function: str, description: Any, position: int) -> Artifact:
    path, kind = stored.path, stored.model.WhichOneof("Type")
    foreign = ArtifactError(
        f"{path} is a CoreML model, but not of a matting network as rvm-export and RVM v1.0.0 write it"
    )
    if kind not in _KINDS:
        raise foreign
    try:
        inputs, outputs, states = (
            {each.name: _tensor_info(each) for each in part}
            for part in (description.input, description.output, description.state)
        )
    except ArtifactError as error:
        raise ArtifactError(f"{path} is a CoreML model that cannot be described: {error}") from error
    gives_line = LINE[0] in outputs
    first = LINE if gives_line else OUTPUTS[:2]
    wanted = ({*INPUTS[:1]}, {*first}, {*STATES}) if states else ({*INPUTS[:5]}, {*first, *OUTPUTS[2:]}, set())
    twice = len(inputs) + len(outputs) + len(states) < sum(
        map(len, (description.input, description.output, description.state))
    )
    if twice or ({*inputs}, {*outputs}, {*states}) != wanted:
        raise foreign
    read_graph = _read_program if kind == "mlProgram" else _read_network
    weights, ratio, operations = read_graph(stored, function)
    found = identify({weight.shape for weight in weights})
    if found is None:
        raise foreign
    variant, refiner = found
    if gives_line:
        fixed = _full_size(path, inputs["src"], stored.metadata)
    else:
        fixed = _fixed(path, variant, inputs["src"], _exact(ratio, stored.metadata, position))
    internal = fixed.internal()
    after = state_shapes(variant, fixed.height, fixed.width, fixed.ratio)
    shapes: dict[str, tuple[int, ...]] = dict(zip(OUTPUTS[2:], after, strict=True))
    shapes |= {"fgr": (1, 3, fixed.height, fixed.width), "pha": (1, 1, fixed.height, fixed.width)}
    shapes |= dict.fromkeys(LINE, (1, 4, internal.height, internal.width))
    return Artifact(
        path=path,
        format="coreml",
        variant=variant,
        refiner=refiner,
        precision=min((weight.precision for weight in weights), key=_PRECISIONS.__getitem__),
        refine="always" if gives_line else "auto",
        fixed=fixed,
        inputs=tuple(inputs[name] for name in INPUTS if name in inputs),
        outputs=tuple(replace(outputs[name], shape=shapes[name]) for name in (*first, *OUTPUTS[2:]) if name in outputs),
        metadata=dict(sorted(stored.metadata.items())),
        facts={
            "kind": _KINDS[kind],
            "specification": stored.model.specificationVersion,
            **({"function": function} if function else {}),
            "states": "kept by the model" if states else "in and out",
            "operations": operations,
            "parameters": sum(math.prod(weight.shape) for weight in weights),
        },
    )


def _tensor_info(message: Any) -> TensorInfo:
    each = feature(message)
    return TensorInfo(name=each.name, dtype=IMAGE if each.is_image else each.dtype, shape=each.shape)


def _fixed(path: Path, variant: str, src: TensorInfo, ratio: float) -> Fixed:
    try:
        batch, channels, height, width = map(int, src.shape)
        state_shapes(variant, height, width, ratio)
        if (batch, channels) != (1, 3):
            raise ValueError(f"src has {batch} frames of {channels} channels")
    except ValueError as error:
        raise ArtifactError(f"{path} is a CoreML model, but no frame of a video fits it ({error})") from error
    return Fixed(width=width, height=height, ratio=ratio)


def _full_size(path: Path, src: TensorInfo, metadata: Mapping[str, str]) -> Fixed:
    """Return the size of the full frame for a file of coefficients. Only its metadata has it."""
    try:
        width, height = map(int, metadata.get("resolution", "").split("x"))
        fixed = Fixed(width=width, height=height, ratio=float(metadata.get("downsample_ratio", "")))
        h, w = internal_size(height, width, fixed.ratio)
    except ValueError as error:
        raise ArtifactError(
            f"{path} is of coefficients, and does not say in its metadata for which size and ratio ({error})"
        ) from error
    if src.shape != (1, 3, h, w) or max(height, width) > LONGEST_SIDE:
        raise ArtifactError(f"{path} has shapes that do not go together: src")
    return fixed


def _exact(ratio: float, metadata: Mapping[str, str], position: int) -> float:
    """Return the ratio in the metadata if it equals the file's float32 ratio, else the latter."""
    try:
        meant = float(metadata["downsample_ratio"].split(", ")[position])
    except (KeyError, IndexError, ValueError):
        meant = math.nan
    return meant if np.float32(meant) == np.float32(ratio) else float(str(np.float32(ratio)))


def _read_program(stored: Stored, name: str) -> tuple[list[_Weight], float, int]:
    """Return the weights of convolutions, the ratio, and the number of operations without constants."""
    program = stored.model.mlProgram
    function = program.functions.get(name or "main")
    block = function and function.block_specializations.get(function.opset)
    if not block:
        raise ArtifactError(f"{stored.path} lacks its function {name or 'main'}")
    made = {output.name: operation for operation in block.operations for output in operation.outputs}
    types = {output.name: output.type for operation in block.operations for output in operation.outputs}
    weights = []
    for operation in block.operations:
        given = _given(operation, "weight") if operation.type == "conv" else None
        if given in made:
            kind = tensor_type(types[given])
            floats = {"FLOAT16": "fp16", "FLOAT32": "fp32"}.get(kind.dtype, "int8")
            weights.append(_Weight(shape=kind.shape, precision=floats if made[given].type == "const" else "int8"))
    ratio = 1.0
    for operation in block.operations:
        if operation.type == "conv":
            break
        if operation.type == "upsample_bilinear":
            factor = made.get(_given(operation, "scale_factor_height"))
            if factor is None or factor.type != "const":
                raise ArtifactError(f"{stored.path} resizes by a factor that is no constant")
            ratio = _number(stored.path, constant(factor.attributes["val"], stored.weights))
    return weights, ratio, sum(not operation.type.startswith("const") for operation in block.operations)


def _number(path: Path, value: Constant) -> float:
    if isinstance(value, str) or value.numel() != 1:
        raise ArtifactError(f"{path} resizes by a factor that is no number")
    return float(value)


def _given(operation: Any, name: str) -> str:
    """Return the name of an operation's argument if it is one value, else an empty string."""
    arguments = [*operation.inputs[name].arguments] if name in operation.inputs else []
    return str(arguments[0].name) if len(arguments) == 1 else ""


def _read_network(stored: Stored, _: str) -> tuple[list[_Weight], float, int]:
    """Return the same as `_read_program` for a neural network."""
    layers = stored.model.neuralNetwork.layers
    return [*_convolutions(layers)], _first_resize(layers, stored.model.description), len(layers)


def _convolutions(layers: Any) -> Iterator[_Weight]:
    for layer in layers:
        if layer.WhichOneof("layer") == "convolution" and len(layer.convolution.kernelSize) == 2:
            convolution = layer.convolution
            stored = convolution.weights
            precision = "fp32" if stored.floatValue else "fp16" if stored.float16Value else "int8"
            shape = (convolution.outputChannels, convolution.kernelChannels, *convolution.kernelSize)
            yield _Weight(shape=shape, precision=precision)


def _first_resize(layers: Any, description: Any) -> float:
    """Return the ratio of the source's resize before the first convolution, written as a factor or as a height."""
    src = next(each for each in description.input if each.name == "src")
    for layer in layers:
        kind = layer.WhichOneof("layer")
        if kind == "convolution":
            break
        if kind == "upsample" and layer.upsample.fractionalScalingFactor:
            return float(layer.upsample.fractionalScalingFactor[0])
        if kind == "resizeBilinear" and layer.resizeBilinear.targetSize and src.type.imageType.height:
            return float(layer.resizeBilinear.targetSize[0] / src.type.imageType.height)
    return 1.0
