"""The vocabulary for a file of one size: what a dynamic graph asks of shapes at run time is a number here."""

from typing import Any

import numpy as np

from exporters.onnx import OnnxSpec
from exporters.onnx.ops import Dtype, OnnxOps
from exporters.spec import Fixed
from exporters.weights import Conv
from rvm_model.state import internal_size

import os
from dataclasses import dataclass
@dataclass
class Bands:
    index: list
    weight: object

def banded(h, H):
    f=np.float32
    ro=int(os.environ.get("RO","24"))
    scale=f(h)/f(H)
    y=np.maximum(scale*(np.arange(H,dtype=f)+f(.5))-f(.5),f(0))
    lo=np.floor(y).astype(int); lo=np.minimum(lo,h-1); hi=np.minimum(lo+1,h-1); t=(y-lo).astype(f)
    n=H//ro; assert n*ro==H
    taps=max(hi[k*ro+ro-1]-lo[k*ro]+1 for k in range(n))
    w=np.zeros((n,ro,taps),f); idx=[]
    for k in range(n):
        base=min(lo[k*ro],h-taps)
        idx+=list(range(base,base+taps))
        for r in range(ro):
            w[k,r,lo[k*ro+r]-base]+=1-t[k*ro+r]; w[k,r,hi[k*ro+r]-base]+=t[k*ro+r]
    return Bands(idx,w)

Size = tuple[int, int, int]


class FixedOnnxOps(OnnxOps):
    """Knows channels, height and width of every value, so that no Shape, Expand or sliced shape is left."""

    def __init__(self, dtype: Dtype, spec: OnnxSpec, fixed: Fixed, src: str) -> None:
        super().__init__(dtype, spec)
        self.batch = fixed.batch
        self.sizes: dict[str, Size] = {src: (3, fixed.height, fixed.width)}

    def conv(self, x: str, conv: Conv) -> str:
        _, height, width = self.sizes[x]
        return self._sized(super().conv(x, conv), len(conv.weight), -(-height // conv.stride), -(-width // conv.stride))

    def concat(self, *xs: str) -> str:
        channels = sum(self.sizes[x][0] for x in xs)
        return self._sized(super().concat(*xs), channels, *self.sizes[xs[0]][1:])

    def split(self, x: str, *channels: int) -> tuple[str, ...]:
        _, height, width = self.sizes[x]
        parts = super().split(x, *channels)
        return tuple(self._sized(part, count, height, width) for part, count in zip(parts, channels, strict=True))

    def append_ones(self, x: str) -> str:
        channels, height, width = self.sizes[x]
        return self._sized(super().append_ones(x), channels + 1, height, width)

    def channel_mean(self, x: str) -> str:
        return self._sized(super().channel_mean(x), 1, *self.sizes[x][1:])

    def _one_channel_like(self, x: str) -> str:
        return self._integers(f"one_channel_{x}", 0, 1, *self.sizes[x][1:])

    def global_mean(self, x: str) -> str:
        return self._sized(super().global_mean(x), self.sizes[x][0], 1, 1)

    def average_pool_ceil(self, x: str) -> str:
        channels, height, width = self.sizes[x]
        if height % 2 == width % 2 == 0:
            pooled = self._node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
        else:
            pooled = super().average_pool_ceil(x)
        return self._sized(pooled, channels, -(-height // 2), -(-width // 2))

    def max_pool(self, x: str) -> str:
        channels, height, width = self.sizes[x]
        return self._sized(super().max_pool(x), channels, -(-height // 2), -(-width // 2))

    def resize_by(self, x: str, ratio: str | float) -> str:
        channels, height, width = self.sizes[x]
        return self._sized(super().resize_by(x, ratio), channels, *internal_size(height, width, float(ratio)))

    def resize_like(self, x: str, ref: str) -> str:
        channels, from_height, _ = self.sizes[x]
        _, height, width = self.sizes[ref]
        bands = banded(from_height, height)
        size = (channels, from_height, width)
        sizes = self._integers("x".join(map(str, size)), self.batch, *size)
        wide = self._sized(self._resize(x, "", sizes), *size)
        n, rows, taps = bands.weight.shape
        gathered = self._node("Gather", wide, self._integers("bands", *bands.index), axis=2)
        blocks = self._node("Reshape", gathered, self._integers(f"blocks_{channels}", self.batch, channels, n, taps, width))
        out = self._node("MatMul", self._initializer("bands_weight", bands.weight.astype(self.dtype)), blocks)
        return self._sized(self._node("Reshape", out, self._integers(f"full_{channels}", self.batch, channels, height, width)), channels, height, width)

    def upsample2_crop(self, x: str, ref: str) -> str:
        channels, height, width = self.sizes[x]
        size = self.sizes[ref][1:]
        twice = self._resize(x, self._initializer("scale_2", np.array([1, 1, 2, 2], np.float32)))
        if size == (2 * height, 2 * width):
            return self._sized(twice, channels, *size)
        starts, axes = self._integers("origin", 0, 0), self._integers("spatial_axes", 2, 3)
        ends = self._integers("x".join(map(str, size)), *size)
        return self._sized(self._node("Slice", twice, starts, ends, axes), channels, *size)

    def state_like(self, state: str, x: str) -> str:
        return self._sized(state, *self.sizes[x])

    def cast(self, x: str, element: int) -> str:
        value = super().cast(x, element)
        return self._sized(value, *self.sizes[x]) if x in self.sizes else value

    def _nodes(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]:
        values = super()._nodes(op, *inputs, outputs=outputs, **attributes)
        if inputs[0] in self.sizes:
            # Most operations keep the size of what they get; the others say so above.
            self.sizes.update(dict.fromkeys(values, self.sizes[inputs[0]]))
        return values

    def _sized(self, value: str, channels: int, height: int, width: int) -> str:
        self.sizes[value] = channels, height, width
        return value
