"""`rvm-export bench --export`: time the exporters and measure their memory. Every export has its own process."""

import csv
import io
import json
import pickle
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from exporters import FORMATS, load_exporter
from exporters.spec import Fixed
from rvm_model.weights.checkpoint import load_checkpoint
from tools.bench.memory import peak, resident
from tools.jobs.processes import THREADS, ProcessDied, in_process
from tools.shared.console import stderr_console, working
from tools.shared.machine import machine, versions
from tools.shared.outputs import ExportFailed, bytes_of, write_reports

TRACED = "traced"
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Made:
    """One export: seconds, peak memory in bytes above that after all imports, bytes of the file."""

    seconds: float
    memory: int | None
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Exporting:
    """The figures of one kind of file over the rounds: medians, and the quartiles of the time."""

    file: str
    seconds: float
    seconds_first_quartile: float
    seconds_third_quartile: float
    times_traced: float
    peak_mib_above_before: float | None
    file_bytes: int


def bench_exports(size: Fixed, threads: int, rounds: int, reports: Mapping[str, Path]) -> None:
    """Time the export of seeded MobileNetV3 to every installed format, in its first precision, and to traced ONNX.

    Args:
        size: The size of files that have one size.
        threads: Threads of each process.
        rounds: Exports of each kind, in turn.
        reports: `json` or `csv` to file, or `-` for stdout.

    Raises:
        ExportFailed: a process died.
    """
    console = stderr_console()
    formats = [name for name, each in FORMATS.items() if all(map(find_spec, each.packages))]
    made: dict[str, list[Made]] = {name: [] for name in (TRACED, *formats)}
    environment = dict.fromkeys(THREADS, str(threads))
    with working(console, "timing the exporters") as stage:
        for k in range(rounds):
            for name, each in made.items():
                stage.update("timing the exporters", f"round {k + 1} of {rounds}, {name}")
                try:
                    answer = in_process(pickle.dumps((make, (name, size))), lambda: False, environment)
                    each.append(Made(**json.loads(answer)))
                except ProcessDied as error:
                    raise ExportFailed(f"exporting {name} did not end: {error}") from error
    lines = [_line(name, each, made[TRACED]) for name, each in made.items()]
    console.print(_table(lines, threads, rounds))
    write_reports(RENDERINGS, lines, reports)


def make(name: str, size: Fixed) -> dict[str, Any]:
    """Export once in this process, delete the file, and return the figures, the fields of `Made`."""
    checkpoint = load_checkpoint("seeded")
    if name == TRACED:
        from exporters.onnx.traced import export_traced

        def export(path: Path) -> None:
            export_traced(checkpoint.network("always"), path)
    else:
        description, exporter = FORMATS[name], load_exporter(name)
        fixed = {"fixed": size} if description.one_size else {}
        spec = description.spec(
            variant=checkpoint.variant, refiner=checkpoint.refiner, precision=description.precisions[0], **fixed
        )

        def export(path: Path) -> None:
            exporter.export(checkpoint, spec, path)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{FORMATS[name].suffix if name != TRACED else '.onnx'}"
        before, start = resident(), time.perf_counter()
        export(path)
        seconds, most = time.perf_counter() - start, peak()
        total = bytes_of(path)
    memory = None if before is None or most is None else most - before
    return asdict(Made(seconds=seconds, memory=memory, bytes=total))


def _line(name: str, made: Sequence[Made], traced: Sequence[Made]) -> Exporting:
    seconds = np.array([each.seconds for each in made])
    memory = [each.memory for each in made if each.memory is not None]
    first, median, third = (float(value) for value in np.quantile(seconds, (0.25, 0.5, 0.75)))
    return Exporting(
        file=name if name == TRACED else f"{name} {FORMATS[name].precisions[0]}",
        seconds=round(median, 3),
        seconds_first_quartile=round(first, 3),
        seconds_third_quartile=round(third, 3),
        times_traced=round(float(np.median([each.seconds for each in traced] / seconds)), 3),
        peak_mib_above_before=round(float(np.median(memory)) / MIB, 1) if memory else None,
        file_bytes=made[0].bytes,
    )


def _table(lines: Sequence[Exporting], threads: int, rounds: int) -> Table:
    table = Table(title=f"exporting, {threads} threads, {rounds} rounds", title_justify="left")
    table.add_column("file")
    for heading in ("seconds", "times traced", "peak MiB", "file MiB"):
        table.add_column(heading, justify="right")
    for line in lines:
        table.add_row(
            line.file,
            f"{line.seconds:.2f} ({line.seconds_first_quartile:.2f} to {line.seconds_third_quartile:.2f})",
            f"{line.times_traced:.2f}",
            "?" if line.peak_mib_above_before is None else f"{line.peak_mib_above_before:.0f}",
            f"{line.file_bytes / MIB:.1f}",
        )
    return table


def _to_json(lines: Sequence[Exporting]) -> str:
    document = {"machine": machine("cpu"), "versions": versions(), "exports": [asdict(line) for line in lines]}
    return json.dumps(document, indent=2) + "\n"


def _to_csv(lines: Sequence[Exporting]) -> str:
    rows: list[dict[str, Any]] = [
        {**asdict(line), "processor": machine("cpu")["processor"], **versions()} for line in lines
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*rows[0]])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


RENDERINGS: dict[str, Callable[[Sequence[Exporting]], str]] = {"json": _to_json, "csv": _to_csv}
"""By the name of the option."""
