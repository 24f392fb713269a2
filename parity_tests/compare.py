"""Compare a candidate's outputs with the reference's: numbers per output and frame."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parity_tests.judging.drift import Drift, DriftTally

FrameOutputs = Mapping[str, NDArray[np.floating]]
"""Outputs of one frame: fgr, pha (or one of them) and r1..r4, each (B, C, H, W)."""

NAMES = ("fgr", "pha", "r1", "r2", "r3", "r4")


@dataclass(frozen=True, kw_only=True)
class AlphaMetrics:
    """Error of alpha against the reference's, in [0, 1] units; NaN if a file gives no alpha.

    Papers print MAD and MSE times 1e3, dtSSD times 1e2.

    Source: Erofeev et al., "Perceptually motivated benchmark for video matting", BMVC 2015, for dtSSD.
    """

    mad: float
    mse: float
    dtssd: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The figures of a comparison. It holds when `failures`, sentences for people, is empty.

    `moved` is the largest change of an output from one frame to the next, as the mean over its values. A failure of one
    output begins with its name.
    """

    frames: int
    outputs: Mapping[str, Drift]
    moved: Mapping[str, float]
    alpha: AlphaMetrics
    failures: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.failures

    def failures_of(self, output: str | None) -> tuple[str, ...]:
        """Return the failures of one compared output, or for None the failures that belong to no output."""
        return tuple(
            failure
            for failure in self.failures
            if output == next((name for name in self.outputs if failure.startswith(f"{name} ")), None)
        )


def compare(
    reference: Iterable[FrameOutputs],
    candidate: Iterable[FrameOutputs],
    watch: Callable[[FrameOutputs, FrameOutputs], None] | None = None,
    slack: Mapping[str, float] | None = None,
) -> Comparison:
    """Measure how far a candidate's outputs are from the reference's, frame by frame.

    Sides that cannot be compared (other names, shapes or kinds of numbers) are failures. `judge.py` adds the figures
    beyond their limits.

    Args:
        reference: Outputs of every frame in order, float64.
        candidate: The other side's outputs, any float dtype; as many frames.
        watch: Called with both sides of every frame that can be compared.
        slack: By output, the error that does not count, such as the rounding to bytes; 0 for outputs it does not name.

    Raises:
        ValueError: no frames, or more on one side.
    """
    slack = slack or {}
    tallies: dict[str, DriftTally] = {}
    alpha = AlphaTally()
    failures: list[str] = []
    frames = 0
    for expected, given in zip(reference, candidate, strict=True):
        unlike = _unlike(expected, given)
        if unlike:
            failures.append(f"frame {frames}: {unlike}")
            break
        if watch is not None:
            watch(expected, given)
        for name in expected:
            tallies.setdefault(name, DriftTally(slack.get(name, 0))).add(expected[name], _widened(given[name]))
        if "pha" in expected:
            alpha.add(expected["pha"], given["pha"])
        frames += 1
    if not frames and not failures:
        raise ValueError("nothing was compared: the clip has no frames")
    return Comparison(
        frames=frames,
        outputs={name: tally.drift() for name, tally in tallies.items()},
        moved={name: tally.moved for name, tally in tallies.items()},
        alpha=alpha.metrics(),
        failures=tuple(failures),
    )


def _widened(array: NDArray[np.floating]) -> NDArray[np.floating]:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _unlike(expected: FrameOutputs, given: FrameOutputs) -> str | None:
    """Return why two frames cannot be compared (other names or shapes, numbers that are no floats), or None."""
    if list(given) != list(expected):
        return f"outputs {', '.join(given)} instead of {', '.join(expected)}"
    for name in expected:
        if given[name].shape != expected[name].shape:
            return f"{name} has shape {given[name].shape} instead of {expected[name].shape}"
    if len({given[name].dtype for name in NAMES[2:] if name in given}) != 1 or not all(
        np.issubdtype(array.dtype, np.floating) for array in given.values()
    ):
        return f"dtypes {', '.join(str(given[name].dtype) for name in given)}"
    return None


class AlphaTally:
    """Running figures of alpha as the matting literature defines them."""

    def __init__(self) -> None:
        self.mad: list[float] = []
        self.mse: list[float] = []
        self.dtssd: list[float] = []
        self._before: NDArray[np.float64] | None = None

    def add(self, expected: NDArray[np.floating], given: NDArray[np.floating]) -> None:
        """Compare one frame's alpha with the reference's."""
        error = given.astype(np.float64) - expected
        self.mad.append(float(np.abs(error).mean()))
        self.mse.append(float((error**2).mean()))
        if self._before is not None:
            # The difference of the two temporal differences is the temporal difference of the error.
            self.dtssd.append(math.sqrt(((error - self._before) ** 2).mean()))
        self._before = error

    def metrics(self) -> AlphaMetrics:
        """Return the means over the frames so far."""
        mad, mse, dtssd = (
            float(np.mean(values)) if values else math.nan for values in (self.mad, self.mse, self.dtssd)
        )
        return AlphaMetrics(mad=mad, mse=mse, dtssd=dtssd)
