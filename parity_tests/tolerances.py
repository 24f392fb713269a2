"""How far a format may drift from fp32 PyTorch over a clip, in [0, 1] colour units (1/255 is one 8-bit level).

A row holds what was measured, the worst over all plays of `make soak`; the limit is three times that. Foreground, alpha
and states have figures of their own.
"""

from dataclasses import dataclass
from typing import Literal

HEADROOM = 3

Sampling = Literal["exact", "rounded"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a row speaks of. `weights` are `trained` or `seeded`; for `sampling` see the function of that name."""

    format: str
    precision: str
    refiner: str
    weights: str
    sampling: Sampling

    def __str__(self) -> str:
        return "-".join((self.format, self.precision, self.refiner, self.weights, self.sampling))


@dataclass(frozen=True)
class Error:
    """Largest and mean absolute error of an output over a clip."""

    max_abs: float
    mean_abs: float


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Measured errors. `states` is the worst of r1..r4."""

    fgr: Error
    pha: Error
    states: Error
    why: str

    def limit(self, output: str) -> Error:
        """What an output named as in `compare.NAMES` may have."""
        measured = {"fgr": self.fgr, "pha": self.pha}.get(output, self.states)
        return Error(HEADROOM * measured.max_abs, HEADROOM * measured.mean_abs)


def sampling(downsample_ratio: float) -> Sampling:
    """`exact` where 1 / ratio is a multiple of 1/8 (1, .8, .5, .4, .25, ...), else `rounded`.

    Where it is, every runtime samples the source at the very same points. Elsewhere (.375, .3, .7) the coordinates are
    rounded, by each runtime in its own way, and the network carries the difference on.
    """
    steps = 8 / downsample_ratio
    return "exact" if abs(steps - round(steps)) < 1e-9 else "rounded"


TOLERANCES: dict[Case, Tolerance] = {}
for _f in ("onnx", "torchscript"):
    for _p in ("fp32", "fp16"):
        for _r in ("deep_guided_filter", "fast_guided_filter"):
            for _w in ("trained", "seeded"):
                for _s in ("exact", "rounded"):
                    _e = Error(1e-4, 1e-5) if _p == "fp32" else Error(0.3, 3e-3)
                    TOLERANCES[Case(format=_f, precision=_p, refiner=_r, weights=_w, sampling=_s)] = Tolerance(
                        fgr=_e, pha=_e, states=_e, why="provisional"
                    )
