"""Refuse sizes whose internal size is not whole, for formats that resize by the quotient of two sizes."""

from exporters.spec import Fixed, SpecError


def refuse_fractions(size: Fixed, title: str) -> None:
    """Raise SpecError if ratio times size is no whole number of pixels. `title` is the format's, for the message."""
    height, width = size.height * size.ratio, size.width * size.ratio
    if height.is_integer() and width.is_integer():
        return
    below, above = ([_nearest(side, size.ratio, step) for side in (size.width, size.height)] for step in (-1, 1))
    near = " or ".join(f"{w}x{h}" for w, h in (below, above) if w and h)
    raise SpecError(
        f"{size.width}x{size.height} at ratio {size.ratio:g} is {width:g}x{height:g} inside, and {title} needs whole "
        f"numbers; give {near or 'a rounder ratio, such as 0.375'}"
    )


def _nearest(side: int, ratio: float, step: int) -> int | None:
    """Return the nearest side, upwards or downwards by `step`, that gives a whole number inside, or None."""
    for near in range(side, side + step * side, step):
        if (near * ratio).is_integer():
            return near
    return None
