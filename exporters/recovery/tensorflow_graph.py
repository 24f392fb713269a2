"""Convert TensorFlow's operations, from a SavedModel or a TensorFlow.js model, to a `Dataflow`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from exporters.recovery.dataflow import (
    FUNCTIONS,
    SAME,
    UNPADDED_MEAN,
    Apply,
    Array,
    Dataflow,
    DataflowNode,
    Interval,
    Kernel,
    RecoveryError,
    in_order,
    is_mean,
    with_constants,
)

_CONVOLUTIONS = ("Conv2D", "_FusedConv2D")
_DEPTHWISE = ("DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_PADS = ("Pad", "PadV2", "MirrorPad")
_NO_DATA = {"Shape", "Size", "Rank", "Range", "Fill", "ZerosLike", "OnesLike", "Equal", "NotEqual", "Assert", "NoOp"}
_FIRST_ONLY = {
    *(*_PADS, "ResizeBilinear", "StridedSlice", "Slice", "BroadcastTo", "Mean", "Max", "Min", "Sum", "AvgPool"),
    *(
        "MaxPool",
        "GatherV2",
        "GatherNd",
        "Reshape",
        "Squeeze",
        "ExpandDims",
        "Switch",
        "Tile",
        "Transpose",
        "SplitV",
        "Cast",
    ),
    *("SpaceToBatchND", "BatchToSpaceND"),
}
"""Operations whose inputs after the first are sizes, positions and conditions."""

_ALIASES = ("Identity", "Switch", "Enter", "ReadVariableOp")

_FUNCTIONS: Mapping[str, Apply] = {
    "Add": np.add,
    "AddV2": np.add,
    "BiasAdd": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "RealDiv": np.divide,
    "Minimum": np.minimum,
    "Maximum": np.maximum,
    "Neg": np.negative,
    "Square": np.square,
    "Relu": FUNCTIONS["relu"],
    "Relu6": lambda x: np.clip(x, 0, 6),
    "Sigmoid": FUNCTIONS["sigmoid"],
    "Tanh": np.tanh,
    "ClipByValue": np.clip,
    "Identity": SAME,
    "Cast": SAME,
    # They move whole pixels, and a convolution between them is a dilated one.
    "SpaceToBatchND": SAME,
    "BatchToSpaceND": SAME,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """A node of a graph. `inputs` are values, `name` or `name:1`, no control inputs. `attributes` are plain Python."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]


def dataflow(
    operations: Iterable[Operation], constants: Mapping[str, Interval], roles: Mapping[str, str], outputs: Iterable[str]
) -> Dataflow:
    """Return the dataflow of a graph without functions.

    Args:
        operations: The operations, in any order.
        constants: Values of its constant nodes.
        roles: Maps input nodes to their roles in the network.
        outputs: The graph's output values.

    Raises:
        RecoveryError: a convolution's weights are not constant, or the graph has a cycle.
    """
    by_name = {operation.name: operation for operation in operations}
    found = _aliased(by_name, constants)
    outputs = frozenset(map(_value, outputs))
    ports: dict[str, set[str]] = {}
    for value in [*(name for each in by_name.values() for name in each.inputs), *outputs]:
        ports.setdefault(_node_of(value), set()).add(_value(value))
    builder = _Builder(by_name=by_name, constants=found, ports=ports)
    nodes = in_order(
        [
            node
            for each in by_name.values()
            if each.op != "Const" and each.name not in roles
            for node in builder.add(each)
        ]
    )
    return Dataflow(
        nodes=nodes,
        inputs=roles,
        outputs=outputs,
        constants=with_constants(nodes, found),
        quirks=frozenset(builder.quirks),
    )


def _aliased(by_name: Mapping[str, Operation], constants: Mapping[str, Interval]) -> dict[str, Interval]:
    """Return the constants, plus the nodes that only pass a constant on."""
    found = dict(constants)
    for operation in by_name.values():
        behind, passed = operation, [operation.name]
        while behind.op in _ALIASES and behind.inputs and len(passed) <= len(by_name):
            source = _node_of(behind.inputs[0])
            if source in found:
                for name in passed:
                    found |= {name: found[source], f"{name}:1": found[source]}
                break
            if source not in by_name:
                break
            behind = by_name[source]
            passed.append(source)
    return found


@dataclass(kw_only=True, eq=False)
class _Builder:
    by_name: Mapping[str, Operation]
    constants: Mapping[str, Interval]
    ports: Mapping[str, set[str]]

    def __post_init__(self) -> None:
        self.quirks: set[str] = set()

    def add(self, operation: Operation) -> list[DataflowNode]:
        """Return the operation's nodes: more than one if an activation is fused into it."""
        op, inputs = operation.op, tuple(map(_value, operation.inputs))
        outputs = tuple(sorted(self.ports.get(operation.name, {operation.name})))
        if op in (*_CONVOLUTIONS, *_DEPTHWISE):
            return self._convolution(operation, inputs)
        norm, apply = None, _FUNCTIONS.get(op)
        if op in _NORMS:
            norm = self._norm(operation)
            inputs = inputs[:1]
        elif op in _NO_DATA:
            inputs = ()
        elif op in _FIRST_ONLY:
            inputs = inputs[:1]
        elif op == "Split":
            inputs = inputs[1:]
        elif op == "ConcatV2":
            inputs = inputs[:-1]
        elif op in ("Select", "SelectV2"):
            inputs = inputs[1:]
        return [DataflowNode(name=operation.name, inputs=inputs, outputs=outputs, norm=norm, apply=apply)]

    def _convolution(self, operation: Operation, inputs: tuple[str, ...]) -> list[DataflowNode]:
        weight = self._constant(operation, 1, 4)
        depthwise = operation.op in _DEPTHWISE
        if depthwise:
            channels, multiple = weight.values.shape[2:]
            weight = weight.map(lambda x: x.transpose(2, 3, 0, 1).reshape(channels * multiple, 1, *x.shape[:2]))
        else:
            channels = 1
            weight = weight.map(lambda x: x.transpose(3, 2, 0, 1))
        fused = [*operation.attributes.get("fused_ops", [])]
        bias = None
        if fused[:1] == ["BiasAdd"]:
            bias = self._constant(operation, 2, 1)
            if bias.values.shape != weight.values.shape[:1]:
                raise RecoveryError(f"its convolution {operation.name[-80:]!r} has a bias of another length")
            fused = fused[1:]
        kernel = Kernel(
            weight=weight,
            bias=bias,
            stride=_pair(operation.attributes.get("strides")),
            dilation=self._dilation(operation),
            groups=channels if depthwise else 1,
        )
        before = self.by_name.get(_node_of(operation.inputs[0]))
        padded = operation.attributes.get("padding") != "VALID" or (before is not None and before.op in _PADS)
        if is_mean(kernel) and not padded:
            self.quirks.add(UNPADDED_MEAN)
        value, nodes = operation.name, []
        names = [f"{value} fused {each}" for each in fused] + [value]
        nodes.append(DataflowNode(name=value, inputs=inputs[:1], outputs=(names[0],), kernel=kernel))
        for each, (given, result) in zip(fused, pairwise(names), strict=True):
            nodes.append(DataflowNode(name=result, inputs=(given,), outputs=(result,), apply=_FUNCTIONS.get(each)))
        return nodes

    def _dilation(self, operation: Operation) -> tuple[int, ...]:
        before = self.by_name.get(_node_of(operation.inputs[0]))
        if before is not None and before.op == "SpaceToBatchND" and len(before.inputs) > 1:
            block = self.constants.get(_value(before.inputs[1]))
            return tuple(map(int, block.values.ravel())) if block is not None else (0, 0)
        return _pair(operation.attributes.get("dilations"))

    def _norm(self, operation: Operation) -> tuple[Array, Array]:
        gamma, beta, mean, variance = (self._constant(operation, k, 1).values for k in range(1, 5))
        if len({*map(len, (gamma, beta, mean, variance))}) != 1 or variance.min(initial=0) < 0:
            raise RecoveryError(f"its batch norm {operation.name[-80:]!r} has parameters that do not go together")
        scale = gamma / np.sqrt(variance + operation.attributes.get("epsilon", 1e-4))
        return scale, beta - mean * scale

    def _constant(self, operation: Operation, position: int, axes: int) -> Interval:
        name = operation.inputs[position] if position < len(operation.inputs) else ""
        interval = self.constants.get(_value(name))
        if interval is None or interval.values.ndim != axes or not interval.values.size:
            raise RecoveryError(f"its {operation.op} {operation.name[-80:]!r} has no constant weights of {axes} axes")
        return interval


def _node_of(value: str) -> str:
    return value.partition(":")[0]


def _value(name: str) -> str:
    """Return the name without its port if that is the first."""
    return name.removesuffix(":0")


def _pair(axes: Any) -> tuple[int, ...]:
    """Return rows and columns of an NHWC attribute."""
    return tuple(map(int, axes[1:3])) if axes and len(axes) == 4 else (1, 1)
