"""Two plays of one clip held against each other: numbers per output and frame, and a verdict."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parity_tests.tolerances import Tolerance

FrameOutputs = Mapping[str, NDArray[np.floating]]
"""fgr, pha (or one of them) and r1..r4 of one frame, each (B, C, H, W)."""

NAMES = ("fgr", "pha", "r1", "r2", "r3", "r4")


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Absolute error of one output: over the clip, frame by frame, and where it is worst (frame, then B, C, y, x)."""

    max_abs: float
    mean_abs: float
    frame_max: tuple[float, ...]
    frame_mean: tuple[float, ...]
    worst_at: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class AlphaMetrics:
    """Against the reference's alpha, in [0, 1] units; NaN where a file gives none.

    Papers print MAD and MSE times 1e3, dtSSD times 1e2.

    Source: Erofeev et al., "Perceptually motivated benchmark for video matting", BMVC 2015, for dtSSD.
    """

    mad: float
    mse: float
    dtssd: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result. It holds when `failures`, sentences for people, is empty.

    A failure of one output begins with its name.
    """

    frames: int
    outputs: Mapping[str, Drift]
    alpha: AlphaMetrics
    failures: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.failures

    def failures_of(self, output: str | None) -> tuple[str, ...]:
        """Those of one output that was compared; None for those of none of them."""
        return tuple(
            failure
            for failure in self.failures
            if output == next((name for name in self.outputs if failure.startswith(f"{name} ")), None)
        )


def compare(
    reference: Iterable[FrameOutputs],
    candidate: Iterable[FrameOutputs],
    tolerance: Tolerance | None,
    watch: Callable[[FrameOutputs, FrameOutputs], None] | None = None,
) -> Comparison:
    """Hold a candidate's outputs against the reference's, frame by frame.

    Args:
        reference: Outputs of every frame in order, float32.
        candidate: The same from the other side, any float dtype; as many frames.
        tolerance: Limits for the verdict; None measures only.
        watch: Called with both sides of every frame that can be compared.

    Raises:
        ValueError: no frames, or more on one side.
    """
    tallies: dict[str, _Tally] = {}
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
            tallies.setdefault(name, _Tally()).add(expected[name], given[name].astype(np.float32))
        if "pha" in expected:
            alpha.add(expected["pha"], given["pha"].astype(np.float32))
        frames += 1
    if not frames and not failures:
        raise ValueError("nothing was compared: the clip has no frames")

    outputs = {name: tally.drift() for name, tally in tallies.items()}
    if tolerance is not None:
        for name, drift in outputs.items():
            limit = tolerance.limit(name)
            # All must hold, and NaN holds nothing.
            if not all((drift.max_abs <= limit.max_abs, drift.mean_abs <= limit.mean_abs)):
                failures.append(
                    f"{name} drifts: max {drift.max_abs:.1e} (limit {limit.max_abs:.1e}), "
                    f"mean {drift.mean_abs:.1e} (limit {limit.mean_abs:.1e}), worst in frame {drift.worst_at[0]}"
                )
            if not tallies[name].moved > limit.mean_abs:
                failures.append(
                    f"{name} changes by {tallies[name].moved:.1e} from frame to frame at most, no more than its limit "
                    f"({limit.mean_abs:.1e}), so that its agreement proves nothing; compare on a clip with more motion"
                )
    return Comparison(frames=frames, outputs=outputs, alpha=alpha.metrics(), failures=tuple(failures))


def _unlike(expected: FrameOutputs, given: FrameOutputs) -> str | None:
    """What cannot be compared at all: other names, other shapes, numbers that are not floating point."""
    if list(given) != list(expected):
        return f"outputs {', '.join(given)} instead of {', '.join(expected)}"
    for name in expected:
        if given[name].shape != expected[name].shape:
            return f"{name} has shape {given[name].shape} instead of {expected[name].shape}"
    if len({given[name].dtype for name in NAMES[2:]}) != 1 or not all(
        np.issubdtype(array.dtype, np.floating) for array in given.values()
    ):
        return f"dtypes {', '.join(str(given[name].dtype) for name in given)}"
    return None


class _Tally:
    """Running figures of one output."""

    def __init__(self) -> None:
        self.frame_max: list[float] = []
        self.frame_mean: list[float] = []
        self.frame_worst: list[tuple[int, ...]] = []
        self.moved = 0.0
        self._before: NDArray[np.floating] | None = None

    def add(self, expected: NDArray[np.floating], given: NDArray[np.floating]) -> None:
        error = np.abs(expected - given)
        self.frame_max.append(float(error.max()))
        self.frame_worst.append(tuple(int(i) for i in np.unravel_index(error.argmax(), error.shape)))
        self.frame_mean.append(float(error.mean(dtype=np.float64)))
        if self._before is not None:
            self.moved = max(self.moved, float(np.abs(given - self._before).mean()))
        self._before = given

    def drift(self) -> Drift:
        frame = int(np.argmax(self.frame_max))  # the first NaN, if there is one
        return Drift(
            max_abs=float(np.max(self.frame_max)),
            mean_abs=float(np.mean(self.frame_mean)),
            frame_max=tuple(self.frame_max),
            frame_mean=tuple(self.frame_mean),
            worst_at=(frame, *self.frame_worst[frame]),
        )


class AlphaTally:
    """Running figures of alpha as the matting literature defines them."""

    def __init__(self) -> None:
        self.mad: list[float] = []
        self.mse: list[float] = []
        self.dtssd: list[float] = []
        self._before: NDArray[np.float64] | None = None

    def add(self, expected: NDArray[np.floating], given: NDArray[np.floating]) -> None:
        error = given.astype(np.float64) - expected
        self.mad.append(float(np.abs(error).mean()))
        self.mse.append(float((error**2).mean()))
        if self._before is not None:
            # The difference of the two temporal differences is the temporal difference of the error.
            self.dtssd.append(math.sqrt(((error - self._before) ** 2).mean()))
        self._before = error

    def metrics(self) -> AlphaMetrics:
        mad, mse, dtssd = (
            float(np.mean(values)) if values else math.nan for values in (self.mad, self.mse, self.dtssd)
        )
        return AlphaMetrics(mad=mad, mse=mse, dtssd=dtssd)
