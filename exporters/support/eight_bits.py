"""Round values of a known range to eight bits."""

import math

from exporters.layers import Step

_STEP_BITS = 8


def step_for(least: float, greatest: float) -> Step:
    """Return the step for a range, extended to zero: convolutions pad with zero, which has to be exact."""
    least, greatest = min(least, 0.0), max(greatest, 0.0)
    scale = _rounded_up((greatest - least) / 255) or 1.0
    return Step(scale=scale, zero=round(-least / scale))


def _rounded_up(number: float) -> float:
    """Round up to few bits: the last bits differ between processors, and the same weights should give the same file.

    This is likely, not certain: an end right beside such a step, or a zero right between two, may fall to either side.
    """
    mantissa, exponent = math.frexp(number)
    return math.ldexp(math.ceil(mantissa * 2**_STEP_BITS), exponent - _STEP_BITS)
