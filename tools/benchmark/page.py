"""`benchmark.html`, the page of all rows: one file, without scripts, that loads nothing from elsewhere."""

from exporters.support.licence import LICENCE, SOURCE
from tools.benchmark.chart import describe, draw_charts
from tools.benchmark.report import COLUMNS
from tools.benchmark.rows import Benchmark
from tools.pages.render import render

NAME = "benchmark.html"


def to_html(benchmark: Benchmark) -> str:
    """Return the page. The same benchmark gives the same bytes."""
    return render(
        "tools.benchmark",
        "page.html.jinja",
        benchmark=benchmark,
        conditions=benchmark.conditions,
        rows=benchmark.rows,
        proved=[row for row in benchmark.rows if row.status == "ok"],
        missing=[row for row in benchmark.rows if row.status in ("skipped", "not installed")],
        charts=[(title, describe(benchmark, title), chart) for title, chart in draw_charts(benchmark).items()],
        columns=COLUMNS,
        licence=LICENCE,
        source=SOURCE,
    )
