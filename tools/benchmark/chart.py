"""The page's charts: a bar for each file, a chart for each measure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from tools.benchmark.rows import Benchmark, Quartiles, Row
from tools.pages.svg import COLOURS, draw_svg

_WIDTH, _BAR, _MARGIN = 5.6, 0.27, 0.25
_ROOM = 0.16
"""Share of a chart's width for the figure behind the longest bar."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure that a chart shows as bars.

    `start` is the beginning of the bars: at 0 the scale is linear, else logarithmic. `spread` returns the quartiles, if
    there are any.
    """

    name: str
    title: str
    value: Callable[[Row], float | None]
    digits: int
    start: float = 0
    spread: Callable[[Row], Quartiles | None] = lambda _: None


MEASURES = (
    Measure(name="size", title="Size on disk, MB", value=lambda row: row.megabytes, digits=1),
    Measure(
        name="error",
        title="Worst error, in units of PyTorch’s own rounding",  # noqa: RUF001
        value=lambda row: row.yardsticks,
        digits=2,
    ),
    Measure(
        name="time",
        title="Time for each frame, relative to the first timed file",
        value=lambda row: row.relative[1] if row.relative else None,
        digits=2,
        start=1,
        spread=lambda row: row.relative,
    ),
    Measure(name="memory", title="Peak memory, MiB", value=lambda row: row.memory, digits=0),
)


def draw_charts(benchmark: Benchmark) -> dict[str, Markup]:
    """Return a chart for each measure that any row has, by title."""
    size = _WIDTH, _MARGIN + _BAR * len(benchmark.rows)
    charts = {each.title: draw_svg(each.name, size, partial(_draw, benchmark.rows, each)) for each in MEASURES}
    return {title: chart for title, chart in charts.items() if chart}


def describe(benchmark: Benchmark, title: str) -> str:
    """Return a chart's figures as text, for readers who do not see it."""
    (measure,) = [each for each in MEASURES if each.title == title]
    return "; ".join(f"{row.label} {_said(row, measure)}" for row in benchmark.rows)


def _draw(rows: Sequence[Row], measure: Measure, axes: Axes) -> bool:
    """Draw a chart. Return whether there was anything to draw."""
    values = [_finite(measure.value(row)) for row in rows]
    known = [value for value in values if value is not None]
    if not known:
        return False
    spreads = [measure.spread(row) for row in rows]
    ends = [*known, measure.start, *(each for spread in spreads if spread for each in spread)]
    to_axis = np.log if measure.start else np.asarray
    low, high = float(to_axis(min(ends))), float(to_axis(max(ends)))
    width = (high - low) or 1.0
    start = float(to_axis(measure.start))
    for place, (row, value, spread) in enumerate(zip(rows, values, spreads, strict=True)):
        end = start if value is None else float(to_axis(value))
        bad = row.status == "failed"
        axes.barh(place, end - start, left=start, height=0.62, color=COLOURS["bad" if bad else "fgr"])
        if spread is not None:
            line = to_axis(np.array([spread[0], spread[2]]))
            axes.plot(line, [place, place], color=COLOURS["ink"], linewidth=1)
            end = max(end, float(line[1]))
        text = _said(row, measure)
        colour = "bad" if bad else "ink" if value is not None else "muted"
        axes.text(max(end, start) + width * 0.015, place, text, va="center", color=COLOURS[colour], size=9)
    axes.axvline(start, color=COLOURS["rule"], linewidth=1)
    axes.set_xlim(low - (width * 0.02 if low < start else 0), low + width * (1 + _ROOM))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_xticks([])
    axes.tick_params(length=0, labelcolor=COLOURS["ink"], labelsize=9)
    axes.spines[:].set_visible(False)
    return True


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _said(row: Row, measure: Measure) -> str:
    value = measure.value(row)
    if value is not None:
        return f"{value:,.{measure.digits}f}"
    return "not measured" if row.status == "ok" else row.status
