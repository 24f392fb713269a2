"""Errors over a clip's frames, as SVG to stand in a page: its colours are the page's, in any colour scheme."""

import hashlib
import io
import re
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from parity_tests.compare import NAMES
from parity_tests.verify import ParityReport

SERIES = {"fgr": NAMES[:1], "pha": NAMES[1:2], "states": NAMES[2:]}
"""What is drawn as one line: of the states the worst, frame by frame."""

Kind = Literal["max", "mean"]

# Any colours that nothing else has: each becomes a variable of the page's style sheet.
_COLOURS = {"fgr": "#000001", "pha": "#000002", "states": "#000003", "ink": "#000004", "rule": "#000005"}
_SIZE = 4.2, 2.2  # inches, of 72 units: as large as it is shown on a phone
_NAMELESS = {"Date": None, "Creator": None, "Format": None, "Type": None}
# Ids that nothing refers to would be there twice in a page of several; a style sheet would be for the whole page.
_SUPERFLUOUS = re.compile(
    r' id="[a-zA-Z][\w.]*_\d+"|<defs>\s*<style.*?</style>\s*</defs>\s*| xmlns(:\w+)?="[^"]*"', re.DOTALL
)


def plot(report: ParityReport, kind: Kind) -> str:
    """A line for fgr, pha and states each, on a logarithmic scale, with its limit dashed. What is 0 is left out.

    Empty where nothing differs at all, in any frame.
    """
    salt = hashlib.sha256(f"{report.name} {kind}".encode()).hexdigest()
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever this machine's matplotlibrc says
        mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 9.5})
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        if not _draw(axes, report, kind):
            return ""
        file = io.BytesIO()
        figure.savefig(file, format="svg", transparent=True, metadata=_NAMELESS)
    svg = _SUPERFLUOUS.sub("", file.getvalue().decode())
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg[svg.index("<svg") :]


def _draw(axes: Axes, report: ParityReport, kind: Kind) -> bool:
    """Whether there was anything to draw."""
    drawn = False
    for series, names in SERIES.items():
        drifts = [report.comparison.outputs[name] for name in names if name in report.comparison.outputs]
        if not drifts:
            continue
        frames = np.array([drift.frame_max if kind == "max" else drift.frame_mean for drift in drifts]).max(axis=0)
        errors = np.where(frames > 0, frames, np.nan)
        if np.isfinite(errors).any():
            axes.plot(errors, color=_COLOURS[series], linewidth=1.6)
            drawn = True
        limits = [report.limits[name] for name in names if name in report.limits]
        limit = max(each.max_abs if kind == "max" else each.mean_abs for each in limits)
        if not (series != "states" and limit >= 1):  # beyond what colours and opacity can differ
            axes.axhline(limit, color=_COLOURS[series], linewidth=1, linestyle=(0, (5, 3)))
    axes.set_yscale("log")
    axes.set_xlim(0, max(1, report.comparison.frames - 1))
    axes.set_xlabel("frame", color=_COLOURS["ink"])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}".replace("e-0", "e-"))
    axes.minorticks_off()
    axes.grid(axis="y", color=_COLOURS["rule"], linewidth=0.7)
    axes.tick_params(colors=_COLOURS["ink"], length=0, labelcolor=_COLOURS["ink"])
    axes.spines[:].set_visible(False)
    axes.spines["bottom"].set(visible=True, color=_COLOURS["rule"])
    return drawn
