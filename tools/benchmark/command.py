"""`rvm-export benchmark`, from its options to its exit code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from rich.console import Console

from exporters import FORMATS
from exporters.artifact import Artifact
from exporters.format import MissingPackage
from exporters.spec import Fixed
from parity_tests.clips import load_clip
from rvm_model.errors import UserError
from tools.bench.race import WARM_UP
from tools.benchmark.files import Job, Wanted, make_row, plan
from tools.benchmark.report import RENDERINGS, to_table
from tools.benchmark.rows import Benchmark, Conditions, Row
from tools.benchmark.timing import time_rows
from tools.shared.console import say_error, stderr_console, working
from tools.shared.machine import cores, machine, versions
from tools.shared.models import open_checkpoint
from tools.shared.outputs import OutputError, check_reports, refuse_file_name, refuse_place, write_reports, write_text
from tools.shared.sizes import parse_sizes

_PACKAGES = ("jinja2", "matplotlib")
_LOG_WIDTH = 130
"""Columns of the table in a log file, which has no terminal width."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """The options of the command."""

    formats: tuple[str, ...]
    variant: str
    refiner: str
    checkpoint: str
    trust: bool
    resolution: str
    ratio: str
    clip: Path | None
    frames: int | None
    rounds: int
    threads: int | None
    output: Path
    force: bool
    reports: Mapping[str, Path]


def benchmark_all(options: BenchmarkOptions) -> int:
    """Make, prove and time the files, write the page and reports, and return the exit code: 1 if a file fails.

    Raises:
        UserError: options that cannot be used, or an existing file of other weights.
        ExportFailed: the disk is full, or fails.
    """
    _require()
    from tools.benchmark.page import NAME, to_html

    console = stderr_console()
    size = _parse_size(options)
    page = options.output / NAME
    _check_output(options.output, page)
    check_reports(options.reports, [page])
    clip = load_clip(options.clip, options.frames)
    checkpoint = open_checkpoint(options.checkpoint, options.variant, options.refiner, trust=options.trust)
    if checkpoint.seeded:
        console.print("WARNING: seeded weights matte nothing; only sizes and times are worth something", style="yellow")
    job = Job(
        checkpoint=checkpoint,
        clip=clip.fitted(size.width, size.height, 1),
        size=size,
        force=options.force,
        trust=options.trust,
    )
    planned = plan([*dict.fromkeys(options.formats or FORMATS)], options.output, job)
    check_reports(options.reports, [page, *(each.path for each in planned if isinstance(each, Wanted))])
    threads = options.threads or cores()
    rows, artifacts = _make(planned, job, console)
    rows = _time(rows, artifacts, job, threads, options.rounds, console)
    benchmark = Benchmark(conditions=_conditions(job, threads, options.rounds), rows=tuple(rows))
    if not console.is_terminal:
        console.width = max(console.width, _LOG_WIDTH)
    console.print(to_table(benchmark))
    for row in benchmark.rows:
        if row.reason and row.status != "failed":
            status = "not timed" if row.status == "ok" else row.status
            console.print(f"{row.name}: {status}: {row.reason}", soft_wrap=True)
    write_text(to_html(benchmark), page)
    write_reports(RENDERINGS, benchmark, options.reports)
    console.print(f"the page: {page}", soft_wrap=True)
    for row in benchmark.failed:
        say_error(f"{row.name} failed: {row.summary}", 1)
    return int(bool(benchmark.failed))


def _parse_size(options: BenchmarkOptions) -> Fixed:
    """Return the size at which all files play. Raise UserError for an invalid one, or for ratio 1."""
    (size,) = parse_sizes([options.resolution], [options.ratio], None)
    assert size is not None
    if size.ratio == 1:
        raise UserError(
            f"{options.resolution}: at ratio 1 files differ in whether they refine; give a --downsample-ratio below 1"
        )
    return size


def _check_output(output: Path, page: Path) -> None:
    """Raise OutputError for a folder that cannot be written to."""
    refuse_file_name(output, "")
    refuse_place(page)
    if page.is_dir():
        raise OutputError(f"{page} is a folder; move it away, or give another --output")


def _make(planned: Sequence[Wanted | Row], job: Job, console: Console) -> tuple[list[Row], dict[str, Artifact]]:
    """Return all rows, and the good files by name, opened to play them."""
    rows, artifacts = [], {}
    for each in planned:
        if isinstance(each, Row):
            rows.append(each)
            continue
        task = "verifying" if each.path.exists() and not job.force else "exporting"
        with working(console, f"{task} {each.path.name}") as stage:
            row, artifact = make_row(each, job, stage.update)
        rows.append(row)
        if artifact is not None:
            artifacts[row.name] = artifact
    return rows, artifacts


def _time(
    rows: Sequence[Row], artifacts: Mapping[str, Artifact], job: Job, threads: int, rounds: int, console: Console
) -> list[Row]:
    numbers = count(1)
    text = "timing the files in turn"
    with working(console, text) as stage:

        def on_round() -> None:
            stage.update(text, f"round {next(numbers)} of {WARM_UP + rounds}")

        return time_rows(rows, artifacts, job, threads, rounds, on_round)


def _conditions(job: Job, threads: int, rounds: int) -> Conditions:
    checkpoint = job.checkpoint
    return Conditions(
        variant=checkpoint.variant,
        refiner=checkpoint.refiner,
        weights=Path(checkpoint.name).name,
        weights_sha256=checkpoint.weights_sha256,
        seeded=checkpoint.seeded,
        clip=job.clip.name,
        frames=len(job.clip),
        size=job.size,
        threads=threads,
        rounds=rounds,
        machine=machine("cpu"),
        versions=versions(),
    )


def _require() -> None:
    for package in _PACKAGES:
        if find_spec(package) is None:
            raise MissingPackage(f"a benchmark needs {package}; run: pip install 'rvm-export[release]'")
