"""The vocabulary as layers of ncnn's. A value is the name of a blob: channels, height and width, of one frame.

A single pixel is a blob of one axis, its channels. A convolution of one is an InnerProduct.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from exporters.lowering.folding import Conv
from exporters.ncnn.layer import Layer, Value
from exporters.spec import Fixed
from rvm_model.state import internal_size

Size = tuple[int, int]

_ADD, _SUB, _MUL, _DIV = range(4)
_MAX, _MEAN = 0, 1
_BILINEAR = 2
_OWN_OPTIONS, _NO_HALF = 31, 1 << 1
"""A mask of the options that a layer is kept from. By default ncnn rounds the weights of an InnerProduct to half."""

_EXACT = ("refiner.box_rows", "refiner.box_columns")
"""Kernels that are never stored in half precision: the fast guided filter divides by differences of their means."""

_SIXTH = {0: 1 / 6, 1: 0.5}
"""Factor and offset of the hard sigmoid and the hard swish."""


class NcnnOps:
    """An `exporters.lowering.ops.Ops[str]`. `layers` are the layers written so far, each after those that it reads.

    Args:
        half: Store the kernels in half precision.
        fixed: The only size, of the source, or None for any. Then sizes are read from blobs as the graph runs.
        src: The name of the source.
    """

    def __init__(self, half: bool, fixed: Fixed | None, src: str) -> None:
        self.layers: list[Layer] = []
        self._half = half
        self._scope = ""
        self._names: Counter[str] = Counter()
        self._pixels: set[str] = set()
        self._sizes: dict[str, Size] = {src: (fixed.height, fixed.width)} if fixed is not None else {}

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        before, self._scope = self._scope, name
        yield
        self._scope = before

    def input(self, name: str, channels: int, size: Size | None) -> str:
        """Write an input of the graph, and its size if it has one."""
        params: dict[int, Value] = {} if size is None else {0: size[1], 1: size[0], 2: channels}
        self.layers.append(Layer(type="Input", name=name, inputs=(), outputs=(name,), params=params))
        return name

    def conv(self, x: str, conv: Conv) -> str:
        out, _, height, width = conv.weight.shape
        kernel = conv.weight.astype(np.float16 if self._half and conv.name not in _EXACT else np.float32).ravel()
        bias = None if conv.bias is None else conv.bias
        if x in self._pixels:
            assert (height, width, conv.groups) == (1, 1, 1)
            params: dict[int, Value] = {0: out, 1: int(bias is not None), 2: kernel.size}
            params |= {} if self._half else {_OWN_OPTIONS: _NO_HALF}
            value = self._layer("InnerProduct", x, name=conv.name, params=params, kernel=kernel, bias=bias)
            self._pixels.add(value)
            return value
        rows, columns = conv.padding
        params = {0: out, 1: width, 11: height, 2: conv.dilation, 3: conv.stride, 4: columns, 14: rows}
        params |= {5: int(bias is not None), 6: kernel.size, **({7: conv.groups} if conv.groups > 1 else {})}
        kind = "ConvolutionDepthWise" if conv.groups > 1 else "Convolution"
        return self._layer(kind, x, name=conv.name, params=params, kernel=kernel, bias=bias)

    def relu(self, x: str) -> str:
        return self._layer("ReLU", x)

    def hardswish(self, x: str) -> str:
        return self._layer("HardSwish", x, params=_SIXTH)

    def hardsigmoid(self, x: str) -> str:
        return self._layer("HardSigmoid", x, params=_SIXTH)

    def sigmoid(self, x: str) -> str:
        return self._layer("Sigmoid", x)

    def tanh(self, x: str) -> str:
        return self._layer("TanH", x)

    def clamp(self, x: str) -> str:
        return self._layer("Clip", x, params={0: 0.0, 1: 1.0})

    def add(self, x: str, y: str) -> str:
        return self._layer("BinaryOp", x, y, params={0: _ADD})

    def sub(self, x: str, y: str) -> str:
        return self._layer("BinaryOp", x, y, params={0: _SUB})

    def mul(self, x: str, y: str) -> str:
        return self._layer("BinaryOp", x, y, params={0: _MUL})

    def div(self, x: str, y: str) -> str:
        return self._layer("BinaryOp", x, y, params={0: _DIV})

    def add_constant(self, x: str, values: tuple[float, ...]) -> str:
        return self._layer("Bias", x, params={0: len(values)}, bias=np.array(values))

    def concat(self, *xs: str) -> str:
        return self._layer("Concat", *xs, params={0: 0})

    def split(self, x: str, *channels: int) -> tuple[str, ...]:
        return self._layers("Slice", x, outputs=len(channels), params={0: channels, 1: 0})

    def append_ones(self, x: str) -> str:
        return self._sized(self._layer("Padding", x, params={4: 0, 5: 1.0, 8: 1}), self._sizes.get(x))

    def channel_mean(self, x: str) -> str:
        """Return the mean as a convolution, always in float32: a Reduction takes longer. Only for three channels."""
        kernel = np.full(3, 1 / 3, np.float32)
        return self._layer("Convolution", x, params={0: 1, 1: 1, 5: 0, 6: 3}, kernel=kernel, title="mean")

    def global_mean(self, x: str) -> str:
        value = self._layer("Pooling", x, params={0: _MEAN, 4: 1})
        self._pixels.add(value)
        return value

    def average_pool_ceil(self, x: str) -> str:
        """Return the mean of whole windows and of those over the edge: 5=0 rounds up, and leaves padding out."""
        size = self._sizes.get(x)
        half = None if size is None else (-(-size[0] // 2), -(-size[1] // 2))
        return self._sized(self._layer("Pooling", x, params={0: _MEAN, 1: 2, 2: 2, 5: 0}), half)

    def max_pool(self, x: str) -> str:
        return self._layer("Pooling", x, params={0: _MAX, 1: 3, 2: 2, 3: 1, 5: 1})

    def resize_by(self, x: str, ratio: str | float) -> str:
        """Return the image resized by a factor. By sizes ncnn would sample at the quotient of the sizes."""
        size = self._sizes.get(x)
        inside = None if size is None else internal_size(*size, float(ratio))
        params: dict[int, Value] = {0: _BILINEAR, 1: float(ratio), 2: float(ratio)}
        return self._sized(self._layer("Interp", x, params=params), inside)

    def resize_like(self, x: str, ref: str) -> str:
        if ref in self._sizes:
            height, width = self._sizes[ref]
            return self._layer("Interp", x, params={0: _BILINEAR, 3: height, 4: width})
        return self._layer("Interp", x, ref, params={0: _BILINEAR, 5: 1})

    def strips(self, x: str) -> tuple[str, ...]:
        return (x,)

    def stack(self, *strips: str) -> str:
        (whole,) = strips
        return whole

    def upsample2_crop(self, x: str, ref: str) -> str:
        """Return the image at twice the size, cropped. Half of `ref`'s size, rounded up, is the size of `x`."""
        twice = self._layer("Interp", x, params={0: _BILINEAR, 1: 2.0, 2: 2.0})
        if ref not in self._sizes:
            return self._layer("Crop", twice, ref, params={19: "0,0", 20: "1h,1w", 21: "1,2"})
        height, width = self._sizes[ref]
        if height % 2 == width % 2 == 0:
            return twice
        return self._layer("Crop", twice, params={9: (0, 0), 10: (height, width), 11: (1, 2)})

    def state_like(self, state: str, x: str) -> str:  # noqa: ARG002
        return state

    def _sized(self, value: str, size: Size | None) -> str:
        if size is not None:
            self._sizes[value] = size
        return value

    def _layer(self, kind: str, *inputs: str, title: str = "", **given: Any) -> str:
        (value,) = self._layers(kind, *inputs, outputs=1, title=title, **given)
        if inputs[0] in self._pixels:
            self._pixels.add(value)
        return value

    def _layers(
        self, kind: str, *inputs: str, outputs: int, name: str = "", title: str = "", **given: Any
    ) -> tuple[str, ...]:
        """Write a layer and return its outputs' names. Without a name, it is the scope and the kind or title."""
        if not name:
            stem = f"{self._scope}.{title or kind.lower()}"
            self._names[stem] += 1
            name = f"{stem}_{self._names[stem]}" if self._names[stem] > 1 else stem
        values = (name,) if outputs == 1 else tuple(f"{name}:{k}" for k in range(outputs))
        self.layers.append(replace(Layer(type=kind, name=name, inputs=inputs, outputs=values), **given))
        return values
