"""The benchmark as a table for people, CSV and JSON for scripts. The page has the same columns."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from parity_tests.reports.parity_report import number
from tools.benchmark.rows import Benchmark, Quartiles, Row

NOTHING = "-"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A figure of a row, and its heading; `note` explains it."""

    heading: str
    note: str
    show: Callable[[Row], str]


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def _relative(row: Row) -> str:
    if row.relative is None:
        return NOTHING
    first, median, third = row.relative
    return f"{median:.2f} ({first:.2f}-{third:.2f})"


COLUMNS = (
    Column(
        heading="MB",
        note="size on disk, in millions of bytes",
        show=lambda row: _number(row.megabytes, ".2f"),
    ),
    Column(
        heading="yardsticks",
        note="worst error of any output, in units of PyTorch's own rounding in that precision; both against float64",
        show=lambda row: _number(row.yardsticks, ".2f"),
    ),
    Column(
        heading="MAD",
        note="mean error of alpha against the clip's truth",
        show=lambda row: _number(row.quality.file.mad if row.quality else None, ".2e"),
    ),
    Column(
        heading="dtSSD",
        note="error of alpha's changes from frame to frame, against the truth's",
        show=lambda row: _number(row.quality.file.dtssd if row.quality else None, ".2e"),
    ),
    Column(
        heading="ms",
        note="median time for each frame",
        show=lambda row: _number(row.milliseconds[1] if row.milliseconds else None, ".0f"),
    ),
    Column(
        heading="relative",
        note="time relative to the first timed file's of the same round: median and quartiles",
        show=_relative,
    ),
    Column(
        heading="MiB",
        note="peak memory above that before the file was opened",
        show=lambda row: _number(row.memory, ".0f"),
    ),
    Column(
        heading="ran in",
        note="runtime, on the CPU",
        show=lambda row: row.report.runtime if row.report else NOTHING,
    ),
)


def setting(benchmark: Benchmark) -> str:
    """Return the conditions as one line."""
    given = benchmark.conditions
    weights = f"{given.weights}{' (seeded: it mattes nothing)' if given.seeded else ''}"
    return (
        f"{given.variant} of {weights}, {given.size.width}x{given.size.height} at ratio {given.size.ratio:g}, "
        f"{given.clip}, {given.frames} frames; timed: {given.rounds} rounds, {given.threads} "
        f"thread{'s' if given.threads > 1 else ''} on {given.machine['processor']}"
    )


def to_table(benchmark: Benchmark) -> Table:
    """Return a table with a line for each file or missing file."""
    first = benchmark.first
    table = Table(
        title=setting(benchmark),
        caption=f"relative: to the time of {first.label}" if first else None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,  # the narrowest, for the many columns
        collapse_padding=True,
        pad_edge=False,
    )
    for heading in ("file", "verdict"):
        table.add_column(heading, overflow="fold")
    for column in COLUMNS:
        table.add_column(column.heading, justify="left" if column.heading == "ran in" else "right", overflow="fold")
    for row in benchmark.rows:
        verdict = "FAILED" if row.status == "failed" else row.status
        table.add_row(row.label, verdict, *(column.show(row) for column in COLUMNS))
    return table


def to_json_text(benchmark: Benchmark) -> str:
    """Return a JSON object with the conditions and a list of rows. A figure that was not measured is null."""
    document = {**_setting(benchmark), "rows": [_line(row) for row in benchmark.rows]}
    return json.dumps(document, indent=2) + "\n"


def to_csv_text(benchmark: Benchmark) -> str:
    """Return CSV, a line for each row, with the conditions in each."""
    given = _setting(benchmark)
    machine, versions = given.pop("machine"), given.pop("versions")
    lines = [{**_line(row), **given, **machine, **versions} for row in benchmark.rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*lines[0]])
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


RENDERINGS: dict[str, Callable[[Benchmark], str]] = {"json": to_json_text, "csv": to_csv_text}
"""By the name of the option."""


def _setting(benchmark: Benchmark) -> dict[str, Any]:
    given = benchmark.conditions
    return {
        "variant": given.variant,
        "refiner": given.refiner,
        "weights": given.weights,
        "weights_sha256": given.weights_sha256,
        "seeded": given.seeded,
        "clip": given.clip,
        "frames": given.frames,
        "resolution": f"{given.size.width}x{given.size.height}",
        "downsample_ratio": given.size.ratio,
        "threads": given.threads,
        "rounds": given.rounds,
        "first": benchmark.first and benchmark.first.name,
        "machine": dict(given.machine),
        "versions": dict(given.versions),
    }


def _line(row: Row) -> dict[str, Any]:
    report, quality = row.report, row.quality
    alpha = report.comparison.alpha if report else None
    return {
        "file": row.name,
        "format": row.format,
        "precision": row.precision,
        "status": row.status,
        "reason": row.reason or None,
        "file_bytes": row.bytes,
        "yardsticks": None if row.yardsticks is None else number(round(row.yardsticks, 3)),
        "alpha_mad_pytorch": alpha and number(alpha.mad),
        "alpha_dtssd_pytorch": alpha and number(alpha.dtssd),
        "truth_mad": quality and number(quality.file.mad),
        "truth_dtssd": quality and number(quality.file.dtssd),
        "truth_mad_of_pytorch": quality and number(quality.pytorch.mad),
        "truth_dtssd_of_pytorch": quality and number(quality.pytorch.dtssd),
        **_quartiles("milliseconds", row.milliseconds),
        **_quartiles("relative", row.relative),
        "peak_mib_above_before": None if row.memory is None else round(row.memory, 1),
        "runtime": report and report.runtime,
        "device": report and report.device,
    }


def _quartiles(name: str, values: Quartiles | None) -> dict[str, float | None]:
    names = (f"{name}_{which}" for which in ("first_quartile", "median", "third_quartile"))
    return {each: value and round(value, 4) for each, value in zip(names, values or (None,) * 3, strict=True)}
