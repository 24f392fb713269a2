"""Reports as Markdown for GitHub and GitLab: a row for each artifact, and the failures below."""

import re
from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from parity_tests.compare import NAMES
from parity_tests.reports.parity_report import Refusal
from parity_tests.verify import ParityReport
from rvm_model.printable import printable

_GROUPS = {"fgr": NAMES[:1], "pha": NAMES[1:2], "states": NAMES[2:]}
_HEADINGS = (
    *("file", "format", "runtime", "precision", "clip", "ratio"),
    *(f"{group} {figure}" for group in _GROUPS for figure in ("max", "mean")),
    "yardsticks",
    "verdict",
)
_NONE = "-"
# All characters with a meaning in Markdown. An underscore has one unless it is within a word, a colon before a word.
_SPECIAL = re.compile(r"[^\w\s./,:;()'\"=+%?{}-]|(?<![^\W_])_|_(?![^\W_])|:(?=\S)|^[+=-]")


def to_markdown(results: Sequence[ParityReport | Refusal]) -> str:
    """Return a table, then a list of failures for each file that has some."""
    parts = [tabulate([_row(result) for result in results], _HEADINGS, tablefmt="github", disable_numparse=True)]
    for result in results:
        failures = [result.error] if isinstance(result, Refusal) else result.comparison.failures
        if failures:
            lines = [f"- {escaped(failure)}" for failure in failures]
            parts.append("\n".join([f"### {_file(result)}", "", *lines]))
    return "\n\n".join(parts) + "\n"


def _row(result: ParityReport | Refusal) -> list[str]:
    file = _file(result)
    if isinstance(result, Refusal):
        return [file, *[_NONE] * (len(_HEADINGS) - 2), "could not be compared"]
    facts = (result.format, result.runtime, result.precision, result.clip, f"{result.ratio:g}")
    figures = [figure for group in _GROUPS for figure in _worst(result, group)]
    times = f"{np.max([*result.multiples.values()]):.2f}" if result.units else _NONE
    return [file, *map(escaped, facts), *figures, times, "ok" if result.ok else "FAILED"]


def _file(result: ParityReport | Refusal) -> str:
    return escaped(str(result.artifact) if isinstance(result, Refusal) else result.place)


def _worst(report: ParityReport, group: str) -> tuple[str, str]:
    """Return the largest error and the largest mean error of a group's outputs; NaN if one of them is NaN."""
    drifts = [report.comparison.outputs[name] for name in _GROUPS[group] if name in report.comparison.outputs]
    if not drifts:
        return _NONE, _NONE
    max_abs = np.max([drift.max_abs for drift in drifts])
    mean_abs = np.max([drift.mean_abs for drift in drifts])
    return f"{max_abs:.1e}", f"{mean_abs:.1e}"


def escaped(text: str) -> str:
    """Escape text so that it displays unchanged. An entity works everywhere, a backslash does not before a pipe."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", printable(text))
