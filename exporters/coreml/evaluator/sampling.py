"""Bilinear resize, by the five rules that CoreML has for where an output pixel looks.

Coordinates are computed in float32, as PyTorch computes them: the refiner amplifies what differs.
Source: notes of `resize_bilinear` in coremltools' operations for iOS 15.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Rule = Callable[[int, int, Tensor], Tensor]
"""Length before, length after, and indices of the pixels after, to places among those before."""


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
"""Rules that PyTorch has as well, by its `align_corners`: taken from there, for the same last bit."""


def resize_bilinear(x: Tensor, size: tuple[int, int], rule: str) -> Tensor:
    """(N, C, h, w) to (N, C, *size). Raises ValueError for a rule that is none, or a size without pixels."""
    if rule not in RULES:
        raise ValueError(f"unknown sampling mode {rule!r}; known are {', '.join(RULES)}")
    if x.dim() != 4 or min(size) < 1:
        raise ValueError(f"cannot resize {tuple(x.shape)} to {size}")
    if rule in _OF_TORCH and min(size) > 1:
        return F.interpolate(x, size, mode="bilinear", align_corners=_OF_TORCH[rule])
    return resize_by_rule(x, size, RULES[rule])


def resize_by_rule(x: Tensor, size: tuple[int, int], rule: Rule) -> Tensor:
    """The same, whatever the rule: columns first, then rows, each a mean of two weighted by distance."""
    for axis, length in ((3, size[1]), (2, size[0])):
        last = x.shape[axis] - 1
        place = rule(x.shape[axis], length, torch.arange(length, dtype=torch.float32, device=x.device)).clamp(0, last)
        lower = place.floor().long()
        weight = (place - lower).reshape(-1, *[1] * (3 - axis))
        upper = (lower + 1).clamp(max=last)
        x = x.index_select(axis, lower) * (1 - weight) + x.index_select(axis, upper) * weight
    return x
