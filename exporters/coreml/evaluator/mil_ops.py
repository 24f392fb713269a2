"""The operations of ML programs that our programs use, one function each, on torch tensors in float32.

Parameters have MIL's names and defaults. Tensor parameters may be computed; all others must be constants. The functions
raise ValueError for invalid values. Source: coremltools' definitions of MIL operations, iOS 15 to 18.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from exporters.coreml.evaluator.sampling import amounts, convolve, indices, symmetric
from exporters.coreml.evaluator.sampling import resize_bilinear as resize

Ints = tuple[int, ...]
Flags = tuple[bool, ...]
Operation = Callable[..., Tensor | Sequence[Tensor]]


def add(x: Tensor, y: Tensor) -> Tensor:
    return x + y


def sub(x: Tensor, y: Tensor) -> Tensor:
    return x - y


def mul(x: Tensor, y: Tensor) -> Tensor:
    return x * y


def real_div(x: Tensor, y: Tensor) -> Tensor:
    return x / y


def relu(x: Tensor) -> Tensor:
    return torch.relu(x)


def thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    """Set values below `alpha` to 0."""
    return torch.where(x >= alpha, x, torch.zeros((), device=x.device))


def sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


def sigmoid_hard(x: Tensor, alpha: float, beta: float) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def tanh(x: Tensor) -> Tensor:
    return torch.tanh(x)


def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    return x.clamp(alpha, beta)


def cast(x: Tensor, dtype: str) -> Tensor:
    """Convert between kinds of numbers. A cast between floats does nothing here: the value's type decides the
    rounding.
    """
    kinds = {"fp16": torch.float32, "fp32": torch.float32, "int32": torch.int32, "bool": torch.bool}
    if dtype not in kinds:
        raise ValueError(f"unknown dtype {dtype!r}; known are {', '.join(kinds)}")
    return x.to(kinds[dtype])


def identity(x: Tensor) -> Tensor:
    return x


def concat(values: list[Tensor], axis: int, interleave: bool = False) -> Tensor:
    if interleave:
        raise ValueError("interleave is not known here")
    return torch.cat(values, axis)


def split(x: Tensor, axis: int, split_sizes: Ints | None = None, num_splits: int | None = None) -> tuple[Tensor, ...]:
    if split_sizes is None:
        if not num_splits or x.shape[axis] % num_splits:
            raise ValueError(f"{x.shape[axis]} channels do not fall into {num_splits} equal parts")
        split_sizes = (x.shape[axis] // num_splits,) * num_splits
    return tuple(torch.split_with_sizes(x, list(split_sizes), axis))


def slice_by_index(
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Flags | None = None,
    end_mask: Flags | None = None,
    squeeze_mask: Flags | None = None,
) -> Tensor:
    return x[indices(x.dim(), begin, end, stride, begin_mask, end_mask, squeeze_mask)]


def slice_update(
    x: Tensor,
    update: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Flags | None = None,
    end_mask: Flags | None = None,
    squeeze_mask: Flags | None = None,
) -> Tensor:
    """Return `x` with a part replaced."""
    place = indices(x.dim(), begin, end, stride, begin_mask, end_mask, squeeze_mask)
    if x[place].shape != update.shape:
        raise ValueError(f"a part of {tuple(x[place].shape)} cannot become {tuple(update.shape)}")
    out = x.clone()
    out[place] = update
    return out


def reduce_mean(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return x.mean(list(range(x.dim()) if axes is None else axes), keepdim=keep_dims)


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints = (1, 1),
    pad_type: str = "valid",
    pad: Ints = (0, 0, 0, 0),
    dilations: Ints = (1, 1),
    groups: int = 1,
) -> Tensor:
    sides = amounts(pad_type, pad, x, weight.shape[2:], strides, dilations)
    if groups < 1:
        raise ValueError(f"there cannot be {groups} groups")
    return convolve(x, weight, bias, sides=sides, strides=strides, dilations=dilations, groups=groups)


def avg_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints = (1, 1),
    pad: Ints = (0, 0, 0, 0),
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    sides = symmetric(amounts(pad_type, pad, x, kernel_sizes, strides, (1, 1)))
    return F.avg_pool2d(x, kernel_sizes, strides, sides, ceil_mode, not exclude_padding_from_average)


def max_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints = (1, 1),
    pad: Ints = (0, 0, 0, 0),
    ceil_mode: bool = False,
) -> Tensor:
    sides = symmetric(amounts(pad_type, pad, x, kernel_sizes, strides, (1, 1)))
    return F.max_pool2d(x, kernel_sizes, strides, sides, ceil_mode=ceil_mode)


def resize_bilinear(
    x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    return resize(x, (target_size_height, target_size_width), sampling_mode)


def upsample_bilinear(
    x: Tensor,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """Resize by factors, which only set the size: the sampling positions follow from the lengths."""
    half_pixel = not align_corners if half_pixel_centers is None else half_pixel_centers
    rules = {(True, False): "STRICT_ALIGN_CORNERS", (False, True): "UNALIGN_CORNERS", (False, False): "DEFAULT"}
    if (align_corners, half_pixel) not in rules:
        raise ValueError("align_corners and half_pixel_centers exclude each other")
    return resize(x, scaled(x, scale_factor_height, scale_factor_width), rules[align_corners, half_pixel])


def scaled(x: Tensor, height: float, width: float) -> tuple[int, int]:
    """Return the floor of the float32 product, as coremltools computes it.

    Raises ValueError or OverflowError if the product is no number.
    """
    products = (
        np.float32(factor) * np.float32(length) for factor, length in zip((height, width), x.shape[2:], strict=True)
    )
    rows, columns = (int(np.floor(product)) for product in products)
    return rows, columns


OPERATIONS: Mapping[str, Operation] = {
    function.__name__: function
    for function in (
        *(add, sub, mul, real_div),
        *(relu, thresholded_relu, sigmoid, sigmoid_hard, tanh, clip, cast, identity),
        *(concat, split, slice_by_index, slice_update, reduce_mean),
        *(conv, avg_pool, max_pool, resize_bilinear, upsample_bilinear),
    )
}
"""Every supported operation, by its name in a program."""
