"""Compute sampling positions by CoreML's names: resize, padding, slices.

Coordinates of a resize are computed in float32, as in PyTorch: the refiner amplifies any difference. Source: notes of
`resize_bilinear` in coremltools' operations for iOS 15.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Rule = Callable[[int, int, Tensor], Tensor]
"""Maps length before, length after, and indices of the pixels after to positions among the pixels before."""


def _strict_align_corners(before: int, after: int, index: Tensor) -> Tensor:
    return index * ((before - 1) / max(after - 1, 1))


def _align_corners(before: int, after: int, index: Tensor) -> Tensor:
    return _strict_align_corners(before, after, index) if after > 1 else index + (before - 1) / 2


def _unalign_corners(before: int, after: int, index: Tensor) -> Tensor:
    return (index + 0.5) * (before / after) - 0.5


def _default(before: int, after: int, index: Tensor) -> Tensor:
    return index * ((before - before / after) / max(after - 1, 1))


def _offset_corners(before: int, after: int, index: Tensor) -> Tensor:
    return (index + 0.5) * (max(1, before - 1) / after)


RULES: Mapping[str, Rule] = {
    "STRICT_ALIGN_CORNERS": _strict_align_corners,
    "ALIGN_CORNERS": _align_corners,
    "UNALIGN_CORNERS": _unalign_corners,
    "DEFAULT": _default,
    "OFFSET_CORNERS": _offset_corners,
}

_OF_TORCH = {"STRICT_ALIGN_CORNERS": True, "ALIGN_CORNERS": True, "UNALIGN_CORNERS": False}
"""Rules that PyTorch also has, by its `align_corners`. PyTorch computes them, for the same last bit."""


def resize_bilinear(x: Tensor, size: tuple[int, int], rule: str) -> Tensor:
    """Resize (N, C, h, w) to (N, C, *size). Raises ValueError for an unknown rule, or a size without pixels."""
    if rule not in RULES:
        raise ValueError(f"unknown sampling mode {rule!r}; known are {', '.join(RULES)}")
    if x.dim() != 4 or min(size) < 1:
        raise ValueError(f"cannot resize {tuple(x.shape)} to {size}")
    if rule in _OF_TORCH and min(size) > 1:
        return F.interpolate(x, size, mode="bilinear", align_corners=_OF_TORCH[rule])
    return resize_by_rule(x, size, RULES[rule])


def resize_by_rule(x: Tensor, size: tuple[int, int], rule: Rule) -> Tensor:
    """Resize by any rule: columns first, then rows, each a mean of two weighted by distance."""
    for axis, length in ((3, size[1]), (2, size[0])):
        last = x.shape[axis] - 1
        place = rule(x.shape[axis], length, torch.arange(length, dtype=torch.float32, device=x.device)).clamp(0, last)
        lower = place.floor().long()
        weight = (place - lower).reshape(-1, *[1] * (3 - axis))
        upper = (lower + 1).clamp(max=last)
        x = x.index_select(axis, lower) * (1 - weight) + x.index_select(axis, upper) * weight
    return x


Sides = tuple[int, int, int, int]
"""Rows above and below, columns left and right."""

_HEAVY = {"same": 0, "same_lower": 1}
"""The side that gets one more if the padding is odd: 0 for below and right, 1 for above and left."""


def amounts(
    pad_type: str,
    pad: Sequence[int],
    x: Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Sides:
    """Return the padding of each side, by its name. `pad` holds the numbers for `custom`.

    Raises:
        ValueError: invalid values, or more padding than the kernel reaches: a file of few bytes could pad to any size.
    """
    if x.dim() != 4 or not len(kernel) == len(strides) == len(dilations) == 2:
        raise ValueError(f"only images are known here, (N, C, H, W), and not {tuple(x.shape)}")
    if min(*kernel, *strides, *dilations) < 1:
        raise ValueError(f"kernel {kernel}, strides {strides} and dilations {dilations} must be at least 1")
    if pad_type == "valid":
        return 0, 0, 0, 0
    if pad_type == "custom":
        if len(pad) != 4 or min(pad) < 0:
            raise ValueError(f"padding {pad} is not four numbers from 0 on")
        reach = [(window - 1) * dilation + 1 for window, dilation in zip(kernel, dilations, strict=True)]
        top, bottom, left, right = pad
        if max(top, bottom) > reach[0] or max(left, right) > reach[1]:
            raise ValueError(f"padding {pad} reaches farther than the kernel, {reach}")
        return top, bottom, left, right
    if pad_type not in _HEAVY:
        raise ValueError(f"unknown pad_type {pad_type!r}; known are valid, custom, {', '.join(_HEAVY)}")
    sides: list[int] = []
    for length, window, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max(0, (-(-length // stride) - 1) * stride + (window - 1) * dilation + 1 - length)
        before = (total + _HEAVY[pad_type]) // 2
        sides += [before, total - before]
    return sides[0], sides[1], sides[2], sides[3]


def symmetric(sides: Sides) -> tuple[int, int]:
    """Return the rows and columns on either side. Raises ValueError if one side has more than the other."""
    top, bottom, left, right = sides
    if top != bottom or left != right:
        raise ValueError(f"padding {sides} differs from one side to the other, which pools do not have here")
    return top, left


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    sides: Sides,
    strides: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> Tensor:
    """Convolve with this padding on each side."""
    top, bottom, left, right = sides
    if top == bottom and left == right:
        return F.conv2d(x, weight, bias, tuple(strides), (top, left), tuple(dilations), groups)
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, tuple(strides), 0, tuple(dilations), groups)


Index = int | slice


def indices(
    rank: int,
    begin: Sequence[int],
    end: Sequence[int],
    stride: Sequence[int] | None,
    begin_mask: Sequence[bool] | None,
    end_mask: Sequence[bool] | None,
    squeeze_mask: Sequence[bool] | None,
) -> tuple[Index, ...]:
    """Return the index expression of a slice. None is a default: strides of 1, no mask.

    Raises:
        ValueError: a list does not have one element per axis, or a stride is not positive.
    """
    steps = stride or [1] * rank
    no_begin, no_end, squeezed = (mask or [False] * rank for mask in (begin_mask, end_mask, squeeze_mask))
    if any(len(each) != rank for each in (begin, end, steps, no_begin, no_end, squeezed)) or min(steps) < 1:
        raise ValueError(f"a slice from {begin} to {end} by {steps} does not fit {rank} axes")
    return tuple(
        first if alone else slice(None if from_start else first, None if to_end else last, step)
        for first, last, step, from_start, to_end, alone in zip(
            begin, end, steps, no_begin, no_end, squeezed, strict=True
        )
    )
