"""Measure how far one output is off over a clip, in constant memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HIGH = 0.999
"""The quantile beside the maximum. A single value on a discontinuity decides the maximum, but not the quantile."""

_KEPT_BITS = 16
"""The bits of a float32 that choose its bin: sign, exponent, seven of the mantissa. A bin is 0.8 % wide."""


@dataclass(frozen=True, kw_only=True)
class Error:
    """Absolute error of an output over a clip: largest, mean, and 99.9 % quantile."""

    max_abs: float
    mean_abs: float
    high_abs: float


@dataclass(frozen=True, kw_only=True)
class Drift(Error):
    """An error over a clip and by frame, and where it is worst (frame, then B, C, y, x)."""

    frame_max: tuple[float, ...]
    frame_mean: tuple[float, ...]
    worst_at: tuple[int, ...]


class DriftTally:
    """The errors of one output, collected frame by frame."""

    def __init__(self, slack: float = 0) -> None:
        """Start with no frames. Errors count from `slack` on: half a level if a file gives bytes."""
        self.moved = 0.0
        self._slack = slack
        self._frame_max: list[float] = []
        self._frame_mean: list[float] = []
        self._frame_worst: list[tuple[int, ...]] = []
        self._histogram = np.zeros(1 << _KEPT_BITS, np.int64)
        self._before: NDArray[np.floating] | None = None

    def add(self, expected: NDArray[np.floating], given: NDArray[np.floating]) -> None:
        """Compare one frame. Both sides have the same shape; `expected` is float64."""
        error = np.abs(given - expected)
        if self._slack:
            error = np.maximum(error - self._slack, 0)
        self._frame_max.append(float(error.max()))
        self._frame_worst.append(tuple(int(i) for i in np.unravel_index(error.argmax(), error.shape)))
        self._frame_mean.append(float(error.mean(dtype=np.float64)))
        bits = np.ascontiguousarray(error, np.float32).view(np.uint32).ravel() >> (32 - _KEPT_BITS)
        self._histogram += np.bincount(bits, minlength=1 << _KEPT_BITS)
        if self._before is not None:
            self.moved = max(self.moved, float(np.abs(given - self._before).mean()))
        self._before = given

    def drift(self) -> Drift:
        """Return the figures so far. One NaN among the errors makes all three NaN."""
        frame = int(np.argmax(self._frame_max))  # the first NaN, if there is one
        worst = float(np.max(self._frame_max))
        return Drift(
            max_abs=worst,
            mean_abs=float(np.mean(self._frame_mean)),
            high_abs=min(self._quantile(), worst) if worst == worst else worst,
            frame_max=tuple(self._frame_max),
            frame_mean=tuple(self._frame_mean),
            worst_at=(frame, *self._frame_worst[frame]),
        )

    def _quantile(self) -> float:
        """Return the upper end of the bin in which the quantile lies."""
        counts = self._histogram.cumsum()
        index = int(np.searchsorted(counts, HIGH * counts[-1]))
        end = np.array((index << (32 - _KEPT_BITS)) | ((1 << (32 - _KEPT_BITS)) - 1), np.uint32)
        return float(end.view(np.float32)) if index else 0.0
