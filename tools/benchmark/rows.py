"""A row of the benchmark: one file, or why there is none. The table, the page, CSV and JSON consist of rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from exporters import FORMATS
from exporters.spec import Fixed
from parity_tests.judging.quality import Quality
from parity_tests.verify import ParityReport
from tools.shared.pictures import Picture

Status = Literal["ok", "failed", "skipped", "not installed"]
Quartiles = tuple[float, float, float]
"""First quartile, median, third quartile."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The time for each frame.

    `relative` is the time divided by the first timed file's in the same round. `memory` is in MiB, as in `bench`.
    """

    milliseconds: Quartiles
    relative: Quartiles
    memory: float | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A file of the benchmark. `reason` says why its status is not ok, or why an ok file is not timed."""

    name: str
    format: str
    precision: str
    status: Status
    reason: str = ""
    bytes: int | None = None
    report: ParityReport | None = None
    picture: Picture | None = None
    timing: Timing | None = None

    @property
    def label(self) -> str:
        """Return format and precision, the label in charts."""
        return f"{FORMATS[self.format].title} {self.precision}"

    @property
    def runtime(self) -> str:
        return FORMATS[self.format].default_runtime

    @property
    def yardsticks(self) -> float | None:
        """Return the worst output's error in units of PyTorch's own rounding; None if the file was not played fully."""
        if self.report is None or not self.report.units:
            return None
        return float(np.max([*self.report.multiples.values()]))

    @property
    def summary(self) -> str:
        """Return the reason. If several outputs fail, return the first failure and the number of the others."""
        failures = () if self.report is None else self.report.comparison.failures
        if self.reason != "; ".join(failures) or len(failures) < 2:
            return self.reason
        more = len(failures) - 1
        return f"{failures[0]}; and {more} more failure{'s' if more > 1 else ''}"

    @property
    def megabytes(self) -> float | None:
        return None if self.bytes is None else self.bytes / 1e6

    @property
    def milliseconds(self) -> Quartiles | None:
        return None if self.timing is None else self.timing.milliseconds

    @property
    def relative(self) -> Quartiles | None:
        return None if self.timing is None else self.timing.relative

    @property
    def memory(self) -> float | None:
        return None if self.timing is None else self.timing.memory

    @property
    def quality(self) -> Quality | None:
        return None if self.report is None else self.report.quality


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions that all rows share."""

    variant: str
    refiner: str
    weights: str
    weights_sha256: str
    seeded: bool
    clip: str
    frames: int
    size: Fixed
    threads: int
    rounds: int
    machine: Mapping[str, str]
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """All rows, with their conditions."""

    conditions: Conditions
    rows: tuple[Row, ...]

    @property
    def first(self) -> Row | None:
        """The file that the others' times are relative to; None if none was timed."""
        return next((row for row in self.rows if row.timing), None)

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row.status == "failed"]
