"""Renderings of a `BisectReport`: a JSON object for scripts, a table for people."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table

from parity_tests.bisect import BisectReport
from parity_tests.reports.parity_report import number

AROUND = 4
"""Number of points shown before and after the first that drifts."""


def to_json(report: BisectReport) -> dict[str, Any]:
    """Return every number of the report. Values that JSON cannot hold become None."""
    return {
        "artifact": str(report.artifact),
        "against": report.against,
        "variant": report.variant,
        "refiner": report.refiner,
        "precision": report.precision,
        "ok": report.ok,
        "first_drift": None if report.first is None else report.points[report.first].name,
        "threshold": report.threshold,
        "clip": report.clip,
        "height": report.size[0],
        "width": report.size[1],
        "downsample_ratio": report.ratio,
        "frames": report.frames,
        "points": [
            {
                "name": point.name,
                "max_error": number(point.max_error),
                "mean_error": number(point.mean_error),
                "shapes": point.shapes or None,
                "drifts": point.drifts,
            }
            for point in report.points
        ],
        "not_in": {side: list(names) for side, names in report.not_in.items()},
    }


def to_table(report: BisectReport, every_point: bool) -> Table:
    """Return one row per point in the network's order: all, or those around the first drift, else the last ones."""
    height, width = report.size
    last = len(report.points) - 1
    centre = last if report.first is None else report.first
    shown = range(last + 1) if every_point else range(max(centre - AROUND, 0), min(centre + AROUND, last) + 1)
    left_out = len(report.points) - len(shown)
    table = Table(
        title=f"{report.artifact.name} against {Path(report.against).name}, layer by layer: {report.clip}, "
        f"{report.frames} frames, {width}x{height}, ratio {report.ratio:g}",
        caption="errors are relative to the reference's root mean square at that point, and the mean is judged"
        + (f"; --all shows {left_out} points more" if left_out else ""),
        title_justify="left",
        caption_justify="left",
    )
    for heading in ("point", "max error", "mean error", "threshold", ""):
        table.add_column(heading, justify="left" if heading in ("point", "") else "right")
    for index in shown:
        point = report.points[index]
        table.add_row(
            point.name,
            f"{point.max_error:.1e}",
            f"{point.mean_error:.1e}",
            f"{report.threshold:.1e}",
            ("first drift" if index == report.first else "drifts") if point.drifts else "",
        )
    return table


def verdict(report: BisectReport) -> Iterable[str]:
    """Yield a line for each side on what was not compared, and one line on the result."""
    for side, names in report.not_in.items():
        if names:
            yield f"not in {side} as such, so not compared: {', '.join(names)}"
    if report.first is None:
        worst = max(report.points, key=lambda point: point.mean_error)
        yield (
            f"no drift: {len(report.points)} points agree (largest relative error {worst.mean_error:.1e}, at "
            f"{worst.name}, threshold {report.threshold:.1e})"
        )
        return
    point = report.points[report.first]
    what = f"shape {point.shapes}" if point.shapes else f"relative error {point.mean_error:.1e}"
    before = "the points before it agree" if report.first else "it is the first point of all"
    yield f"first drift: {point.name} ({what}, threshold {report.threshold:.1e}); {before}"
