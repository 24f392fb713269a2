"""`report.html`, the page of a release: one file, without scripts, that loads nothing from elsewhere."""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
from markupsafe import Markup

from exporters import FORMATS
from parity_tests.judging.quality import in_papers
from parity_tests.verify import ParityReport
from tools.pages.render import render
from tools.release.build import Built
from tools.release.contents import read_table
from tools.release.manifest import Manifest
from tools.release.plots import SERIES, plot

NAME = "report.html"

_UNSAID = {"variant", "precision", "fixed", "ratio", "others", "zip", "folder"}
"""Options that a row of the matrix does not name: its columns, its size or the file's name show them."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A missing file of the table, and the reason, in one line."""

    name: str
    error: str


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """The errors of an output or of the states, as text. `times` is the error in units of PyTorch's own rounding."""

    name: str
    max_abs: str
    limit_max_abs: str
    mean_abs: str
    limit_mean_abs: str
    times: str


@dataclass(frozen=True, kw_only=True)
class _Play:
    """A report as the page shows it."""

    report: ParityReport
    figures: tuple[_Figure, ...]
    outputs: tuple[_Figure, ...]
    plots: dict[str, Markup]
    truth: dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file as the page shows it. `times` is its worst error in units of PyTorch's own rounding."""

    built: Built
    title: str
    what: str
    ok: bool
    times: str
    plays: tuple[_Play, ...]


@dataclass(frozen=True)
class _Cell:
    """A cell of the matrix: a file, or None for one that failed."""

    file: _File | None


def to_html(manifest: Manifest, built: Sequence[Built], failures: Sequence[Failure]) -> str:
    """Return the page. The same release gives the same bytes.

    Args:
        manifest: The release's name and its weights.
        built: The files, in the order of the table.
        failures: The missing files.
    """
    shown = [_file(each) for each in built]
    columns, matrix = _matrix(shown, failures)
    return render(
        "tools.release",
        "page.html.jinja",
        manifest=manifest,
        files=shown,
        failures=failures,
        columns=columns,
        matrix=matrix,
        bytes=sum(each.entry.bytes for each in built),
        tools=_versions(built),
        seeded=any(weights.origin == "seeded" for weights in manifest.checkpoints.values()),
        series=[*SERIES],
    )


def _file(built: Built) -> _File:
    return _File(
        built=built,
        title=FORMATS[built.entry.format].title,
        what=_what(built.entry.format, built.entry.spec),
        ok=all(report.ok for report in built.reports),
        times=_times(built.reports),
        plays=tuple(map(_play, built.reports)),
    )


def _play(report: ParityReport) -> _Play:
    drifts = report.comparison.outputs
    groups = {series: [name for name in names if name in drifts] for series, names in SERIES.items()}
    return _Play(
        report=report,
        figures=tuple(_figure(report, series, names) for series, names in groups.items() if names),
        outputs=tuple(_figure(report, name, [name]) for name in drifts),
        truth=_truth(report),
        plots={kind: plot(report, kind) for kind in ("max", "mean")},
    )


def _truth(report: ParityReport) -> dict[str, dict[str, float]]:
    if report.quality is None:
        return {}
    return {"PyTorch": in_papers(report.quality.pytorch), "this file": in_papers(report.quality.file)}


def _figure(report: ParityReport, said: str, names: Sequence[str]) -> _Figure:
    drifts, limits = [report.comparison.outputs[name] for name in names], [report.limits[name] for name in names]
    return _Figure(
        name=said,
        max_abs=_said(np.max([drift.max_abs for drift in drifts])),
        limit_max_abs=_said(max(limit.max_abs for limit in limits)),
        mean_abs=_said(np.max([drift.mean_abs for drift in drifts])),
        limit_mean_abs=_said(max(limit.mean_abs for limit in limits)),
        times=f"{np.max([report.multiples[name] for name in names]):.2f}",
    )


def _said(error: float) -> str:
    return f"{error:.1e}" if error else "0"


def _times(reports: Sequence[ParityReport]) -> str:
    return f"{np.max([times for report in reports for times in report.multiples.values()]):.2f}"


def _what(format_name: str, spec: dict[str, Any]) -> str:
    """Describe how a file differs from its format's usual one, except by variant and precision."""
    sizes = [size for size in (spec.get("fixed"), *spec.get("others", ())) if size]
    words = [f"{size['width']}x{size['height']}, ratio {size['ratio']:g}" for size in sizes]
    if not sizes:
        words = [f"any size, ratio {spec['ratio']:g}" if spec.get("ratio") else "any size"]
    for option in fields(FORMATS[format_name].spec):
        value = spec.get(option.name)
        usual = option.metadata.get("usual", "deep_guided_filter" if option.default is MISSING else option.default)
        if option.name not in _UNSAID and value != usual:
            words.append(option.name.replace("_", " ") if value is True else str(value).replace("_", " "))
    return ", ".join(words)


_Matrix = dict[tuple[str, str], dict[tuple[str, str], list[_Cell]]]


def _matrix(shown: Sequence[_File], failures: Sequence[Failure]) -> tuple[list[tuple[str, str]], _Matrix]:
    """Return the variants and precisions that occur, and the cells of each format and kind of file."""
    matrix: _Matrix = {}
    for row in read_table():  # in the order of the table, formats together
        matrix.setdefault((FORMATS[row.format].title, _what(row.format, row.facts())), {})
    for file in shown:
        spec = file.built.entry.spec
        column = str(spec["variant"]), str(spec["precision"])
        matrix.setdefault((file.title, file.what), {}).setdefault(column, []).append(_Cell(file))
    missing = {failure.name for failure in failures}
    for row in read_table():
        if missing & {row.file_name(seeded) for seeded in (False, True)}:
            cells = matrix[FORMATS[row.format].title, _what(row.format, row.facts())]
            cells.setdefault((row.spec.variant, row.spec.precision), []).append(_Cell(None))
    filled = {key: cells for key, cells in matrix.items() if cells}
    order = [description.title for description in FORMATS.values()]
    ordered = dict(sorted(filled.items(), key=lambda item: order.index(item[0][0])))
    columns = {column for cells in ordered.values() for column in cells}
    ranks = ("fp32", "fp16", "int8")
    return sorted(columns, key=lambda column: (column[0], ranks.index(column[1]))), ordered


def _versions(built: Sequence[Built]) -> dict[str, str]:
    """Return the version of each tool. Jobs on other machines have the same, since their keys are equal."""
    return dict(sorted({name: version for each in built for name, version in each.entry.tools.items()}.items()))
