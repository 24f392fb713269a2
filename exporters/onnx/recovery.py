"""Read an ONNX graph as a `Dataflow`, ours or another's."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from exporters.artifact import INPUTS, Artifact
from exporters.layers import ConvSteps, Step
from exporters.onnx.load import read_model
from exporters.recovery.dataflow import (
    FUNCTIONS,
    SAME,
    Apply,
    Array,
    Dataflow,
    DataflowNode,
    Interval,
    Kernel,
    RecoveryError,
    with_constants,
)

_ROLES = dict(zip(INPUTS, ("src", "r1", "r2", "r3", "r4"), strict=False))
_LEVELS = {TensorProto.UINT8: 255.0}
_NO_DATA = {"Shape", "Size", "ConstantOfShape", "Range"}
_BY_SIZE = {"Resize", "Slice", "Expand", "Reshape", "Pad", "Gather", "Upsample", "Squeeze", "Unsqueeze", "Split"}
"""Operators whose inputs after the first are sizes and positions."""

ROUNDING = ("QuantizeLinear", "DequantizeLinear")

_Attributes = Mapping[str, Any]

_FUNCTIONS: Mapping[str, Callable[[_Attributes], Apply]] = {
    "Relu": lambda _: FUNCTIONS["relu"],
    "Sigmoid": lambda _: FUNCTIONS["sigmoid"],
    "Tanh": lambda _: np.tanh,
    "HardSwish": lambda _: FUNCTIONS["hardswish"],
    "HardSigmoid": lambda given: lambda x: np.clip(given.get("alpha", 0.2) * x + given.get("beta", 0.5), 0, 1),
    "Clip": lambda given: lambda x, low=-np.inf, high=np.inf: np.clip(x, given.get("min", low), given.get("max", high)),
    "Add": lambda _: np.add,
    "Sub": lambda _: np.subtract,
    "Mul": lambda _: np.multiply,
    "Div": lambda _: np.divide,
    "Identity": lambda _: SAME,
    "Cast": lambda _: SAME,
    # Between convolutions they only round activations, which does not concern the weights.
    "QuantizeLinear": lambda _: SAME,
    "DequantizeLinear": lambda _: SAME,
}


def dataflow(artifact: Artifact) -> Dataflow:
    """Return the graph of a file.

    Raises ArtifactError if the file is damaged, RecoveryError if its convolutions are unusable.
    """
    graph = read_model(artifact.path).graph
    constants = dict(constant_intervals(graph))
    inputs = {value.name: value for value in graph.input if value.name in _ROLES}
    src = inputs.get(INPUTS[0])
    nodes = tuple(_node(node, constants) for node in graph.node if node.op_type != "Constant")
    return Dataflow(
        nodes=nodes,
        inputs={name: _ROLES[name] for name in inputs},
        outputs=frozenset(value.name for value in graph.output),
        constants=with_constants(nodes, constants),
        levels=_LEVELS.get(src.type.tensor_type.elem_type, 1.0) if src is not None else 1.0,
    )


def activation_steps(artifact: Artifact) -> dict[str, ConvSteps]:
    """Return the rounding around each convolution in eight bits, by the name of its weights' module.

    Empty for a file whose weights do not have the network's names.
    """
    graph = read_model(artifact.path).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    into = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    back = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    relu = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "Relu"}

    def step(node: NodeProto) -> Step:
        scale, zero = (constants[name] for name in node.input[1:3])
        return Step(scale=float(scale), zero=int(zero))

    steps = {}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[0] in back:
            value = node.output[0] if node.output[0] in into else relu[node.output[0]]
            name = node.input[1].removesuffix(".weight")
            steps[name] = ConvSteps(given=step(back[node.input[0]]), result=step(into[value]))
    return steps


def constant_intervals(graph: GraphProto) -> Iterator[tuple[str, Interval]]:
    """Yield constants by name; those stored in eight bits are dequantised.

    Raises RecoveryError for a damaged constant.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    arrays: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        try:
            arrays[name] = numpy_helper.to_array(tensor)
        except (ValueError, TypeError) as error:
            raise RecoveryError(f"its constant {name[-80:]!r} is damaged: {str(error)[:200]}") from error
        if arrays[name].dtype in (np.float16, np.float32, np.float64):
            yield name, Interval.of(arrays[name])
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and {*node.input[:2], *filter(None, node.input[2:])} <= arrays.keys():
            yield node.output[0], _dequantised(node, [arrays.get(name) for name in node.input])


def _dequantised(node: NodeProto, given: list[NDArray[Any] | None]) -> Interval:
    """Return a weight stored in eight bits: one step and zero for all, or one of each along an axis."""
    stored, step, zero = (*given, None)[:3]
    assert stored is not None
    assert step is not None
    axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
    steps, zeros = (np.asarray(0.0 if each is None else each, np.float64) for each in (step, zero))
    if steps.size > 1 and (not -stored.ndim <= axis < stored.ndim or steps.size != stored.shape[axis]):
        raise RecoveryError(
            f"its constant {node.output[0][-80:]!r} has {steps.size} steps for the shape {stored.shape}"
        )
    shape = [1] * stored.ndim
    if steps.size > 1:
        shape[axis] = -1
    steps = steps.reshape(shape)
    if zeros.size not in (1, steps.size):
        raise RecoveryError(f"its constant {node.output[0][-80:]!r} has {zeros.size} zeros for {steps.size} steps")
    # In float32, as in runtimes.
    values = (stored.astype(np.float64) - zeros.reshape(shape if zeros.size > 1 else [1] * stored.ndim)).astype("f4")
    values = (values * steps.astype("f4")).astype(np.float64)
    per = "channel" if steps.size > 1 else "tensor"
    half = np.broadcast_to(np.abs(steps) / 2, stored.shape).copy()
    return Interval(values=values, half=half, stored=f"{8 * stored.dtype.itemsize} bits, per {per}")


def _node(node: NodeProto, constants: Mapping[str, Interval]) -> DataflowNode:
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    names = tuple(node.input)
    kernel = norm = apply = None
    if node.op_type == "Conv":
        kernel = _kernel(node, attributes, constants)
        names = names[:1]
    elif node.op_type == "BatchNormalization":
        norm = _norm(node, attributes, constants)
        names = names[:1]
    elif node.op_type in _FUNCTIONS:
        apply = _FUNCTIONS[node.op_type](attributes)
        names = names[:1] if node.op_type in ROUNDING else names
    elif node.op_type in _NO_DATA:
        names = ()
    elif node.op_type in _BY_SIZE:
        names = names[:1]
    return DataflowNode(
        name=_title(node),
        inputs=tuple(name for name in names if name),
        outputs=tuple(name for name in node.output if name),
        kernel=kernel,
        norm=norm,
        apply=apply,
    )


def _kernel(node: NodeProto, attributes: _Attributes, constants: Mapping[str, Interval]) -> Kernel:
    weight, bias = constants.get(node.input[1]), None
    if len(node.input) > 2 and node.input[2]:
        bias = constants.get(node.input[2])
        if bias is None:
            weight = None
    if weight is None or weight.values.ndim != 4 or not weight.values.size:
        raise RecoveryError(f"its convolution {_title(node)[-80:]!r} has no constant weights of four axes")
    if bias is not None and bias.values.shape != weight.values.shape[:1]:
        raise RecoveryError(f"its convolution {_title(node)[-80:]!r} has a bias of another length")
    return Kernel(
        weight=weight,
        bias=bias,
        stride=tuple(attributes.get("strides", (1, 1))),
        dilation=tuple(attributes.get("dilations", (1, 1))),
        groups=attributes.get("group", 1),
    )


def _norm(node: NodeProto, attributes: _Attributes, constants: Mapping[str, Interval]) -> tuple[Array, Array] | None:
    given = [constants.get(name) for name in node.input[1:5]]
    if len(given) != 4 or any(each is None or each.values.ndim != 1 for each in given):
        raise RecoveryError(f"its batch norm {_title(node)[-80:]!r} has no constant parameters")
    gamma, beta, mean, variance = (each.values for each in given if each is not None)
    if len({*map(len, (gamma, beta, mean, variance))}) != 1 or variance.min(initial=0) < 0:
        raise RecoveryError(f"its batch norm {_title(node)[-80:]!r} has parameters that do not go together")
    scale = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    return scale, beta - mean * scale


def _title(node: NodeProto) -> str:
    return node.name or (node.output[0] if node.output else node.op_type)
