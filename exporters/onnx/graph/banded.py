"""Upsample rows by a product with a banded matrix, which is faster than Resize in onnxruntime's CPU kernels.

A row of the result is the weighted mean of two neighbouring rows of the image. The matrix for this is zero except in a
narrow band. So it is cut into blocks of rows, and each block is multiplied with only the few rows of the image that it
reads. In a file of one size, `bands` computes all of that as constants. In a file of any size, `BandedOnnxOps` computes
it in the graph, once per frame, from the actual sizes: some thirty operations on a few thousand numbers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from exporters.onnx.graph.ops import OnnxOps

BLOCK_ROWS = range(32, 7, -1)  # rows of the result at once: more is faster, and fewer than 8 are slower than Resize


@dataclass(frozen=True, kw_only=True, eq=False)
class Bands:
    """`weight` (blocks, rows of the result, rows read), float32; `rows` (blocks * rows read,), of the image.

    All blocks have the same size; the last may reach beyond the result.
    """

    weight: NDArray[np.float32]
    rows: NDArray[np.int64]


def bands(height: int, to_height: int, rows: range | None = None) -> Bands:
    """Return the matrix that resizes `height` rows to `to_height`, bilinear with half-pixel centres.

    Rows and weights are computed in float32, as in PyTorch. `rows` selects rows of the result; None selects all.
    """
    wanted = range(to_height) if rows is None else rows
    block_rows = next((rows for rows in BLOCK_ROWS if len(wanted) % rows == 0), BLOCK_ROWS[0])
    blocks = -(-len(wanted) // block_rows)
    scale = np.float32(height) / np.float32(to_height)
    centres = np.arange(wanted.start, wanted.start + blocks * block_rows, dtype=np.float32) + np.float32(0.5)
    position = np.maximum(scale * centres - np.float32(0.5), np.float32(0))
    above = np.minimum(position.astype(np.int64), height - 1)
    below = np.minimum(above + 1, height - 1)
    share = position - position.astype(np.int64)

    above, below, share = (values.reshape(blocks, block_rows) for values in (above, below, share))
    reads = int((below[:, -1] - above[:, 0]).max()) + 1
    first = np.minimum(above[:, :1], height - reads)
    weight = np.zeros((blocks, block_rows, reads), np.float32)
    block, row = np.indices((blocks, block_rows))
    weight[block, row, above - first] = 1 - share
    weight[block, row, below - first] += share
    return Bands(weight=weight, rows=(first + np.arange(reads)).ravel())


@dataclass(frozen=True, kw_only=True)
class _Bands:
    """The names of the values in `Bands`, and the shapes of the rows before and after the product."""

    weight: str
    rows: str
    blocks: str
    whole: str


class BandedOnnxOps(OnnxOps):
    """Resizes by a product of rows. All images resized to one reference's size must have the same size before."""

    _bands: _Bands | None = None

    def resize_like(self, x: str, ref: str) -> str:
        if self._bands is None:
            self._bands = self._write_bands(self._shape(x, 2, 3), self._shape(ref, 2, 3))
        bands = self._bands
        sizes = self._node("Concat", self._shape(x, 0, 3), self._shape(ref, 3, 4), axis=0)
        wide = self._resize(x, "", sizes)
        rows = self._node("Reshape", self._node("Gather", wide, bands.rows, axis=2), bands.blocks)
        return self._node("Reshape", self._node("MatMul", bands.weight, rows), bands.whole)

    def _write_bands(self, height: str, to_height: str) -> _Bands:
        """Write the operations that compute `bands`. Both arguments are single integers.

        The number of rows in a block divides `to_height`, so that no row is left over.
        """
        one, two = self._integers("1", 1), self._integers("2", 2)
        zero_float, one_float, half = self._float("0.0", 0), self._float("1.0", 1), self._float("0.5", 0.5)
        divisors = self._integers("divisors", *range(1, BLOCK_ROWS[0] + 1))
        divides = self._node("Equal", self._node("Mod", to_height, divisors), self._integers("0", 0))
        block_rows = self._node("ReduceMax", self._node("Where", divides, divisors, one), keepdims=1)
        blocks = self._node("Div", to_height, block_rows)
        height_float, block_rows_float = self._to_float(height), self._to_float(block_rows)

        scale = self._node("Div", height_float, self._to_float(to_height))
        centres = self._node("Add", self._to_float(self._range(to_height)), half)
        position = self._node("Max", self._node("Sub", self._node("Mul", centres, scale), half), zero_float)
        position = self._node("Min", position, self._node("Sub", height_float, one_float))
        position = self._node("Reshape", position, self._node("Concat", blocks, block_rows, one, axis=0))

        reads = self._to_integer(self._node("Ceil", self._node("Mul", block_rows_float, scale)))
        reads = self._node("Min", self._node("Add", reads, two), height)
        first = self._node("Floor", self._node("Slice", position, self._integers("0", 0), one, one))
        first = self._node("Min", first, self._to_float(self._node("Sub", height, reads)))
        read = self._node("Add", first, self._to_float(self._range(reads)))

        # The two rows around a position are weighted by their nearness, and all others by zero.
        distance = self._node("Abs", self._node("Sub", position, read))
        weight = self._node("Max", self._node("Sub", one_float, distance), zero_float)
        rows = self._to_integer(self._node("Reshape", read, self._integers("-1", -1)))
        as_before, rest = self._integers("same_0_0", 0, 0), self._integers("-1", -1)
        return _Bands(
            weight=self.cast(weight, helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))),
            rows=rows,
            blocks=self._node("Concat", as_before, blocks, reads, rest, axis=0),
            whole=self._node("Concat", as_before, to_height, rest, axis=0),
        )

    def _range(self, stop: str) -> str:
        scalar = self._node("Reshape", stop, self._integers("scalar"))
        return self._node("Range", self._number("from_0", 0), scalar, self._number("by_1", 1))

    def _to_float(self, x: str) -> str:
        return self.cast(x, TensorProto.FLOAT)

    def _to_integer(self, x: str) -> str:
        return self.cast(x, TensorProto.INT64)

    def _float(self, name: str, value: float) -> str:
        return self._initializer(name, np.array([value], np.float32))

    def _number(self, name: str, value: int) -> str:
        return self._initializer(name, np.array(value, np.int64))
