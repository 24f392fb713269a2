"""Reports of a bench: a table for people, JSON and CSV for scripts."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from parity_tests.reports.parity_report import number
from tools.bench.race import Course, Measured

_QUARTILES = (0.25, 0.5, 0.75)
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Race:
    """The results of one size with one number of threads. `baseline` is the name of a measured contender."""

    course: Course
    input: str
    baseline: str
    measured: tuple[Measured, ...]

    @property
    def failures(self) -> list[str]:
        """Return a sentence for each drifting output."""
        return [failure for each in self.measured for failure in each.failures]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All races of a bench, with the machine and the package versions."""

    races: tuple[Race, ...]
    machine: Mapping[str, str]
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """The speed of one contender.

    `milliseconds` and `ratio` are quartiles. `ratio` is the baseline's time divided by its own in the same round.
    """

    milliseconds: tuple[float, float, float]
    ratio: tuple[float, float, float]
    memory: float | None

    @property
    def frames_per_second(self) -> float:
        return 1000 / self.milliseconds[1]


def speeds(race: Race, own: Measured) -> Speeds:
    """Return quartiles over the rounds, and memory in MiB above that before the file was opened."""
    (baseline,) = [each for each in race.measured if each.contender.name == race.baseline]
    seconds = np.array(own.seconds)
    before, most = own.memory.before, own.memory.peak
    return Speeds(
        milliseconds=quartiles(seconds * 1000),
        ratio=quartiles(np.array(baseline.seconds) / seconds),
        memory=None if before is None or most is None else (most - before) / MIB,
    )


def to_table(race: Race) -> Table:
    """Return the table of one race."""
    size, course = race.course.size, race.course
    threads = f"{course.threads} thread{'s' if course.threads > 1 else ''} on {course.device}"
    where = f"{size.width}x{size.height} at ratio {size.ratio:g}, {threads}"
    title = f"{where}, {course.rounds} rounds, {race.input}; ratio to {race.baseline}"
    caption = "ratio: how many times as fast; peak: memory; MiB: of the file; alpha: its largest drift"
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("file", overflow="fold")
    headings = ("ms", "fps", "ratio", "quartiles", "peak MiB", "MiB", "alpha")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for each in race.measured:
        own = speeds(race, each)
        drift = each.drift.get("pha")
        table.add_row(
            each.contender.name,
            *(("", "", "drifts", "") if each.failures else _times(own)),
            "?" if own.memory is None else f"{own.memory:.0f}",
            f"{each.file_bytes / MIB:.1f}",
            "no alpha" if drift is None else f"{drift.max_abs:.1e}",
        )
    return table


def _times(own: Speeds) -> tuple[str, str, str, str]:
    first, median, third = own.ratio
    return f"{own.milliseconds[1]:.1f}", f"{own.frames_per_second:.1f}", f"{median:.2f}", f"{first:.2f}-{third:.2f}"


def to_json_text(bench: Bench) -> str:
    """Return the bench as a JSON object. The times of a file that drifts are null."""
    races = [{**_setting(race), "contenders": [_line(race, each) for each in race.measured]} for race in bench.races]
    return json.dumps({"machine": bench.machine, "versions": bench.versions, "races": races}, indent=2) + "\n"


def to_csv_text(bench: Bench) -> str:
    """Return the bench as CSV, a line for each contender of each race."""
    rows = [
        {**_setting(race), **_line(race, each), "processor": bench.machine["processor"], **bench.versions}
        for race in bench.races
        for each in race.measured
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*rows[0]])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


RENDERINGS: dict[str, Callable[[Bench], str]] = {"json": to_json_text, "csv": to_csv_text}
"""By the name of the option."""


def _setting(race: Race) -> dict[str, Any]:
    course, size = race.course, race.course.size
    return {
        "resolution": f"{size.width}x{size.height}",
        "downsample_ratio": size.ratio,
        "device": course.device,
        "threads": course.threads,
        "rounds": course.rounds,
        "input": race.input,
        "baseline": race.baseline,
    }


def _line(race: Race, each: Measured) -> dict[str, Any]:
    own, contender, agrees = speeds(race, each), each.contender, not each.failures
    return {
        "file": contender.name,
        **dict(_quartile_columns("milliseconds", own.milliseconds, agrees)),
        "frames_per_second": round(own.frames_per_second, 3) if agrees else None,
        **dict(_quartile_columns("ratio", own.ratio, agrees)),
        "peak_mib_above_before": own.memory if own.memory is None else round(own.memory, 1),
        "before_mib": each.memory.before and round(each.memory.before / MIB, 1),
        "file_bytes": each.file_bytes,
        **{
            f"{name}_{figure}": number(getattr(each.drift[name], figure)) if name in each.drift else None
            for name in ("fgr", "pha")
            for figure in ("max_abs", "mean_abs")
        },
        "ok": agrees,
    }


def _quartile_columns(name: str, values: tuple[float, ...], agrees: bool) -> Iterator[tuple[str, float | None]]:
    for which, value in zip(("first_quartile", "median", "third_quartile"), values, strict=True):
        yield f"{name}_{which}", round(value, 3) if agrees else None


def quartiles(values: Any) -> tuple[float, float, float]:
    """Return first quartile, median and third quartile."""
    first, median, third = (float(value) for value in np.quantile(values, _QUARTILES))
    return first, median, third
