"""The layers of neural networks that our files and the released ones have, one function each.

Each takes a layer's parameters, a protobuf message, and gives what computes it, on torch tensors in float32. They raise
ValueError, then or later, for values that make no sense.
Source: comments of NeuralNetwork.proto in coremltools.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from exporters.coreml.evaluator import mil_ops, sampling
from exporters.coreml.evaluator.nn_weights import weights
from exporters.coreml.evaluator.pad import Sides, amounts, convolve, symmetric

Compute = Callable[..., Tensor | Sequence[Tensor]]
Layer = Callable[[Any], Compute]

_CHANNELS = -3


def convolution(layer: Any) -> Compute:
    if layer.isDeconvolution:
        raise ValueError("a deconvolution is not known here")
    kernel, strides, dilations = _pair(layer.kernelSize, 3), _pair(layer.stride, 1), _pair(layer.dilationFactor, 1)
    groups = layer.nGroups or 1
    weight = weights(layer.weights, (layer.outputChannels, layer.kernelChannels, *kernel))
    bias = weights(layer.bias, (layer.outputChannels,)) if layer.hasBias else None

    def compute(x: Tensor) -> Tensor:
        sides = _sides(layer, "ConvolutionPaddingType", x, kernel, strides, dilations)
        ours = weight.to(x.device), None if bias is None else bias.to(x.device)
        return convolve(x, *ours, sides=sides, strides=strides, dilations=dilations, groups=groups)

    return compute


def pooling(layer: Any) -> Compute:
    kinds = {0: "MAX", 1: "AVERAGE"}
    if layer.type not in kinds:
        raise ValueError(f"a pool of type {layer.type} is not known here")
    kernel, strides = _pair(layer.kernelSize, 3), _pair(layer.stride, 1)
    ceil_mode = layer.WhichOneof("PoolingPaddingType") == "includeLastPixel"

    def compute(x: Tensor) -> Tensor:
        if layer.globalPooling:
            return x.mean((2, 3), keepdim=True) if kinds[layer.type] == "AVERAGE" else x.amax((2, 3), keepdim=True)
        sides = symmetric(_sides(layer, "PoolingPaddingType", x, kernel, strides, (1, 1)))
        if kinds[layer.type] == "MAX":
            return F.max_pool2d(x, kernel, strides, sides, ceil_mode=ceil_mode)
        return F.avg_pool2d(x, kernel, strides, sides, ceil_mode, not layer.avgPoolExcludePadding)

    return compute


def activation(layer: Any) -> Compute:
    kind = layer.WhichOneof("NonlinearityType")
    if kind not in _ACTIVATIONS:
        raise ValueError(f"an activation {kind} is not known here")
    return lambda x: _ACTIVATIONS[kind](x, getattr(layer, kind))


_ACTIVATIONS: Mapping[str, Callable[[Tensor, Any], Tensor]] = {
    "linear": lambda x, given: given.alpha * x + given.beta,
    "ReLU": lambda x, _: torch.relu(x),
    "sigmoid": lambda x, _: torch.sigmoid(x),
    "sigmoidHard": lambda x, given: mil_ops.sigmoid_hard(x, given.alpha, given.beta),
    "tanh": lambda x, _: torch.tanh(x),
    "thresholdedReLU": lambda x, given: mil_ops.thresholded_relu(x, given.alpha),
}


def add(layer: Any) -> Compute:
    """All inputs together; one alone and a number."""
    return lambda *given: given[0] + layer.alpha if len(given) == 1 else reduce(torch.add, given)


def multiply(layer: Any) -> Compute:
    return lambda *given: given[0] * layer.alpha if len(given) == 1 else reduce(torch.mul, given)


def _elementwise(function: Callable[[Tensor, Tensor], Tensor]) -> Layer:
    """Of two inputs that need not be of one shape; the layer has no parameters."""
    return lambda _: lambda x, y: function(x, y)


def clip(layer: Any) -> Compute:
    return lambda x: x.clamp(layer.minVal, layer.maxVal)


def concat(layer: Any) -> Compute:
    if layer.sequenceConcat:
        raise ValueError("a concat of sequences is not known here")
    return lambda *given: torch.cat(given, _CHANNELS)


def split(layer: Any) -> Compute:
    return lambda x: mil_ops.split(x, layer.axis, tuple(layer.splitSizes) or None, layer.numSplits)


def slice_axis(layer: Any) -> Compute:
    """Along one of the last three axes. An end below 0 counts from the end."""
    axis = _CHANNELS + layer.axis
    start, end, stride = layer.startIndex, layer.endIndex, layer.stride or 1
    if axis not in (-3, -2, -1) or start < 0:
        raise ValueError(f"a slice from {start} along axis {layer.axis} is not known here")

    def compute(x: Tensor) -> Tensor:
        last = x.shape[axis] + end if end < 0 else end
        return x.index_select(axis, torch.arange(start, min(last, x.shape[axis]), stride, device=x.device))

    return compute


def reduce_mean(layer: Any) -> Compute:
    return lambda x: x.mean(list(range(x.dim())) if layer.reduceAll else list(layer.axes), keepdim=layer.keepDims)


def upsample(layer: Any) -> Compute:
    """By factors, which only say how large: where a pixel looks follows from the lengths."""
    rules = {0: "DEFAULT", 1: "STRICT_ALIGN_CORNERS", 2: "UNALIGN_CORNERS"}
    factors = _pair(layer.fractionalScalingFactor or layer.scalingFactor, 1)
    if layer.mode != 1 or layer.linearUpsampleMode not in rules:
        raise ValueError("an upsample that is not bilinear is not known here")
    return lambda x: sampling.resize_bilinear(x, mil_ops.scaled(x, *factors), rules[layer.linearUpsampleMode])


def resize_bilinear(layer: Any) -> Compute:
    rules = {0: "STRICT_ALIGN_CORNERS", 1: "ALIGN_CORNERS", 2: "DEFAULT", 3: "OFFSET_CORNERS"}
    rule, size = rules.get(layer.mode.samplingMethod), _pair(layer.targetSize, 1)
    if rule is None:
        raise ValueError(f"a sampling method {layer.mode.samplingMethod} is not known here")
    return lambda x: sampling.resize_bilinear(x, size, rule)


def load_constant(layer: Any) -> Compute:
    constant = weights(layer.data, tuple(layer.shape))
    return lambda: constant


def _pair(values: Sequence[Any], default: int) -> tuple[Any, Any]:
    """Rows and columns; what is not given is the default."""
    rows, columns = values or (default, default)
    return rows, columns


def _sides(
    layer: Any, padding: str, x: Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Sides:
    """What one of three ways of saying it comes to."""
    kind = layer.WhichOneof(padding)
    ways: Mapping[str | None, Callable[[], Sequence[int]]] = {
        "valid": lambda: _borders(layer.valid.paddingAmounts.borderAmounts),
        "includeLastPixel": lambda: [each for each in layer.includeLastPixel.paddingAmounts for _ in range(2)],
    }
    if kind not in ways:
        raise ValueError(f"padding {kind} is not known here")
    return amounts("custom", ways[kind]() or (0, 0, 0, 0), x, kernel, strides, dilations)


def _borders(borders: Any) -> list[int]:
    return [edge for border in borders for edge in (border.startEdgeSize, border.endEdgeSize)]


LAYERS: Mapping[str, Layer] = {
    "convolution": convolution,
    "pooling": pooling,
    "activation": activation,
    "clip": clip,
    "add": add,
    "multiply": multiply,
    "addBroadcastable": _elementwise(torch.add),
    "subtractBroadcastable": _elementwise(torch.sub),
    "multiplyBroadcastable": _elementwise(torch.mul),
    "divideBroadcastable": _elementwise(torch.div),
    "concat": concat,
    "splitND": split,
    "slice": slice_axis,
    "reduceMean": reduce_mean,
    "upsample": upsample,
    "resizeBilinear": resize_bilinear,
    "loadConstantND": load_constant,
}
"""Every layer that is known, by its field in a layer's message."""
