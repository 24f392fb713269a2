"""The layers of neural networks that our files and the released ones use, one function each.

Each takes a layer's parameters, a protobuf message, and returns a function on torch tensors in float32. They raise
ValueError for invalid values, then or when the function runs. Source: comments of NeuralNetwork.proto in coremltools.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from exporters.coreml.evaluator import mil_ops, sampling
from exporters.coreml.evaluator.sampling import Sides, amounts, convolve, symmetric

Compute = Callable[..., Tensor | Sequence[Tensor]]
Layer = Callable[[Any], Compute]

_CHANNELS = -3
_FIELDS = {"floatValue": np.float32, "float16Value": np.float16, "rawValue": np.uint8}


def weights(message: Any, shape: tuple[int, ...]) -> Tensor:
    """Return the float32 values of a `WeightParams` message: float32, float16, or eight bits with scale and bias.

    There is one scale and bias for all, or one per channel. Raises ValueError for weights of another kind.
    """
    stored = [name for name in (*_FIELDS, "int8RawValue") if len(getattr(message, name))]
    if len(stored) != 1 or stored[0] not in _FIELDS or min(shape, default=1) < 1:
        raise ValueError(f"weights of shape {shape} stored as {stored or 'nothing'} are not known here")
    content, dtype = getattr(message, stored[0]), _FIELDS[stored[0]]
    values = np.frombuffer(content, dtype) if isinstance(content, bytes) else np.array(content, dtype)
    if len(values) != math.prod(shape):
        raise ValueError(f"there are {len(values)} weights for the shape {shape}")
    tensor = torch.from_numpy(values.astype(np.float32)).reshape(shape)
    if dtype is not np.uint8:
        return tensor
    quantization = message.quantization
    if quantization.numberOfBits != 8 or quantization.WhichOneof("QuantizationType") != "linearQuantization":
        raise ValueError(f"weights of {quantization.numberOfBits} bits, in a palette perhaps, are not known here")
    linear = quantization.linearQuantization
    return tensor * _per_channel(linear.scale, shape, 1) + _per_channel(linear.bias, shape, 0)


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
    """Add all inputs; add a number to a single input."""
    return lambda *given: given[0] + layer.alpha if len(given) == 1 else reduce(torch.add, given)


def multiply(layer: Any) -> Compute:
    return lambda *given: given[0] * layer.alpha if len(given) == 1 else reduce(torch.mul, given)


def _elementwise(function: Callable[[Tensor, Tensor], Tensor]) -> Layer:
    """Return a layer for a function of two inputs that may differ in shape. The layer has no parameters."""
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
    """Slice along one of the last three axes. A negative end counts from the end."""
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
    """Resize by factors, which only set the size: the sampling positions follow from the lengths."""
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
    """Return rows and columns, or the default for missing values."""
    rows, columns = values or (default, default)
    return rows, columns


def _sides(
    layer: Any, padding: str, x: Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Sides:
    """Return the padding of each side. A layer writes it in one of several ways."""
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
"""Every supported layer, by its field in a layer's message."""


def _per_channel(values: Any, shape: tuple[int, ...], default: float) -> Tensor:
    """Return one number for all, or one for each index of the first axis."""
    if len(values) not in (0, 1, shape[0]):
        raise ValueError(f"there are {len(values)} scales or biases for the shape {shape}")
    tensor = torch.tensor(list(values) or [default], dtype=torch.float32)
    return tensor.reshape(-1, *[1] * (len(shape) - 1))
