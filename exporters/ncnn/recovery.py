"""Read an ncnn graph as a `Dataflow`. A Split only names a value again, so its outputs count as its input."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from exporters.artifact import Artifact
from exporters.ncnn import GRAPH
from exporters.ncnn.contract import CONTRACTS
from exporters.ncnn.layer import ACTIVATION, ACTIVATION_VALUES, FUSED, Layer
from exporters.ncnn.load import read
from exporters.recovery.dataflow import FUNCTIONS, Apply, Dataflow, DataflowNode, Interval, Kernel
from exporters.support.archive import unpacked

_ROLES = ("src", "r1", "r2", "r3", "r4", "src")
_BINARY = (np.add, np.subtract, np.multiply, np.divide)
_BY_SIZE = {"Interp", "Crop"}
"""Layers whose inputs after the first give only their size."""

_FUNCTIONS: Mapping[str, Callable[..., Apply]] = {
    "ReLU": lambda *_: FUNCTIONS["relu"],
    "Sigmoid": lambda *_: FUNCTIONS["sigmoid"],
    "TanH": lambda *_: np.tanh,
    "HardSigmoid": lambda factor, offset: lambda x: np.clip(factor * x + offset, 0, 1),
    "HardSwish": lambda factor, offset: lambda x: x * np.clip(factor * x + offset, 0, 1),
    "Clip": lambda low, high: lambda x: np.clip(x, low, high),
}
_BY_NUMBER = {number: kind for kind, number in FUSED.items()}


def dataflow(artifact: Artifact) -> Dataflow:
    """Return the graph of a model. Raises ArtifactError if it is damaged."""
    with unpacked(artifact.path, GRAPH) as folder:
        layers = read(artifact.path, folder).layers
    contract = CONTRACTS[str(artifact.facts.get("contract", ""))]
    names: dict[str, str] = {}
    nodes: list[DataflowNode] = []
    constants: dict[str, Interval] = {}
    for layer in _leading_to(contract.outputs, layers):
        inputs = tuple(names.get(name, name) for name in layer.inputs)
        if layer.type == "Split":
            names |= dict.fromkeys(layer.outputs, inputs[0])
        elif layer.type != "Input":
            if layer.type == "Bias" and layer.bias is not None:
                constants[f"{layer.name}.bias"] = Interval.of(layer.bias)
            nodes += _nodes(layer, inputs)
    return Dataflow(
        nodes=tuple(nodes),
        inputs=dict(zip(contract.inputs, _ROLES, strict=False)),
        outputs=frozenset(names.get(name, name) for name in contract.outputs),
        constants=constants,
    )


def _leading_to(outputs: Iterable[str], layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers that these outputs depend on, in order."""
    needed, kept = {*outputs}, []
    for layer in reversed(layers):
        if needed & {*layer.outputs}:
            needed |= {*layer.inputs}
            kept.append(layer)
    return kept[::-1]


def _nodes(layer: Layer, inputs: tuple[str, ...]) -> Iterator[DataflowNode]:
    """Yield the operation of a layer, and after it the activation that the layer applies."""
    outputs, params = layer.outputs, layer.params
    apply: Apply | None = None
    if layer.kernel is not None:
        kernel = None if _is_mean(layer) else _kernel(layer)
        activation = _BY_NUMBER.get(params.get(ACTIVATION, 0))
        if activation is None:
            yield DataflowNode(name=layer.name, inputs=inputs, outputs=outputs, kernel=kernel)
            return
        linear = (f"{layer.name}:linear",)
        yield DataflowNode(name=layer.name, inputs=inputs, outputs=linear, kernel=kernel)
        apply = _FUNCTIONS[activation](*params.get(ACTIVATION_VALUES, ()))
        yield DataflowNode(name=activation, inputs=linear, outputs=outputs, apply=apply)
        return
    if layer.type in _FUNCTIONS:
        apply = _FUNCTIONS[layer.type](*params.values())
    elif layer.type == "BinaryOp":
        apply = _BINARY[params.get(0, 0)]
    elif layer.type == "Bias":
        apply, inputs = np.add, (*inputs, f"{layer.name}.bias")
    elif layer.type in _BY_SIZE:
        inputs = inputs[:1]
    yield DataflowNode(name=layer.name, inputs=inputs, outputs=outputs, apply=apply)


def _is_mean(layer: Layer) -> bool:
    """Return True for the mean of three channels, which is a convolution here and none in the network."""
    kernel = layer.kernel
    assert kernel is not None
    return kernel.size == 3 and layer.bias is None and bool(np.allclose(kernel, 1 / 3, rtol=1e-3))


def _kernel(layer: Layer) -> Kernel:
    assert layer.kernel is not None
    params = layer.params
    out, columns = params[0], params[1]
    rows = params.get(11, columns)
    if layer.type == "InnerProduct":
        columns = rows = 1
    stride, dilation = ((params.get(key, 1),) * 2 for key in (3, 2))
    return Kernel(
        weight=Interval.of(layer.kernel.reshape(out, -1, rows, columns)),
        bias=None if layer.bias is None else Interval.of(layer.bias),
        stride=(1, 1) if layer.type == "InnerProduct" else stride,
        dilation=(1, 1) if layer.type == "InnerProduct" else dilation,
        groups=params.get(7, 1),
    )
