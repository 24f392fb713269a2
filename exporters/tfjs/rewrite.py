"""Rewrite TensorFlow's graph for TF.js, without changing its results.

Some rewrites are for its WebGPU backend. That backend computes small tensors on the CPU until an operation moves them
to the GPU, and cannot read back from there what an operation must know beforehand, such as a size.
"""

import base64
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from exporters.tfjs.graph import GraphModel, Json, inputs_of

_CONVOLUTIONS = {"Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"}
_UNFUSED = {"_FusedConv2D": "Conv2D", "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative"}
_BIAS = base64.b64encode(b"BiasAdd").decode()
_OF_FUSED = {"fused_ops", "num_args", "epsilon", "leakyrelu_alpha"}
_ONE = {"list": {"i": ["1", "1", "1", "1"]}}
_TWO = {"list": {"i": ["1", "2", "2", "1"]}}


def dilated(model: GraphModel) -> GraphModel:
    """Convert kernels with zeros between their weights, as in our SavedModel, back to dilated ones.

    TensorFlow on a CPU supports dilated depthwise convolutions only by SpaceToBatch. In the WebAssembly backend, at
    640x360 and ratio .5, MobileNetV3's depthwise ones take 7 ms of a frame instead of 47. ResNet50's file is a quarter
    smaller.
    """
    weights = dict(model.weights)
    nodes = {node["name"]: node for node in model.nodes}
    uses = _uses(model)
    for node in model.nodes:
        if node["op"] not in _CONVOLUTIONS or node["attr"]["strides"] != _ONE:
            continue
        kernel = node["input"][1]
        values = weights[kernel]
        large = values.shape[0] >= 5 and values.shape[1] >= 5
        if uses[kernel] == 1 and large and not (values[1::2].any() or values[:, 1::2].any()):
            weights[kernel] = values[::2, ::2]
            nodes[kernel] = _of_shape(nodes[kernel], weights[kernel].shape)
            nodes[node["name"]] = node | {"attr": node["attr"] | {"dilations": _TWO}}
    return replace(model, nodes=tuple(nodes.values()), weights=weights)


def clipped(model: GraphModel) -> GraphModel:
    """Replace a maximum of a minimum, both with constant bounds, by one clip.

    In the WebAssembly backend, at 640x360 and ratio .5, the two took 32 ms of a frame, and clips take less than 3.
    """
    nodes = {node["name"]: node for node in model.nodes}
    uses = _uses(model)
    for node in model.nodes:
        if node["op"] != "Maximum":
            continue
        inner, least = node["input"]
        if inner in nodes and nodes[inner]["op"] == "Minimum" and uses[inner] == 1:
            x, most = nodes[inner]["input"]
            if {least, most} <= model.weights.keys():
                nodes[node["name"]] = node | {"op": "ClipByValue", "input": [x, least, most]}
                del nodes[inner]
    return replace(model, nodes=tuple(nodes.values()))


def unfused(model: GraphModel) -> GraphModel:
    """Add an image by a separate operation if the converter took it for a convolution's bias, which TF.js refuses.

    It comes from the fast guided filter's small constant, which the converter moves to the other side of a difference.
    """
    nodes: list[Json] = []
    for node in model.nodes:
        if node["op"] not in _UNFUSED or node["input"][2] in model.weights:
            nodes.append(node)
            continue
        if [*node["attr"]["fused_ops"]["list"]["s"]] != [_BIAS]:
            raise ValueError(f"{node['name']}: an image is added to a convolution that does more than that")
        x, kernel, image = node["input"]
        name = f"{node['name']}/convolution"
        attributes = {key: value for key, value in node["attr"].items() if key not in _OF_FUSED}
        nodes.append({"name": name, "op": _UNFUSED[node["op"]], "input": [x, kernel], "attr": attributes})
        nodes.append({"name": node["name"], "op": "AddV2", "input": [name, image], "attr": {"T": node["attr"]["T"]}})
    return replace(model, nodes=tuple(nodes))


def direct(model: GraphModel) -> GraphModel:
    """Connect readers of a node's copy to the node itself. Only outputs remain copies."""
    outputs = model.header["signature"]["outputs"].keys()
    sources = {
        node["name"]: node["input"][0]
        for node in model.nodes
        if node["op"] == "Identity" and node["name"] not in outputs
    }

    def source(name: str) -> str:
        return source(sources[name]) if name in sources else name

    nodes = tuple(
        node | {"input": [source(each) for each in node["input"]]} if "input" in node else node
        for node in model.nodes
        if node["name"] not in sources
    )
    return replace(model, nodes=nodes)


def merged(model: GraphModel) -> GraphModel:
    """Merge equal constants that are read in the same way. This halves the text.

    A constant that a Range or a clip reads as a number must not be shared with the computation of an image.
    """
    roles: dict[str, set[tuple[str, int]]] = {}
    for node in model.nodes:
        for index, name in enumerate(inputs_of(node)):
            roles.setdefault(name, set()).add((node["op"], index))
    originals: dict[tuple[Any, ...], str] = {}
    names = {
        name: originals.setdefault((value.dtype, value.shape, value.tobytes(), *sorted(roles[name])), name)
        for name, value in model.weights.items()
    }
    nodes = tuple(
        node | {"input": [names.get(each, each) for each in node["input"]]} if "input" in node else node
        for node in model.nodes
        if names.get(node["name"], node["name"]) == node["name"]
    )
    return replace(model, nodes=nodes, weights={name: model.weights[name] for name in originals.values()})


def sizes_on_cpu(model: GraphModel) -> GraphModel:
    """Keep the ratio that sizes are computed from off the GPU: all other operations read the sum of it and zero."""
    ratio, zero, copy = "downsample_ratio", "downsample_ratio/zero", "downsample_ratio/copy"
    if all(node["name"] != ratio for node in model.nodes):  # a model of coefficients
        return model
    value = {"dtype": "DT_FLOAT", "tensorShape": {}}
    added = (
        {"name": zero, "op": "Const", "attr": {"dtype": {"type": "DT_FLOAT"}, "value": {"tensor": value}}},
        {"name": copy, "op": "AddV2", "input": [ratio, zero], "attr": {"T": {"type": "DT_FLOAT"}}},
    )
    nodes: list[Json] = []
    for node in model.nodes:
        if ratio in inputs_of(node) and node["op"] != "Mul":
            nodes.append(node | {"input": [copy if each == ratio else each for each in node["input"]]})
        else:
            nodes.append(node)
        if node["name"] == ratio:
            nodes.extend(added)
    return replace(model, nodes=tuple(nodes), weights=model.weights | {zero: np.zeros((), np.float32)})


def _uses(model: GraphModel) -> Counter[str]:
    return Counter(name for node in model.nodes for name in inputs_of(node))


def _of_shape(constant: Json, shape: tuple[int, ...]) -> Json:
    constant = deepcopy(constant)
    constant["attr"]["value"]["tensor"]["tensorShape"]["dim"] = [{"size": str(length)} for length in shape]
    return constant
