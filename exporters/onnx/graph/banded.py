"""The vocabulary for a file of any size whose rows are brought to full size by a banded product, as in `bands.py`.

What is a number there is computed in the graph here, once a frame, from the sizes it meets: some thirty operations on
a few thousand numbers.
"""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper

from exporters.onnx.graph.bands import BLOCK_ROWS
from exporters.onnx.graph.ops import OnnxOps


@dataclass(frozen=True, kw_only=True)
class _Bands:
    """Names of values: as in `bands.Bands`, and what rows are reshaped to before the product and after it."""

    weight: str
    rows: str
    blocks: str
    whole: str


class BandedOnnxOps(OnnxOps):
    """Resizes by a product of rows. All that is brought to the size of one image has the same size before."""

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
        """See `bands.bands`; both are integers, one each. Blocks have a divisor's number of rows: none is left over."""
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

        # Of the two rows about a position each counts as much as it is near, and any other not at all.
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
