"""Read an IR as a `Dataflow`."""

from collections.abc import Iterator, Mapping

import numpy as np

from exporters.artifact import INPUTS, Artifact
from exporters.openvino import GRAPH, STATES
from exporters.openvino.artifact import inputs_of, outputs_of, variables_of
from exporters.openvino.load import Layer, constants_of, kernel_of, read
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
from exporters.support.archive import unpacked

_ROLES = dict(zip(INPUTS[:5], ("src", *STATES), strict=True))
_NO_NODES = {"Parameter", "Const", "Result", "ReadValue", "Assign"}
_BY_SIZE = {"Interpolate", "Slice", "Broadcast", "Reshape", "Pad", "Gather", "VariadicSplit", "ReduceMean"}
"""Layers whose inputs after the first are sizes and positions."""

_FUNCTIONS: Mapping[str, Apply] = {
    "ReLU": FUNCTIONS["relu"],
    "Sigmoid": FUNCTIONS["sigmoid"],
    "Tanh": np.tanh,
    "HSwish": FUNCTIONS["hardswish"],
    "HardSigmoid": lambda x, factor, offset: np.clip(factor * x + offset, 0, 1),
    "Add": np.add,
    "Subtract": np.subtract,
    "Multiply": np.multiply,
    "Divide": np.divide,
    "Convert": SAME,
}


def dataflow(artifact: Artifact) -> Dataflow:
    """Return the graph of a model. Raises ArtifactError if it is damaged, RecoveryError without constant weights."""
    with unpacked(artifact.path, GRAPH) as folder:
        layers = read(artifact.path, folder).layers
    numbers = constants_of(layers)
    constants = {value: Interval.of(each) for value, each in numbers.items() if each.dtype.kind == "f"}
    nodes = tuple(_nodes(layers, numbers))
    given = {layer.outputs[0]: _ROLES[name] for name, layer in inputs_of(layers).items() if name in _ROLES}
    inside = {value: name for name, value in variables_of(layers).items()}
    return Dataflow(
        nodes=nodes,
        inputs={**given, **inside},
        outputs=frozenset(outputs_of(layers).values()),
        constants=with_constants(nodes, constants),
        levels=255.0 if artifact.facts.get("contract") else 1.0,
    )


def _nodes(layers: tuple[Layer, ...], numbers: Mapping[str, Array]) -> Iterator[DataflowNode]:
    for layer in layers:
        inputs, kernel = layer.inputs, None
        apply: Apply | None = _FUNCTIONS.get(layer.type)
        if layer.type in _NO_NODES:
            continue
        if "Convolution" in layer.type:
            kernel, inputs = _kernel(layer, numbers), inputs[:1]
        elif layer.type == "Clamp":
            apply = _clamp(layer)
        elif layer.type == "ShapeOf":
            inputs = ()
        elif layer.type in _BY_SIZE:
            inputs = inputs[:1]
        yield DataflowNode(name=layer.name, inputs=inputs, outputs=layer.outputs, kernel=kernel, apply=apply)


def _clamp(layer: Layer) -> Apply:
    low, high = (float(layer.data.get(key, "nan")) for key in ("min", "max"))
    return lambda x: np.clip(x, low, high)


def _kernel(layer: Layer, numbers: Mapping[str, Array]) -> Kernel:
    """Return a convolution without its bias, which the next layer adds."""
    try:
        weight = kernel_of(layer, numbers)
        stride, dilation = (tuple(map(int, layer.data[key].split(","))) for key in ("strides", "dilations"))
    except (KeyError, ValueError) as error:
        raise RecoveryError(f"its convolution {layer.name[-80:]!r} is damaged ({error})") from error
    assert weight is not None
    groups = len(numbers[layer.inputs[1]]) if layer.type == "GroupConvolution" else 1
    return Kernel(weight=Interval.of(weight), stride=stride, dilation=dilation, groups=groups)
