"""The report's charts: errors over a clip's frames."""

from typing import Literal

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from parity_tests.compare import NAMES
from parity_tests.verify import ParityReport
from tools.pages.svg import COLOURS, draw_svg

SERIES = {"fgr": NAMES[:1], "pha": NAMES[1:2], "states": NAMES[2:]}
"""The outputs of each line: for the states, the worst in each frame."""

Kind = Literal["max", "mean"]

_SIZE = 4.2, 2.2


def plot(report: ParityReport, kind: Kind) -> Markup:
    """Draw a line each for fgr, pha and states, on a logarithmic scale, with its limit dashed. Zeros are left out.

    Return an empty text if nothing differs in any frame.
    """
    return draw_svg(f"{report.name} {kind}", _SIZE, lambda axes: _draw(axes, report, kind))


def _draw(axes: Axes, report: ParityReport, kind: Kind) -> bool:
    """Draw the chart. Return whether there was anything to draw."""
    drawn = False
    for series, names in SERIES.items():
        drifts = [report.comparison.outputs[name] for name in names if name in report.comparison.outputs]
        if not drifts:
            continue
        frames = np.array([drift.frame_max if kind == "max" else drift.frame_mean for drift in drifts]).max(axis=0)
        errors = np.where(frames > 0, frames, np.nan)
        if np.isfinite(errors).any():
            axes.plot(errors, color=COLOURS[series], linewidth=1.6)
            drawn = True
        limits = [report.limits[name] for name in names if name in report.limits]
        limit = max(each.max_abs if kind == "max" else each.mean_abs for each in limits)
        if not (series != "states" and limit >= 1):  # larger than any difference of colours or opacity
            axes.axhline(limit, color=COLOURS[series], linewidth=1, linestyle=(0, (5, 3)))
    axes.set_yscale("log")
    axes.set_xlim(0, max(1, report.comparison.frames - 1))
    axes.set_xlabel("frame", color=COLOURS["ink"])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}".replace("e-0", "e-"))
    axes.minorticks_off()
    axes.grid(axis="y", color=COLOURS["rule"], linewidth=0.7)
    axes.tick_params(colors=COLOURS["ink"], length=0, labelcolor=COLOURS["ink"])
    axes.spines[:].set_visible(False)
    axes.spines["bottom"].set(visible=True, color=COLOURS["rule"])
    return drawn
