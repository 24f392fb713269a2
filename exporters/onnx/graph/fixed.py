"""The vocabulary for a file of one size: shapes that a dynamic graph computes at run time are constants here."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from exporters.lowering.folding import Conv
from exporters.onnx import OnnxSpec
from exporters.onnx.graph.banded import BLOCK_ROWS, bands
from exporters.onnx.graph.ops import Dtype, OnnxOps
from exporters.spec import Fixed
from rvm_model.state import internal_size

Size = tuple[int, int, int]

STRIP_PIXELS = 2**19
"""The approximate size of a strip. Smaller strips use less memory; onnxruntime's time is the same from 2**17 to
2**20.
"""


@dataclass(frozen=True, kw_only=True)
class _Strip:
    """Some rows of an image, and the height of the whole image."""

    rows: range
    height: int


class FixedOnnxOps(OnnxOps):
    """Knows channels, height and width of every value, so that no Shape, Expand or sliced shape is needed."""

    def __init__(self, dtype: Dtype, spec: OnnxSpec, fixed: Fixed, src: str, *, cut: bool = True) -> None:
        """Begin a graph. Without `cut`, full-size images stay whole."""
        super().__init__(dtype, spec)
        self.batch = fixed.batch
        self.cut = cut
        self.sizes: dict[str, Size] = {src: (3, fixed.height, fixed.width)}
        self._strips: dict[str, _Strip] = {}
        self._wide: dict[str, str] = {}

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
        _, height, width = self.sizes[x]
        return self._integers(f"1x{height}x{width}", self.batch, 1, height, width)

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

    def strips(self, x: str) -> tuple[str, ...]:
        channels, height, width = self.sizes[x]
        count = -(-height * width // STRIP_PIXELS)
        if not (self.spec.banded and self.cut) or count == 1:
            return (x,)
        # All strips but the last have whole blocks of rows.
        most = -(-height // (count * BLOCK_ROWS[0])) * BLOCK_ROWS[0]
        strips = []
        for start in range(0, height, most):
            rows = range(start, min(start + most, height))
            bounds = self._integers(f"row_{rows.start}", rows.start), self._integers(f"row_{rows.stop}", rows.stop)
            strip = self._node("Slice", x, *bounds, self._integers("axis_of_rows", 2))
            self._strips[strip] = _Strip(rows=rows, height=height)
            strips.append(self._sized(strip, channels, len(rows), width))
        return tuple(strips)

    def stack(self, *strips: str) -> str:
        channels, _, width = self.sizes[strips[0]]
        return self._sized(super().stack(*strips), channels, sum(self.sizes[strip][1] for strip in strips), width)

    def resize_like(self, x: str, ref: str) -> str:
        (channels, from_height, _), (_, height, width) = self.sizes[x], self.sizes[ref]
        if not self.spec.banded:
            return self._resize_to(x, height, width)
        strip = self._strips.get(ref, _Strip(rows=range(height), height=height))
        banded = bands(from_height, strip.height, strip.rows)
        blocks, block_rows, reads = banded.weight.shape
        name = f"rows_{from_height}_to_{strip.height}"
        if ref in self._strips:
            name += f".{strip.rows.start}_{strip.rows.stop}"
        if x not in self._wide:
            self._wide[x] = self._resize_to(x, from_height, width)
        rows = self._node("Gather", self._wide[x], self._integers(f"{name}.rows", *banded.rows), axis=2)
        rows = self._reshape(rows, channels, blocks, reads, width)
        tall = self._node("MatMul", self._initializer(f"{name}.weight", banded.weight.astype(self.dtype)), rows)
        tall = self._sized(self._reshape(tall, channels, blocks * block_rows, width), channels, height, width)
        return tall if blocks * block_rows == height else self._crop(tall, height, width)

    def _crop(self, x: str, height: int, width: int) -> str:
        starts, axes = self._integers("origin", 0, 0), self._integers("spatial_axes", 2, 3)
        cropped = self._node("Slice", x, starts, self._integers(f"{height}x{width}", height, width), axes)
        return self._sized(cropped, self.sizes[x][0], height, width)

    def _resize_to(self, x: str, height: int, width: int) -> str:
        size = self.sizes[x][0], height, width
        sizes = self._integers("x".join(map(str, size)), self.batch, *size)
        return self._sized(self._resize(x, "", sizes), *size)

    def _reshape(self, x: str, *shape: int) -> str:
        return self._node("Reshape", x, self._integers("x".join(map(str, shape)), self.batch, *shape))

    def upsample2_crop(self, x: str, ref: str) -> str:
        channels, height, width = self.sizes[x]
        twice = self._resize(self._in_blocks(x), self._initializer("scale_2", np.array([1, 1, 2, 2], np.float32)))
        twice = self._sized(twice, channels, 2 * height, 2 * width)
        size = self.sizes[ref][1:]
        return twice if size == (2 * height, 2 * width) else self._crop(twice, *size)

    def state_like(self, state: str, x: str) -> str:
        return self._sized(state, *self.sizes[x])

    def cast(self, x: str, element: int) -> str:
        value = super().cast(x, element)
        return self._sized(value, *self.sizes[x]) if x in self.sizes else value

    def _nodes(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]:
        values = super()._nodes(op, *inputs, outputs=outputs, **attributes)
        if inputs[0] in self.sizes:
            # Most operations keep the size of their input; the others set it above.
            self.sizes.update(dict.fromkeys(values, self.sizes[inputs[0]]))
        return values

    def _sized(self, value: str, channels: int, height: int, width: int) -> str:
        self.sizes[value] = channels, height, width
        return value
