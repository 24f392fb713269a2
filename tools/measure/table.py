"""Measure case after case, and write a table into `results/` line by line."""

import csv
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Case = TypeVar("Case")
Line = Mapping[str, object]

_RESULTS = Path(__file__).parent / "results"
_NAMED = 4  # the first columns of each table, which identify a line


def measure(
    name: str,
    columns: Sequence[str],
    cases: Sequence[Case],
    lines_of: Callable[[Case], Iterable[Line]],
    *,
    judged: Sequence[str] = (),
    resumed: bool = False,
) -> int:
    """Write the lines of all cases, and return the exit code: 1 if a line has "no" in a judged column.

    Args:
        name: The table's file name, in `results/`.
        columns: The table's columns. The first ones identify a line.
        cases: The cases to measure.
        lines_of: Measures a case, and returns its lines, the values by column.
        judged: Columns in which "no" is a failure, which is printed.
        resumed: Keep the existing lines and their columns, and append to them.
    """
    console = Console(stderr=True)
    failed = 0
    old = lines_before(name) if resumed else []
    with (_RESULTS / name).open("a" if old else "w", newline="", buffering=1) as file:
        writer = csv.DictWriter(file, [*old[0]] if old else columns, extrasaction="ignore")
        if not old:
            writer.writeheader()
        for line in _all(old, track(cases, console=console, description="measuring"), lines_of, writer):
            wrong = [column for column in judged if line[column] == "no"]
            if wrong:
                failed += 1
                words = " ".join(str(line[column]) for column in columns[:_NAMED])
                console.print(f"FAILED: {words}: {', '.join(wrong)}: no", highlight=False, soft_wrap=True)
    if judged:
        console.print(f"{failed} failed", highlight=False)
    return int(failed > 0)


def ratio_columns(measured: Sequence[float], decimals: int) -> dict[str, object]:
    """Return the columns of a ratio that was measured round after round: its median, its range and the rounds."""
    values = {"median": statistics.median(measured), "least": min(measured), "most": max(measured)}
    return {**{f"ratio_{name}": f"{value:.{decimals}f}" for name, value in values.items()}, "rounds": len(measured)}


def lines_before(name: str) -> list[dict[str, str]]:
    """Return the lines of an existing table; none if it does not exist."""
    path = _RESULTS / name
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def _all(
    old: Iterable[Line],
    cases: Iterable[Case],
    lines_of: Callable[[Case], Iterable[Line]],
    writer: "csv.DictWriter[str]",
) -> Iterator[Line]:
    """Yield the old lines, then each new line once it is written."""
    yield from old
    for case in cases:
        for line in lines_of(case):
            writer.writerow(line)
            yield line
