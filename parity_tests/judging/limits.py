"""The table of all limits: multiples of PyTorch's own rounding by which an artifact may be off.

An artifact and PyTorch in the artifact's own arithmetic play the same clip, each feeding back its own states, and both
are compared with float64.
"""

from dataclasses import dataclass
from typing import Literal

from parity_tests.judging.drift import Error

Statistic = Literal["max", "mean", "high"]
STATISTICS: tuple[Statistic, ...] = ("max", "mean", "high")
"""The absolute error over all values of an output and all frames: largest, mean, and 99.9 % quantile."""


@dataclass(frozen=True)
class Factor:
    """The largest multiple of the yardstick that passes; `worst` is the largest that a good file showed."""

    limit: float
    worst: float
    why: str


@dataclass(frozen=True)
class AlphaBound:
    """Bounds on alpha's error against float64, in [0, 1] units, which hold regardless of the yardstick."""

    mad: float
    dtssd: float


FACTORS: dict[tuple[str, Statistic], Factor] = {
    ("fp32", "max"): Factor(10, 4.58, why="the fast guided filter divides by nearly nothing in a few pixels"),
    ("fp32", "mean"): Factor(5, 3.09, why="WebAssembly sums one after another, PyTorch in blocks; 3.43 in ResNet50"),
    ("fp32", "high"): Factor(5, 2.9, why="WebAssembly sums one after another, PyTorch in blocks; LiteRT is the worst"),
    ("fp16", "max"): Factor(4, 1.5, why="the fast guided filter divides by nearly nothing in a few pixels"),
    ("fp16", "mean"): Factor(2.5, 1.15, why="a runtime rounds to half precision after more or fewer operations"),
    ("fp16", "high"): Factor(2.5, 1.21, why="a runtime rounds to half precision after more or fewer operations"),
    ("int8", "max"): Factor(5.5, 1.97, why="a value between two of the 256 levels may fall to either"),
    ("int8", "mean"): Factor(2, 1.28, why="the yardstick has the same levels, so that little is left to differ"),
    ("int8", "high"): Factor(2, 1.39, why="the yardstick has the same levels, so that little is left to differ"),
}
"""Factors by precision and statistic. `worst` is the largest of `tools/measure/results/random_exports_cpu.csv`."""

FLOOR = Error(max_abs=2**-22, mean_abs=2**-30, high_abs=2**-23)
"""Added to the yardstick's error, for outputs that PyTorch gets exactly right. The maximum gets two units in the last
place of a float32 at 1, the quantile one. The mean gets little, since most of a matte is exactly 0 or 1."""

WIDEST_INT8 = AlphaBound(mad=2e-2, dtssd=5e-2)
"""Bounds that users of trained weights in eight bits can rely on. The worst good file had 1.4e-2 (64x116 at .5, CoreML)
and 2.1e-2 (91x144 at .6, TensorFlow.js)."""

MOST_SATURATED = 1e-2
"""The share of a frame's values in eight bits that may lie more than a step beyond their range. The worst good file had
5.0e-3. A file whose state has half of its range had .56."""
