"""Upsampling of rows as a product with a banded matrix, which onnxruntime's CPU kernels do faster than Resize.

A row of the result is the mean of two neighbouring rows of the image. The matrix that says so is zero but for a narrow
band, so it is cut into blocks of rows, and each block is multiplied with only the few rows of the image that it reads.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = range(32, 7, -1)  # rows of the result at once: the more the better, and fewer than 8 do not pay


@dataclass(frozen=True, kw_only=True, eq=False)
class Bands:
    """`weight` (blocks, rows of the result, rows read), float32; `rows` (blocks * rows read,), of the image.

    All blocks have the same size; the last may reach beyond the result.
    """

    weight: NDArray[np.float32]
    rows: NDArray[np.int64]


def bands(height: int, to_height: int, rows: range | None = None) -> Bands:
    """The matrix that brings `height` rows to `to_height`, bilinear with half-pixel centres.

    Rows and weights are computed in float32, as PyTorch does. `rows` are those of the result that are wanted, else all.
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
