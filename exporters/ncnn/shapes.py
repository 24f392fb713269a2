"""Compute the size of every blob of an ncnn graph, as ncnn would, and refuse what it would compute beyond a blob.

ncnn checks few of these itself. A crop that is larger than its image, or an addition of two sizes, reads and writes
where it should not.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from exporters.ncnn.layer import Layer
from rvm_model.state import float32_size

Shape = tuple[int, ...]
"""Channels, height and width; or the channels of a single pixel."""

_MOST_NUMBERS = 8_000_000_000
"""The limit of the numbers in all blobs, far beyond those of an 8K frame at ratio 1."""


def shapes_of(layers: Iterable[Layer], inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape of every blob, for inputs of these shapes.

    Raises:
        ValueError: the layers do not go together, or need more memory than any matting network.
    """
    shapes: dict[str, Shape] = {}
    total = 0
    for layer in layers:
        given = [shapes[name] for name in layer.inputs]
        try:
            found = [inputs[layer.name]] if layer.type == "Input" else _SHAPES[layer.type](layer, *given)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise ValueError(f"its layer {layer.name[:60]!r} does not go with inputs of {_listed(given)}") from error
        if len(found) != len(layer.outputs) or any(side < 1 for shape in found for side in shape):
            raise ValueError(f"its layer {layer.name[:60]!r} makes {_listed(found)} of {_listed(given)}")
        total += sum(math.prod(shape) for shape in found)
        if total > _MOST_NUMBERS:
            raise ValueError(f"its layer {layer.name[:60]!r} brings its numbers to {total}, which no frame needs")
        shapes |= zip(layer.outputs, found, strict=True)
    return shapes


def _convolution(layer: Layer, x: Shape) -> list[Shape]:
    channels, height, width = x
    params = layer.params
    out, groups = params[0], params.get(7, 1)
    columns = params[1]
    rows = params.get(11, columns)
    dilation, stride, left = params.get(2, 1), params.get(3, 1), params.get(4, 0)
    top = params.get(14, left)
    others = (params.get(12, dilation), params.get(13, stride), params.get(15, left), params.get(16, top))
    _check(others == (dilation, stride, left, top))
    _check(1 <= rows <= 7 and 1 <= columns <= 7 and dilation in (1, 2) and stride in (1, 2))
    _check(0 <= top <= 6 and 0 <= left <= 6 and groups in (1, out) and groups in (1, channels))
    _check(layer.kernel is not None and layer.kernel.size == out * channels // groups * rows * columns)
    _check_activation(params)
    sides = ((height, rows, top), (width, columns, left))
    height, width = ((side + 2 * pad - dilation * (length - 1) - 1) // stride + 1 for side, length, pad in sides)
    return [(out, height, width)]


def _inner_product(layer: Layer, x: Shape) -> list[Shape]:
    (channels,) = x
    out: int = layer.params[0]
    _check(layer.kernel is not None and layer.kernel.size == out * channels and layer.params.get(31, 0) in (0, 2))
    _check_activation(layer.params)
    return [(out,)]


def _check_activation(params: Mapping[int, Any]) -> None:
    """Refuse an activation without its two numbers, which ncnn would read elsewhere."""
    kind, values = params.get(9, 0), params.get(10, ())
    _check((kind in (0, 1, 4) and values == ()) or (kind in (3, 6) and isinstance(values, tuple) and len(values) == 2))


def _function(layer: Layer, x: Shape) -> list[Shape]:
    """Return the same shape. Three functions have two numbers, the others none."""
    expected = [0, 1] if layer.type in ("HardSwish", "HardSigmoid", "Clip") else []
    _check([*layer.params] == expected and all(isinstance(value, float) for value in layer.params.values()))
    return [x]


def _bias(layer: Layer, x: Shape) -> list[Shape]:
    _check(layer.params[0] == x[0])
    return [x]


def _binary(layer: Layer, x: Shape, y: Shape) -> list[Shape]:
    _check(layer.params.get(0, 0) in range(4))
    _check(x == y or (len(y) == 1 and y[0] == x[0]) or (len(x) == len(y) == 3 and x[1:] == y[1:] and 1 in (x[0], y[0])))
    return [x if len(x) == 3 and x[0] >= y[0] else y]


def _concat(layer: Layer, *xs: Shape) -> list[Shape]:
    _check(layer.params.get(0, 0) == 0 and len({x[1:] for x in xs}) == 1)
    return [(sum(x[0] for x in xs), *xs[0][1:])]


def _slice(layer: Layer, x: Shape) -> list[Shape]:
    parts = layer.params[0]
    _check(layer.params.get(1, 0) == 0 and all(isinstance(part, int) for part in parts) and sum(parts) == x[0])
    return [(part, *x[1:]) for part in parts]


def _split(layer: Layer, x: Shape) -> list[Shape]:
    return [x] * len(layer.outputs)


def _padding(layer: Layer, x: Shape) -> list[Shape]:
    """Return the shape with channels appended. Other padding has no key in `load.PARAMS`."""
    behind = layer.params.get(8, 0)
    channels, height, width = x
    _check(layer.params.get(4, 0) == 0 and behind == 1 and layer.params.get(5) == 1.0)
    return [(channels + 1, height, width)]


def _pooling(layer: Layer, x: Shape) -> list[Shape]:
    params = layer.params
    channels, height, width = x
    if params.get(4, 0) == 1:
        return [(channels,)]
    size, stride, pad, mode = params[1], params.get(2, 1), params.get(3, 0), params.get(5, 0)
    _check((size, stride, pad, mode) in ((2, 2, 0, 0), (3, 2, 1, 1)))
    return [(channels, -(-height // 2), -(-width // 2))]


def _interp(layer: Layer, x: Shape, ref: Shape | None = None) -> list[Shape]:
    params = layer.params
    channels, height, width = x
    _check(params.get(0) == 2)
    if ref is not None:
        _check(params.get(5) == 1 and not {1, 2, 3, 4} & {*params})
        _, height, width = ref
    elif {3, 4} <= {*params}:
        _check(isinstance(params[3], int) and isinstance(params[4], int) and not {1, 2, 5} & {*params})
        height, width = params[3], params[4]
    else:
        ratio = params[1]
        _check(isinstance(ratio, float) and params[2] == ratio and (0 < ratio < 1 or ratio == 2) and 5 not in params)
        height, width = float32_size(height, width, ratio)
    return [(channels, height, width)]


def _crop(layer: Layer, x: Shape, ref: Shape | None = None) -> list[Shape]:
    params = layer.params
    channels, height, width = x
    if ref is not None:
        _check(params == {19: "0,0", 20: "1h,1w", 21: "1,2"})
        _, to_height, to_width = ref
    else:
        to_height, to_width = params[10]
        _check(params == {9: (0, 0), 10: (to_height, to_width), 11: (1, 2)})
    _check(to_height <= height and to_width <= width)
    return [(channels, to_height, to_width)]


def _check(holds: bool) -> None:
    if not holds:
        raise ValueError


def _listed(shapes: Iterable[Shape]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in [*shapes][:4]) or "no size"


_SHAPES: Mapping[str, Callable[..., list[Shape]]] = {
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "InnerProduct": _inner_product,
    "Bias": _bias,
    "BinaryOp": _binary,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Padding": _padding,
    "Pooling": _pooling,
    "Interp": _interp,
    "Crop": _crop,
    **dict.fromkeys(("ReLU", "HardSwish", "HardSigmoid", "Sigmoid", "TanH", "Clip"), _function),
}
