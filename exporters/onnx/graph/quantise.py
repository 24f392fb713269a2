"""Quantise a graph's costly convolutions to eight bits, with QuantizeLinear and DequantizeLinear around them (QDQ).

Weights are int8, symmetric, with a step for each output channel. Activations are uint8 with a step and a zero. Biases
are int32. All names stay: between two convolutions there is one more value each, in eight bits and back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from exporters.onnx.graph.calibrate import Ranges
from exporters.support.eight_bits import step_for

IN_EIGHT_BITS = ("decoder.decode3.", "decoder.decode2.", "decoder.decode1.")
"""The prefixes of the modules whose convolutions are quantised.

Measured with trained weights on the real clip, 16 to 24 frames at 1920x1080 and ratio .25, a banded file of that size,
one thread. Columns: speedup over plain opset-12 ONNX, mean error of alpha, and dtSSD against the clip's true alpha,
relative to fp32's.

    none            1.5            0
    these           1.8      2.3e-4    +1.6 %
    but no GRU      1.7      2.0e-4    +1.2 %
    and decode4     1.8      2.3e-4    +1.9 %     it is small, and its state drifts
    and decode0     1.8      2.5e-4    +2.6 %     converting a large image to bytes costs what it gains
    and encoder     1.9      5.4e-4    +4.4 %     no faster than these at 1280x720
    all of them              2.7e-2               (640x360 at .5) the refiner divides, in effect, by small variances
"""

WEIGHT_LEVELS = 63
"""The largest weight: seven bits of the eight.

Processors without VNNI add two products of 255 times a weight in 16 bits, which saturate beyond 32767. 2 * 255 * 63 is
32130, so a file computes the same on all processors. With eight bits, and decode4, the mean error above is 1.4e-4, and
dtSSD equals that of fp32.
"""


@dataclass(frozen=True, kw_only=True)
class _Step:
    """The rounding of values in eight bits: `scale * (stored - zero)`, stored in 0 to 255."""

    scale: np.float32
    zero: np.uint8


def boundaries(model: ModelProto) -> list[str]:
    """Return the values whose ranges are needed: inputs and outputs of the quantised convolutions."""
    given, results = _given_and_results(model.graph)
    return [*dict.fromkeys([*given, *results])]


def quantised(model: ModelProto, ranges: Ranges) -> ModelProto:
    """Return the graph in eight bits. `ranges` must have all its boundaries."""
    given, results = _given_and_results(model.graph)
    steps = {value: _step(*ranges[value]) for value in ranges}
    changed = ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    new: dict[str, NDArray[np.generic]] = {}
    nodes = list[NodeProto]()
    for value in (each.name for each in graph.input if each.name in steps):
        nodes += _around(value, steps[value], new)
    for node in graph.node:
        chosen = _is_chosen(node)
        if chosen:
            nodes += _parameters(node, constants, steps[node.input[0]].scale, new)
        node.input[:] = [_again(name) if name in results or (chosen and name in given) else name for name in node.input]
        nodes.append(node)
        for value in node.output:
            if value in steps:
                nodes += _around(value, steps[value], new)
    replaced = {name.removesuffix(".stored") for name in new}
    kept = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    kept += [numpy_helper.from_array(array, name) for name, array in new.items()]
    copied = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(copied)
    graph.initializer.extend(kept)
    return changed


def _is_chosen(node: NodeProto) -> bool:
    return node.op_type == "Conv" and node.input[1].startswith(IN_EIGHT_BITS)


def _given_and_results(graph: GraphProto) -> tuple[list[str], list[str]]:
    """Return inputs and outputs of the chosen convolutions.

    The output is that of the Relu if nothing else reads the convolution.
    """
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    chosen = [node for node in graph.node if _is_chosen(node)]
    results = []
    for conv in chosen:
        behind = readers.get(conv.output[0], [])
        results.append(behind[0].output[0] if [node.op_type for node in behind] == ["Relu"] else conv.output[0])
    return [conv.input[0] for conv in chosen], results


def _again(value: str) -> str:
    return f"{value}:dequantised"


def _around(value: str, step: _Step, new: dict[str, NDArray[np.generic]]) -> Iterator[NodeProto]:
    """Yield the nodes that convert a value to eight bits and back."""
    names = f"{value}:scale", f"{value}:zero"
    new |= zip(names, (np.array(step.scale), np.array(step.zero)), strict=True)
    stored = f"{value}:quantised"
    yield helper.make_node("QuantizeLinear", [value, *names], [stored], name=f"{value}/QuantizeLinear")
    yield helper.make_node("DequantizeLinear", [stored, *names], [_again(value)], name=f"{value}/DequantizeLinear")


def _parameters(
    conv: NodeProto,
    constants: Mapping[str, NDArray[np.float32]],
    given: np.float32,
    new: dict[str, NDArray[np.generic]],
) -> Iterator[NodeProto]:
    """Yield nodes for weights and bias under their old names. `given` is the step of the convolution's input."""
    weight_name, *bias_names = conv.input[1:]
    weight = constants[weight_name]
    scale = _channel_scales(weight)
    stored = np.rint(weight / scale[:, None, None, None]).astype(np.int8)
    yield _dequantised(weight_name, stored, scale, new)
    for name in bias_names:
        # The bias has the step of the summed products, because the sum begins with it.
        step = scale * given
        levels = np.rint(constants[name].astype(np.float64) / step)
        yield _dequantised(name, np.clip(levels, -(2**31), 2**31 - 1).astype(np.int32), step, new)


def _dequantised(
    name: str, stored: NDArray[np.generic], scale: NDArray[np.float32], new: dict[str, NDArray[np.generic]]
) -> NodeProto:
    zero = np.zeros(len(scale), stored.dtype)
    names = f"{name}.stored", f"{name}.scale", f"{name}.zero"
    new |= zip(names, (stored, scale, zero), strict=True)
    return helper.make_node("DequantizeLinear", names, [name], name=f"{name}/DequantizeLinear", axis=0)


def _channel_scales(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    scales = np.abs(weight).max((1, 2, 3)) / np.float32(WEIGHT_LEVELS)
    return np.where(scales > 0, scales, np.float32(1)).astype(np.float32)


def _step(least: float, greatest: float) -> _Step:
    step = step_for(least, greatest)
    return _Step(scale=np.float32(step.scale), zero=np.uint8(step.zero))
