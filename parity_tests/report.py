"""Renderings of a `ParityReport`: JSON for scripts, a table for people. Those for CI: `junit.py`, `markdown.py`."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from parity_tests.tolerances import HEADROOM, Error
from parity_tests.verify import ParityReport

# Control characters, which XML cannot hold, and the halves of characters that stand for a name's undecodable bytes.
_UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff\\u2028\\u2029\\ufffe\\uffff]")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A file that could not be compared, and why, in one line."""

    artifact: Path
    error: str


def to_json(report: ParityReport) -> dict[str, Any]:
    """Every number of the report. What JSON has no number for becomes None."""
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
                "limit_max_abs": report.tolerance.limit(name).max_abs,
                "limit_mean_abs": report.tolerance.limit(name).mean_abs,
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
    }


def refusal_to_json(refusal: Refusal) -> dict[str, Any]:
    """Null where `to_json` has figures, and why."""
    nothing = dict.fromkeys(("format", "precision", "frames", "outputs", "alpha"))
    return {"artifact": str(refusal.artifact), **nothing, "ok": False, "error": refusal.error}


def to_table(report: ParityReport) -> Table:
    """One line per output; a limit is printed beside what was measured."""
    height, width = report.size
    comparison = report.comparison
    metrics = comparison.alpha
    alpha = f"alpha: MAD {metrics.mad:.1e}, MSE {metrics.mse:.1e}, dtSSD {metrics.dtssd:.1e}; "
    if "pha" not in comparison.outputs:
        alpha = ""
    table = Table(
        title=f"{report.name} in {report.runtime} against PyTorch fp32 on {report.device}: {report.clip}, "
        f"{comparison.frames} frames, {width}x{height}, ratio {report.ratio:g}",
        caption=f"{alpha}a limit is {HEADROOM} times what was measured before",
        title_justify="left",
        caption_justify="left",
    )
    for heading in ("output", "max abs", "limit", "mean abs", "limit", "worst frame"):
        table.add_column(heading, justify="left" if heading == "output" else "right")
    for name, drift in comparison.outputs.items():
        limit = report.tolerance.limit(name)
        table.add_row(
            name,
            f"{drift.max_abs:.1e}",
            said_limit(name, limit),
            f"{drift.mean_abs:.1e}",
            f"{limit.mean_abs:.1e}",
            str(drift.worst_at[0]),
        )
    return table


def verdict(report: ParityReport) -> Iterable[str]:
    """One line if it holds, else one for each failure."""
    if report.ok:
        yield f"ok: {report.name} agrees with PyTorch within its limits"
    for failure in report.comparison.failures:
        yield f"FAILED: {report.name}: {failure}"


def said_limit(output: str, limit: Error) -> str:
    """Of the largest error. Colour and opacity lie in [0, 1]: a limit beyond says nothing, and only the mean judges."""
    return "-" if output in ("fgr", "pha") and limit.max_abs >= 1 else f"{limit.max_abs:.1e}"


def printable(text: str) -> str:
    """With escapes, as Python writes them, for what a name may hold and a text file may not."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def number(value: float) -> float | None:
    return value if math.isfinite(value) else None
