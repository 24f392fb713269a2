"""Kernels that are stuffed with zeros, as our SavedModel has them, made dilated ones again.

TensorFlow on a CPU has no dilated depthwise convolution but by SpaceToBatch; TF.js has in all its backends. 81 taps in
place of 25 would be a third of MobileNetV3's time, and in ResNet50 a third of its size.
"""

from copy import deepcopy
from dataclasses import replace

from exporters.tfjs.graph import GraphModel, Json

_CONVOLUTIONS = {"Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"}
_NONE = {"list": {"i": ["1", "1", "1", "1"]}}
_TWO = {"list": {"i": ["1", "2", "2", "1"]}}


def dilated(model: GraphModel) -> GraphModel:
    """The same model, every convolution of stride 1 whose kernel has zeros in each second row and column mended."""
    weights = dict(model.weights)
    nodes = {node["name"]: node for node in model.nodes}
    mended = {}
    for node in model.nodes:
        if node["op"] in _CONVOLUTIONS and node["attr"]["strides"] == _NONE and _stuffed(model, node["input"][1]):
            mended[node["name"]] = node | {"attr": node["attr"] | {"dilations": _TWO}}
            mended[node["input"][1]] = _every_second(nodes[node["input"][1]])
    for name in mended.keys() & weights.keys():
        weights[name] = weights[name][::2, ::2]
    return replace(model, nodes=tuple((nodes | mended).values()), weights=weights)


def _stuffed(model: GraphModel, kernel: str) -> bool:
    values = model.weights[kernel]
    height, width = values.shape[:2]
    alone = sum(kernel in node.get("input", []) for node in model.nodes) == 1
    return alone and height >= 5 and width >= 5 and not (values[1::2].any() or values[:, 1::2].any())


def _every_second(constant: Json) -> Json:
    constant = deepcopy(constant)
    dim = constant["attr"]["value"]["tensor"]["tensorShape"]["dim"]
    for axis in dim[:2]:
        axis["size"] = str((int(axis["size"]) + 1) // 2)
    return constant
