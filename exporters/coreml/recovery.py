"""Read a CoreML model as a `Dataflow`: the default function of an ML program, or a neural network."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exporters.artifact import INPUTS, Artifact, ArtifactError
from exporters.coreml.evaluator import mil
from exporters.coreml.evaluator.bind import Bound
from exporters.coreml.evaluator.features import feature
from exporters.coreml.evaluator.graph import Instruction
from exporters.coreml.evaluator.mil_constants import CONSTANTS
from exporters.coreml.evaluator.nn_layers import LAYERS, weights
from exporters.coreml.evaluator.values import tensor_type
from exporters.coreml.package import Stored, read_package
from exporters.recovery.dataflow import (
    ALIGNED_CORNERS,
    SAME,
    Apply,
    Array,
    Dataflow,
    DataflowNode,
    Interval,
    Kernel,
    RecoveryError,
    in_order,
    with_constants,
)

_ROLES = dict(zip(INPUTS, ("src", "r1", "r2", "r3", "r4"), strict=False)) | {f"r{k}": f"r{k}" for k in range(1, 5)}
_WHITE = 255.0
_FUNCTIONS: Mapping[str, Apply] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "real_div": np.divide,
    "addBroadcastable": np.add,
    "subtractBroadcastable": np.subtract,
    "multiplyBroadcastable": np.multiply,
    "divideBroadcastable": np.divide,
    "cast": SAME,
    "identity": SAME,
    "read_state": SAME,
    "write_state": SAME,
}
_OF_NUMBERS = ("relu", "sigmoid", "sigmoid_hard", "tanh", "clip", "thresholded_relu", "activation")
_ALIGNED = ("ALIGN_CORNERS", "STRICT_ALIGN_CORNERS")


def dataflow(artifact: Artifact) -> Dataflow:
    """Return the graph of a file or package. Raises ArtifactError if it is damaged, or cannot be recovered."""
    stored = read_package(artifact.path)
    try:
        nodes, constants, quirk = (
            _program(stored) if stored.model.WhichOneof("Type") == "mlProgram" else _network(stored)
        )
    except RecoveryError:
        raise
    except ArtifactError as error:
        raise RecoveryError(str(error)) from error
    ordered = in_order(nodes)
    description = stored.model.description
    src = next((each for each in _default(description).input if each.name == INPUTS[0]), None)
    outputs = {each.name for each in _default(description).output}
    made = {name for node in ordered for name in node.outputs}
    # The new value of a state is an output too.
    outputs |= {name for name in made if " written " in name}
    return Dataflow(
        nodes=ordered,
        inputs={name: role for name, role in _ROLES.items() if name not in made},
        outputs=frozenset(outputs),
        constants=with_constants(ordered, constants),
        levels=_WHITE if src is not None and feature(src).is_image else 1.0,
        quirks=frozenset({ALIGNED_CORNERS} if quirk else ()),
    )


def _default(description: Any) -> Any:
    """Return the description of the package's default function."""
    named = {each.name: each for each in description.functions}
    return named.get(description.defaultFunctionName) or next(iter(named.values()), description)


def _program(stored: Stored) -> tuple[list[DataflowNode], dict[str, Interval], bool]:
    program = stored.model.mlProgram
    name = getattr(_default(stored.model.description), "name", "") or "main"
    function = mil.function(program, name, stored.weights)
    message = program.functions[name]
    block = message.block_specializations[message.opset]
    constants = _stored_as(block, function.graph.constants)
    nodes = [_step(step, constants) for step in function.graph.nodes]
    aligned = any(
        step.compute.constants.get("sampling_mode") in _ALIGNED or step.compute.constants.get("align_corners")
        for step in function.graph.nodes
        if isinstance(step.compute, Bound)
    )
    return nodes, constants, aligned


def _stored_as(block: Any, tensors: Mapping[str, Tensor]) -> dict[str, Interval]:
    """Return the constants of a program, with bounds of their rounding errors."""
    found = {name: Interval.exactly(tensor.double().numpy()) for name, tensor in tensors.items()}
    for operation in block.operations:
        for output in operation.outputs:
            if output.name not in found:
                continue
            values = found[output.name]
            dtype = tensor_type(output.type).dtype
            if operation.type == "const" and dtype in ("FLOAT16", "FLOAT32"):
                floats = values.values
                found[output.name] = Interval.of(
                    floats.astype(np.float16) if dtype == "FLOAT16" else floats.astype("f4")
                )
            elif operation.type in CONSTANTS:
                step = _step_of(operation, tensors, values.values.shape)
                found[output.name] = replace(values, half=step / 2, stored="8 bits, per channel")
    return found


def _step_of(operation: Any, tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> Array:
    """Return the step between a quantised weight's neighbouring values, or 0 for a palette, whose steps are unknown."""
    scale = next((tensors[name] for name in _arguments(operation, "scale") if name in tensors), None)
    if scale is None:
        return np.zeros(shape)
    array = np.abs(scale.double().numpy())
    if array.ndim == 1:
        array = array.reshape(-1, *[1] * (len(shape) - 1))  # one per output channel, the first axis
    return np.broadcast_to(array, shape).copy() if array.ndim in (0, len(shape)) else np.zeros(shape)


def _arguments(operation: Any, parameter: str) -> list[str]:
    """Return the names of a parameter's values, whether they are references or immediate values."""
    if parameter in operation.attributes:
        return [f"{operation.outputs[0].name} {parameter}"]
    return [each.name for each in operation.inputs[parameter].arguments] if parameter in operation.inputs else []


def _step(step: Instruction, constants: Mapping[str, Interval]) -> DataflowNode:
    name = step.outputs[0] if step.outputs else step.kind
    if step.kind == "conv" and isinstance(step.compute, Bound):
        given, slots = step.compute.constants, step.compute.slots
        weight, bias = (constants.get(slots[each][0]) if each in slots else None for each in ("weight", "bias"))
        if weight is None or weight.values.ndim != 4 or ("bias" in slots and bias is None):
            raise RecoveryError(f"its convolution {name[-80:]!r} has no constant weights of four axes")
        kernel = Kernel(
            weight=weight,
            bias=bias,
            stride=tuple(given.get("strides") or (1, 1)),
            dilation=tuple(given.get("dilations") or (1, 1)),
            groups=int(given.get("groups", 1)),
        )
        return DataflowNode(name=name, inputs=(slots["x"][0],), outputs=step.outputs, kernel=kernel)
    inputs = step.inputs
    if isinstance(step.compute, Bound) and {*step.compute.slots} == {"x", "y"}:
        inputs = tuple(step.compute.slots[each][0] for each in ("x", "y"))  # a file may write them in any order
    apply = _FUNCTIONS.get(step.kind) or (_number_by_number(step.compute) if step.kind in _OF_NUMBERS else None)
    return DataflowNode(name=name, inputs=inputs, outputs=step.outputs, apply=apply)


def _number_by_number(compute: Callable[..., Any]) -> Apply:
    def apply(*given: Array) -> Array:
        result: Array = compute(*(torch.from_numpy(np.array(each, np.float64)) for each in given)).numpy()
        return result

    return apply


def _network(stored: Stored) -> tuple[list[DataflowNode], dict[str, Interval], bool]:
    network = stored.model.neuralNetwork
    renamed: dict[str, str] = {}
    nodes: list[DataflowNode] = []
    for each in network.preprocessing:
        name = each.featureName or INPUTS[0]
        scaler = each.scaler
        biases = np.array([scaler.redBias, scaler.greenBias, scaler.blueBias], np.float64)
        renamed[name] = f"{name} scaled"
        nodes.append(
            DataflowNode(
                name="scaler", inputs=(name,), outputs=(renamed[name],), apply=_scaling(scaler.channelScale, biases)
            )
        )
    constants: dict[str, Interval] = {}
    for layer in network.layers:
        kind = layer.WhichOneof("layer") or "layer without a kind"
        inputs = tuple(renamed.get(name, name) for name in layer.input)
        if kind == "loadConstantND":
            constants |= dict.fromkeys(
                layer.output, _known(layer.loadConstantND.data, tuple(layer.loadConstantND.shape))
            )
        else:
            kernel = _kernel(layer) if kind == "convolution" else None
            apply = None if kernel else _function(layer, kind, len(inputs))
            nodes.append(
                DataflowNode(name=layer.name, inputs=inputs, outputs=tuple(layer.output), kernel=kernel, apply=apply)
            )
    return nodes, constants, any(map(_aligned, network.layers))


def _scaling(scale: float, biases: Array) -> Apply:
    return lambda x: x * scale + biases


def _function(layer: Any, kind: str, inputs: int) -> Apply | None:
    pairs = {"add": np.add, "multiply": np.multiply}
    if kind in pairs and inputs == 2:
        return pairs[kind]
    if kind in _FUNCTIONS and kind not in pairs:
        return _FUNCTIONS[kind]
    if kind in (*_OF_NUMBERS, *pairs) and inputs == 1:
        try:
            return _number_by_number(LAYERS[kind](getattr(layer, kind)))
        except (ValueError, TypeError):
            return None
    return None


def _kernel(layer: Any) -> Kernel:
    message = layer.convolution
    size = tuple(message.kernelSize) or (3, 3)
    shape = (message.outputChannels, message.kernelChannels, *size)
    if message.isDeconvolution or len(shape) != 4:
        raise RecoveryError(f"its convolution {layer.name[-80:]!r} is none of images, or a deconvolution")
    return Kernel(
        weight=_known(message.weights, shape),
        bias=_known(message.bias, shape[:1]) if message.hasBias else None,
        stride=tuple(message.stride) or (1, 1),
        dilation=tuple(message.dilationFactor) or (1, 1),
        groups=message.nGroups or 1,
    )


def _known(message: Any, shape: tuple[int, ...]) -> Interval:
    try:
        values = weights(message, shape).numpy()
    except (ValueError, TypeError, RuntimeError) as error:
        raise RecoveryError(f"it has weights that make no sense: {str(error)[:200]}") from error
    if len(message.float16Value):
        return Interval.of(values.astype(np.float16))
    if not len(message.rawValue):
        return Interval.of(values)
    scales = np.abs(np.array([*message.quantization.linearQuantization.scale] or [1.0], np.float64))
    half = np.broadcast_to(scales.reshape(-1, *[1] * (len(shape) - 1)) / 2, shape).copy()
    per = "channel" if len(scales) > 1 else "tensor"
    return Interval(values=values.astype(np.float64), half=half, stored=f"8 bits, per {per}")


def _aligned(layer: Any) -> bool:
    kind = layer.WhichOneof("layer")
    if kind == "resizeBilinear":
        return bool(layer.resizeBilinear.mode.samplingMethod in (0, 1))
    return bool(kind == "upsample" and layer.upsample.linearUpsampleMode == 1)
