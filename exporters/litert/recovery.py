"""Read a LiteRT model as a `Dataflow`."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np

from exporters.artifact import INPUTS, Artifact
from exporters.layers import ConvSteps, Step
from exporters.litert.artifact import CONVOLUTIONS
from exporters.litert.load import Model, Operation, Tensor, read
from exporters.litert.operations import ACTIVATIONS
from exporters.recovery.dataflow import (
    FUNCTIONS,
    SAME,
    Apply,
    Dataflow,
    DataflowNode,
    Interval,
    Kernel,
    RecoveryError,
    is_helper,
    with_constants,
)

_ROLES = dict(zip(INPUTS, ("src", "r1", "r2", "r3", "r4"), strict=False))
_ROUNDING = ("QUANTIZE", "DEQUANTIZE")
_FIRST_ONLY = {"RESIZE_BILINEAR", "STRIDED_SLICE", "PAD", "MEAN"}
"""Operations whose inputs after the first are sizes and positions."""

_FUNCTIONS: Mapping[str, Apply] = {
    "ADD": np.add,
    "SUB": np.subtract,
    "MUL": np.multiply,
    "DIV": np.divide,
    "MINIMUM": np.minimum,
    "RELU": FUNCTIONS["relu"],
    "HARD_SWISH": FUNCTIONS["hardswish"],
    "LOGISTIC": FUNCTIONS["sigmoid"],
    "TANH": np.tanh,
    **dict.fromkeys(_ROUNDING, SAME),  # between convolutions they only round activations
}
"""Functions of whole operations."""

_FUSED: Mapping[str, Apply] = {"relu": FUNCTIONS["relu"], "sixth": lambda x: x / 6 + 0.5}


def dataflow(artifact: Artifact) -> Dataflow:
    """Return the graph of a file. Raises ArtifactError if it is damaged, RecoveryError if it is unusable."""
    model = read(artifact.path)
    constants = {str(number): interval for number, interval in _constants(model).items()}
    clipped = {operation.inputs[0] for operation in model.operations if operation.kind == "MINIMUM"}
    nodes = tuple(node for operation in model.operations for node in _nodes(model, operation, constants, clipped))
    return Dataflow(
        nodes=nodes,
        inputs={str(model.inputs[name]): role for name, role in _ROLES.items()},
        outputs=frozenset(map(str, model.outputs.values())),
        constants=with_constants(nodes, constants),
    )


def activation_steps(artifact: Artifact) -> dict[str, ConvSteps]:
    """Return the rounding around each convolution in eight bits, by the name of its module."""
    model = read(artifact.path)
    steps = {}
    for operation in model.operations:
        given, result = (model.tensors[numbers[0]] for numbers in (operation.inputs, operation.outputs))
        if operation.kind in CONVOLUTIONS and given.dtype == "int8":
            name = model.tensors[operation.inputs[1]].name.split("/")[-2:][0]
            steps[name] = ConvSteps(given=_step(given), result=_step(result))
    return steps


def _step(tensor: Tensor) -> Step:
    """Return a rounding as of numbers in 0 to 255; LiteRT stores them in -128 to 127."""
    if tensor.dtype != "int8" or tensor.scale.size != 1 or tensor.zero.size != 1:
        raise RecoveryError(f"its {tensor.name[-80:]!r} has not one step and one zero in eight bits")
    return Step(scale=float(tensor.scale[0]), zero=int(tensor.zero[0]) + 128)


def _constants(model: Model) -> dict[int, Interval]:
    """Return the constants, and those behind a DEQUANTIZE."""
    found = {number: _interval(tensor) for number, tensor in enumerate(model.tensors) if tensor.data is not None}
    for operation in model.operations:
        if operation.kind == "DEQUANTIZE" and operation.inputs[0] in found:
            found[operation.outputs[0]] = found[operation.inputs[0]]
    return found


def _interval(tensor: Tensor) -> Interval:
    """Return a tensor's numbers as the runtime computes with them. Its steps are one, or one along its axis."""
    assert tensor.data is not None
    count = tensor.scale.size
    if not count:
        return Interval.of(tensor.data)
    fits = count == 1 or (0 <= tensor.axis < tensor.data.ndim and count == tensor.data.shape[tensor.axis])
    if not fits or tensor.zero.size != count:
        raise RecoveryError(f"its {tensor.name[-80:]!r} has steps that do not fit it")
    shape = [count if axis == tensor.axis and count > 1 else 1 for axis in range(tensor.data.ndim)]
    step, zero = (each.astype(np.float64).reshape(shape) for each in (tensor.scale, tensor.zero))
    values = (tensor.data.astype(np.float64) - zero) * step
    bits = 8 * tensor.data.dtype.itemsize
    half = np.broadcast_to(np.abs(step) / 2, values.shape)
    return Interval(values=values, half=half, stored=f"{bits} bits, per {'channel' if count > 1 else 'tensor'}")


def _nodes(
    model: Model, operation: Operation, constants: Mapping[str, Interval], clipped: Collection[int]
) -> Iterator[DataflowNode]:
    """Yield the node of an operation, and after it the function that the converter fused into it."""
    inputs, outputs = (tuple(map(str, numbers)) for numbers in (operation.inputs, operation.outputs))
    name = model.tensors[operation.outputs[0]].name
    kernel, apply = None, _FUNCTIONS.get(operation.kind)
    fused = ACTIVATIONS.get(operation.options.get("activation", 0))
    if fused is None:
        raise RecoveryError(f"its {operation.kind} {name[-80:]!r} has an activation that the network has not")
    if operation.kind in CONVOLUTIONS:
        kernel = _kernel(name, operation, constants)
        if is_helper(kernel):
            kernel = None
        elif operation.outputs[0] in clipped:
            kernel, fused = _before_sixth(kernel), "sixth"
        inputs = inputs[:1]
    elif operation.kind in _FIRST_ONLY:
        inputs = inputs[:1]
    if not fused:
        yield DataflowNode(name=name, inputs=inputs, outputs=outputs, kernel=kernel, apply=apply)
        return
    linear = (f"{outputs[0]}:linear",)
    yield DataflowNode(name=name, inputs=inputs, outputs=linear, kernel=kernel, apply=apply)
    yield DataflowNode(name=fused, inputs=linear, outputs=outputs, apply=_FUSED[fused])


def _before_sixth(kernel: Kernel) -> Kernel:
    """Return a kernel without the x / 6 + 1/2 of a HardSigmoid, which the converter folds into it."""
    if kernel.bias is None:
        raise RecoveryError("its HardSigmoid has no bias before it, where the converter puts its offset")
    six = Interval.exactly(np.array(6.0))
    half = Interval.exactly(np.array(-0.5))
    return replace(kernel, weight=kernel.weight.times(six), bias=kernel.bias.plus(half).times(six))


def _kernel(name: str, operation: Operation, constants: Mapping[str, Interval]) -> Kernel:
    weight, bias = (constants.get(str(number)) for number in (*operation.inputs, -1, -1)[1:3])
    if weight is None or weight.values.ndim != 4:
        raise RecoveryError(f"its {operation.kind} {name[-80:]!r} has no constant weights of 4 axes")
    depthwise = operation.kind == "DEPTHWISE_CONV_2D"
    weight = weight.map(lambda x: x.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2)))
    if bias is not None and bias.values.shape != weight.values.shape[:1]:
        raise RecoveryError(f"its {operation.kind} {name[-80:]!r} has a bias of another length")
    options = operation.options
    return Kernel(
        weight=weight,
        bias=bias if bias is not None and bias.values.any() else None,
        stride=(options["stride_h"], options["stride_w"]),
        dilation=(options.get("dilation_h", 1), options.get("dilation_w", 1)),
        groups=len(weight.values) if depthwise else 1,
    )
