"""Time the files that agree with PyTorch, in turn, each in its own process, as `bench` does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from exporters import FORMATS
from exporters.artifact import Artifact
from parity_tests.clips import Clip, held_clip
from rvm_model.errors import UserError
from tools.bench.judge import make_judge
from tools.bench.race import WARM_UP, Contender, Course, Measured, race
from tools.bench.report import MIB, quartiles
from tools.benchmark.files import Job
from tools.benchmark.rows import Row, Timing
from tools.shared.outputs import ExportFailed

_FRAMES = 8


def time_rows(
    rows: Sequence[Row],
    artifacts: Mapping[str, Artifact],
    job: Job,
    threads: int,
    rounds: int,
    on_round: Callable[[], object],
) -> list[Row]:
    """Return the rows with times. A file that drifts while it is timed gets status failed.

    Args:
        rows: All rows. Only ok rows are timed, and only if the runtime's time is the device's.
        artifacts: The ok rows' files, by name.
        job: The checkpoint, clip and size.
        threads: Threads of each process.
        rounds: Timed frames of each file.
        on_round: Called after each round.
    """
    timed = [row for row in rows if _is_timed(row)]
    noted = [replace(row, reason=_untimed(row)) if row.status == "ok" and not _is_timed(row) else row for row in rows]
    if not timed:
        return noted
    try:
        measured = _race(timed, artifacts, job, threads, rounds, on_round)
    except (UserError, ExportFailed) as error:
        return [replace(row, status="failed", reason=f"not timed: {error}") if _is_timed(row) else row for row in noted]
    first = next((each for each in measured if not each.failures), None)
    by_name = {each.contender.name: each for each in measured}
    return [_with_time(row, by_name[row.name], first) if _is_timed(row) else row for row in noted]


def _is_timed(row: Row) -> bool:
    return row.status == "ok" and FORMATS[row.format].runtimes[row.runtime].is_device


def _untimed(row: Row) -> str:
    return f"{row.runtime} computes as the device does, but not in its time"


def _race(
    rows: Sequence[Row],
    artifacts: Mapping[str, Artifact],
    job: Job,
    threads: int,
    rounds: int,
    on_round: Callable[[], object],
) -> list[Measured]:
    contenders = [
        Contender(
            name=row.name,
            path=artifacts[row.name].path,
            artifact=artifacts[row.name],
            runtime=row.runtime,
        )
        for row in rows
    ]
    clip = _held(job.clip, _FRAMES)
    judges = [
        make_judge(each, None, job.checkpoint, _held(clip, WARM_UP), job.size.ratio, "cpu") for each in contenders
    ]
    course = Course(size=job.size, threads=threads, device="cpu", precision="fp32", rounds=rounds)
    return race(contenders, judges, course, clip, on_round)


def _held(clip: Clip, frames: int) -> Clip:
    """Return the first frames held in memory, so that nothing is decoded while frames are timed."""
    return held_clip(clip.name, clip.first(frames).pixels, clip.kind)


def _with_time(row: Row, measured: Measured, first: Measured | None) -> Row:
    if measured.failures or first is None:
        return replace(row, status="failed", reason="; ".join(measured.failures))
    seconds, before, most = np.array(measured.seconds), measured.memory.before, measured.memory.peak
    return replace(
        row,
        timing=Timing(
            milliseconds=quartiles(seconds * 1000),
            relative=quartiles(seconds / np.array(first.seconds)),
            memory=None if before is None or most is None else (most - before) / MIB,
        ),
    )
