"""Operations of ML programs that compute a weight from its stored form: palettes, scaled integers.

They run once, when a program is loaded. Parameters are as in `mil_ops.py`, and all must be constants. Source:
coremltools' definitions of `constexpr_` operations, iOS 16 and 18.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from exporters.coreml.evaluator.mil_ops import Ints


def constexpr_affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int) -> Tensor:
    """Scale integers relative to a zero point: one scale and zero for all, or one per index along an axis."""

    def along_axis(parameter: Tensor) -> Tensor:
        if parameter.dim() == 0:
            return parameter
        shape = [1] * quantized_data.dim()
        shape[axis] = quantized_data.shape[axis]
        return parameter.reshape(shape)

    return (quantized_data.float() - along_axis(zero_point).float()) * along_axis(scale)


def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """Scale integers with one scale and offset per block.

    `scale` has as many elements along each axis as there are blocks.
    """
    if offset is not None and offset.shape != scale.shape:
        raise ValueError(f"offsets {tuple(offset.shape)} are not of the shape of scales {tuple(scale.shape)}")
    shifted = data.float() if offset is None else data.float() - _spread(offset, data.shape).float()
    return shifted * _spread(scale, data.shape)


def constexpr_lut_to_dense(indices: Tensor, lut: Tensor, shape: Tensor | None = None) -> Tensor:
    """Look up values by their index in a palette.

    Before iOS 18 there is one palette for all: `shape` is the result's shape, and indices are packed into bytes from
    the lowest bit on. Since iOS 18 there is one palette per block, (*blocks, values, 1), and indices have their own
    width.
    """
    if shape is not None:
        lengths = [int(length) for length in shape]
        return lut[_indices(indices, lut.shape[0], math.prod(lengths))].reshape(lengths)
    if lut.dim() != indices.dim() + 2 or lut.shape[-1] != 1:
        raise ValueError(f"a palette of shape {tuple(lut.shape)}, of vectors perhaps, is not known here")
    blocks = math.prod(lut.shape[:-2])
    palette = _spread(torch.arange(blocks).reshape(lut.shape[:-2]), indices.shape)
    return lut.reshape(blocks, -1)[palette, indices.long()]


def _spread(parameter: Tensor, shape: Ints) -> Tensor:
    """Repeat each element along every axis over its block."""
    if parameter.dim() != len(shape) or any(
        few < 1 or many % few for many, few in zip(shape, parameter.shape, strict=True)
    ):
        raise ValueError(f"{tuple(shape)} does not fall into {tuple(parameter.shape)} equal blocks")
    for axis, length in enumerate(shape):
        parameter = parameter.repeat_interleave(length // parameter.shape[axis], axis)
    return parameter


def _indices(packed: Tensor, palette: int, count: int) -> Tensor:
    """Unpack numbers below `palette`, a power of two, from bytes."""
    bits = palette.bit_length() - 1
    if packed.dim() != 1 or palette != 1 << bits or bits not in (1, 2, 4, 6, 8):
        raise ValueError(
            f"a palette of {palette} values, with indices of shape {tuple(packed.shape)}, is not known here"
        )
    if len(packed) != -(-count * bits // 8):
        raise ValueError(f"{len(packed)} bytes are not {count} indices of {bits} bits")
    spread = (packed.to(torch.uint8)[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
    return (spread.flatten()[: count * bits].reshape(count, bits).long() << torch.arange(bits)).sum(1)


CONSTANTS: Mapping[str, Callable[..., Tensor]] = {
    function.__name__: function
    for function in (
        constexpr_affine_dequantize,
        constexpr_blockwise_shift_scale,
        constexpr_lut_to_dense,
    )
}
