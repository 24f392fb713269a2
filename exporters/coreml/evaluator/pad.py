"""Padding of convolutions and pools, by the words that CoreML has for it."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

Sides = tuple[int, int, int, int]
"""Rows above and below, columns left and right."""

_HEAVY = {"same": 0, "same_lower": 1}
"""Which side gets one more where the padding is odd: below and right, or above and left."""


def amounts(
    pad_type: str,
    pad: Sequence[int],
    x: Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Sides:
    """Of padding by its name, `pad` being what `custom` gives.

    Raises:
        ValueError: what makes no sense, or more than the kernel reaches: a file of few bytes could pad to any size.
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
    """Rows and columns on either side. Raises ValueError if one side has more than the other."""
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
    """A convolution, its padding on each side as given."""
    top, bottom, left, right = sides
    if top == bottom and left == right:
        return F.conv2d(x, weight, bias, tuple(strides), (top, left), tuple(dilations), groups)
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, tuple(strides), 0, tuple(dilations), groups)
