"""Slices as CoreML says them: begins, ends and strides for every axis, and masks that void them."""

from collections.abc import Sequence

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
    """What stands between brackets. None is a default: strides of 1, no mask.

    Raises:
        ValueError: not one of each for every axis, or a stride that is not positive.
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
