"""Renderings of a `ParityReport`: JSON for scripts, a table for people. Those for CI: `junit.py`, `markdown.py`."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from parity_tests.judging.drift import Error
from parity_tests.judging.judge import figure, multiples
from parity_tests.judging.limits import STATISTICS, Statistic
from parity_tests.judging.quality import as_dict, in_papers
from parity_tests.verify import ParityReport


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A file that could not be compared, and why, in one line."""

    artifact: Path
    error: str


def to_json(report: ParityReport) -> dict[str, Any]:
    """Return every number of the report. Values that JSON cannot hold become None."""
    comparison = report.comparison
    return {
        "artifact": str(report.artifact),
        **({"function": report.function} if report.function else {}),
        "format": report.format,
        "runtime": report.runtime,
        "variant": report.variant,
        "refiner": report.refiner,
        "precision": report.precision,
        "weights": report.weights,
        "ok": report.ok,
        "failures": list(comparison.failures),
        "clip": report.clip,
        "height": report.size[0],
        "width": report.size[1],
        "downsample_ratio": report.ratio,
        "device": report.device,
        "frames": comparison.frames,
        "outputs": {
            name: {
                "max_abs": number(drift.max_abs),
                "mean_abs": number(drift.mean_abs),
                "high_abs": number(drift.high_abs),
                **_bounds("limit", report.limits.get(name)),
                **_bounds("yardstick", report.units.get(name)),
                "worst_at": list(drift.worst_at),
                "frame_max_abs": [number(value) for value in drift.frame_max],
                "frame_mean_abs": [number(value) for value in drift.frame_mean],
            }
            for name, drift in comparison.outputs.items()
        },
        "alpha": {
            "mad": number(comparison.alpha.mad),
            "mse": number(comparison.alpha.mse),
            "dtssd": number(comparison.alpha.dtssd),
        },
        "truth": _truth(report),
    }


def _truth(report: ParityReport) -> dict[str, Any] | None:
    if report.quality is None:
        return None
    sides = {"pytorch": report.quality.pytorch, "file": report.quality.file}
    return {side: {name: number(value) for name, value in as_dict(each).items()} for side, each in sides.items()}


def refusal_to_json(refusal: Refusal) -> dict[str, Any]:
    """Return the error, and null for the figures of `to_json`."""
    nothing = dict.fromkeys(("format", "precision", "frames", "outputs", "alpha"))
    return {"artifact": str(refusal.artifact), **nothing, "ok": False, "error": refusal.error}


def _bounds(what: str, error: Error | None) -> dict[str, float | None]:
    """Return an error's figures; null if no play ended, since there is no yardstick then."""
    return {f"{what}_{each}_abs": number(getattr(error, f"{each}_abs")) if error else None for each in STATISTICS}


def to_table(report: ParityReport) -> Table:
    """Return one row per output: its errors, also as multiples of PyTorch's own rounding."""
    height, width = report.size
    comparison = report.comparison
    metrics = comparison.alpha
    alpha = ""
    if "pha" in comparison.outputs:
        alpha = f"alpha against PyTorch's: MAD {metrics.mad:.1e}, MSE {metrics.mse:.1e}, dtSSD {metrics.dtssd:.1e}"
    table = Table(
        title=f"{report.name} in {report.runtime} against float64 PyTorch on {report.device}: {report.clip}, "
        f"{comparison.frames} frames, {width}x{height}, ratio {report.ratio:g}",
        # Figures only: a `Text` is not escaped, and may have several lines.
        caption=Text("\n".join(["x: times PyTorch's own rounding", *([alpha, *matte_lines(report)] if alpha else [])])),
        title_justify="left",
        caption_justify="left",
    )
    for heading in ("output", "max", "mean", "99.9 %", "x max", "x mean", "x 99.9", "worst frame"):
        table.add_column(heading, justify="left" if heading == "output" else "right")
    for name, drift in comparison.outputs.items():
        times = multiples(drift, report.units[name]) if report.units else {}
        factors = [f"{times[each]:.2f}" if times else "-" for each in STATISTICS]
        table.add_row(name, *(said(drift, each) for each in STATISTICS), *factors, str(drift.worst_at[0]))
    return table


def matte_lines(report: ParityReport) -> Iterable[str]:
    """Yield the quality of the mattes against the truth, a line for each side, scaled as in papers."""
    if report.quality is None:
        return
    for side, quality in (("PyTorch", report.quality.pytorch), ("the file", report.quality.file)):
        figures = ", ".join(f"{name} {value:.4g}" for name, value in in_papers(quality).items())
        yield f"alpha of {side} against the truth: {figures}"


def said(error: Error | None, statistic: Statistic) -> str:
    """Format a figure for people; a dash if there is none."""
    return "-" if error is None else f"{figure(error, statistic):.1e}"


def verdict(report: ParityReport) -> Iterable[str]:
    """Yield one line if everything passes, else a line for each failure, and advice."""
    if report.ok:
        worst = max(report.multiples.values())
        yield f"ok: {report.name} computes what PyTorch computes, to {worst:.2f} times PyTorch's own rounding"
    for failure in report.comparison.failures:
        yield f"FAILED: {report.name}: {failure}"
    if not report.ok:
        yield from (f"try: {line}" for line in _advice(report))


def _advice(report: ParityReport) -> Iterable[str]:
    if report.format == "onnx":
        yield "rvm-export bisect names the first layer that differs; export with --no-verify keeps a file to look at"
    steps = 8 / report.ratio
    if abs(steps - round(steps)) > 1e-9:
        near = 8 / max(8, round(steps))
        yield f"--downsample-ratio {near:g} samples the source at whole places, where no format rounds"


def number(value: float) -> float | None:
    return value if math.isfinite(value) else None
