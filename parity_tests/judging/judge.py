"""The verdict: every figure of every output against its limit, a multiple of the yardstick's own error."""

from collections.abc import Iterator, Mapping

from parity_tests.compare import Comparison
from parity_tests.judging.drift import Error
from parity_tests.judging.limits import FACTORS, FLOOR, MOST_SATURATED, STATISTICS, WIDEST_INT8, Statistic

_WORDS = {"max": "the largest error", "mean": "the mean error", "high": "the 99.9 % quantile of the error"}


def limits_of(units: Mapping[str, Error], precision: str) -> dict[str, Error]:
    """Return the largest errors that pass, by output.

    Args:
        units: The yardstick's errors, from `with_floor`.
        precision: The artifact's.
    """
    return {
        name: _error({each: FACTORS[precision, each].limit * figure(unit, each) for each in STATISTICS})
        for name, unit in units.items()
    }


def with_floor(units: Mapping[str, Error]) -> dict[str, Error]:
    """Return the yardstick's errors plus a few units in the last place, for outputs that it gets exactly right."""
    return {
        name: _error({each: figure(unit, each) + figure(FLOOR, each) for each in STATISTICS})
        for name, unit in units.items()
    }


def multiples(error: Error, unit: Error) -> dict[Statistic, float]:
    """Return an error as multiples of the yardstick's, by statistic."""
    return {each: figure(error, each) / figure(unit, each) for each in STATISTICS}


def failures(
    comparison: Comparison, units: Mapping[str, Error], limits: Mapping[str, Error], precision: str, trained: bool
) -> Iterator[str]:
    """Yield a sentence for each output that misses a limit, or that moves too little to prove anything."""
    for name, drift in comparison.outputs.items():
        limit = limits[name]
        # All must hold, and a NaN must fail.
        missed = [each for each in STATISTICS if not figure(drift, each) <= figure(limit, each)]
        if missed:
            times = multiples(drift, units[name])
            worst = max(missed, key=lambda each: (times[each] != times[each], times[each] / _factor(precision, each)))
            frame, batch, channel, y, x = drift.worst_at
            yield (
                f"{name} is off by {times[worst]:.3g} times PyTorch's own rounding, {_factor(precision, worst):g} "
                f"times pass: {_WORDS[worst]} is {figure(drift, worst):.1e}, PyTorch's "
                f"{figure(units[name], worst):.1e}; worst in frame {frame} at x {x}, y {y}, channel {channel}"
                + (f", of clip {batch}" if batch else "")
            )
        if not comparison.moved[name] > limit.mean_abs:
            yield (
                f"{name} changes by {comparison.moved[name]:.1e} from frame to frame at most, no more than its limit "
                f"({limit.mean_abs:.1e}), so that its agreement proves nothing; compare on a clip with more motion"
            )
    if precision == "int8" and trained and "pha" in comparison.outputs:
        alpha = comparison.alpha
        for what, given, bound in (("mean", alpha.mad, WIDEST_INT8.mad), ("dtSSD", alpha.dtssd, WIDEST_INT8.dtssd)):
            if not given <= bound:
                yield f"pha is off by {given:.1e} ({what}), and a file in eight bits may be off by {bound:.1e}"


def saturation_failures(saturated: Mapping[str, float]) -> Iterator[str]:
    """Yield a sentence if values exceed a file's eight-bit ranges. The yardstick has them too, so cannot show it."""
    beyond = {name: share for name, share in saturated.items() if not share <= MOST_SATURATED}
    if beyond:
        worst = max(beyond, key=lambda name: beyond[name])
        yield (
            f"{beyond[worst]:.2%} of {worst} lies beyond the range that the file has for it, {MOST_SATURATED:.2%} may; "
            "calibrate with frames like these (--calibration)"
        )


def figure(error: Error, statistic: Statistic) -> float:
    """Return one of an error's figures."""
    value: float = getattr(error, f"{statistic}_abs")
    return value


def _factor(precision: str, statistic: Statistic) -> float:
    return FACTORS[precision, statistic].limit


def _error(figures: Mapping[Statistic, float]) -> Error:
    return Error(max_abs=figures["max"], mean_abs=figures["mean"], high_abs=figures["high"])
