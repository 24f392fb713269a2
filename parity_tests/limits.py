"""How many times PyTorch's own rounding an artifact may be off: the one table of limits.

An artifact and PyTorch in the artifact's own arithmetic play the same clip, each feeding back its own states, and both
are compared with float64.
"""

from dataclasses import dataclass
from typing import Literal

from parity_tests.drift import Error

Statistic = Literal["max", "mean", "high"]
STATISTICS: tuple[Statistic, ...] = ("max", "mean", "high")
"""Over all values of an output and all frames: largest, mean, and 99.9 % quantile of the absolute error."""


@dataclass(frozen=True)
class Factor:
    """The largest multiple of the yardstick that passes; `worst` is the largest that a good file showed."""

    limit: float
    worst: float
    why: str


@dataclass(frozen=True)
class AlphaBound:
    """Bounds on alpha against float64 that hold whatever the yardstick says, in [0, 1] units."""

    mad: float
    dtssd: float


FACTORS: dict[tuple[str, Statistic], Factor] = {
    ("fp32", "max"): Factor(10, 4.58, why="the fast guided filter divides by nearly nothing in a few pixels"),
    ("fp32", "mean"): Factor(5, 3.43, why="WebAssembly sums one after another, PyTorch in blocks; elsewhere 1.86"),
    ("fp32", "high"): Factor(5, 1.72, why="WebAssembly sums one after another, PyTorch in blocks"),
    ("fp16", "max"): Factor(10, 1.47, why="the fast guided filter divides by nearly nothing in a few pixels"),
    ("fp16", "mean"): Factor(2.5, 1.47, why="a runtime rounds to half precision after more or fewer operations"),
    ("fp16", "high"): Factor(2.5, 1.2, why="a runtime rounds to half precision after more or fewer operations"),
    ("int8", "max"): Factor(10, 1.23, why="a value between two of the 256 levels may fall to either"),
    ("int8", "mean"): Factor(2, 1.08, why="the yardstick has the same levels, so that little is left to differ"),
    ("int8", "high"): Factor(2, 1.08, why="the yardstick has the same levels, so that little is left to differ"),
}
"""By the artifact's precision and the statistic. `worst` is the largest of `tools/results/random_exports_cpu.csv`."""

FLOOR = Error(max_abs=2**-22, mean_abs=2**-30, high_abs=2**-23)
"""What is added to the yardstick's error: two and one units in the last place of a float32 at 1. Little in the mean,
since most of a matte is exactly 0 or 1."""

WIDEST_INT8 = AlphaBound(mad=5e-3, dtssd=2e-2)
"""For trained weights in eight bits: what a user can rely on."""

MOST_SATURATED = 3e-3
"""Of a frame's values in eight bits, those more than a step beyond their range. Good files had 5.3e-4 at most (real and
built-in clip, 320x180 to 1280x720); of two files with half of a range, one image had 5.4e-3 and one state .56."""
