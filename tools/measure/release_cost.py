"""Measure time and memory of a whole release: with one job at a time, with four, and on a Dask cluster of four workers.

Writes `results/release_cpu.csv`. MobileNetV3 has the shared folder's consensus weights, ResNet50 is seeded, the clip is
the built-in one. Memory is the peak of all child processes together, with shared pages counted once (PSS). Run from the
tree, on a quiet machine: `python -m tools.measure.release_cost`.
"""

import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console

from parity_tests.cases import trained_weights
from tools.measure.table import measure

TABLE = "release_cpu.csv"
COLUMNS = ("place", "jobs", "files", "bytes", "wall_seconds", "peak_memory_mb", "cores", "torch", "processor")
WORKERS = 4
PLACES = (("processes", 1), ("processes", 4), ("dask", WORKERS))
CONSOLE = Console(stderr=True)
_LOOK_SECONDS = 1.0
PROGRAM = "from tools.cli.main import main; main()"


def main() -> None:
    """Measure and write."""
    weights = trained_weights("consensus_fp16")
    command = ["release", "--checkpoint", f"mobilenetv3={weights}", "--checkpoint", "resnet50=seeded"]
    with tempfile.TemporaryDirectory() as desk:
        code = measure(TABLE, COLUMNS, PLACES, lambda place: [released(*place, command, Path(desk))])
    sys.exit(code)


def released(place: str, jobs: int, command: list[str], desk: Path) -> dict[str, object]:
    """Make the release in one place."""
    out = desk / f"{place}{jobs}"
    with ExitStack() as opened:
        where = ["--jobs", str(jobs)]
        if place == "dask":
            where = ["--cluster", opened.enter_context(cluster(desk))]
        start = time.monotonic()
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, *command, "--out", str(out), *where])  # noqa: S603
        peak = watch(process)
        seconds = time.monotonic() - start
    if process.returncode:
        sys.exit(f"the release ended with {process.returncode}")
    files = [path for path in out.iterdir() if path.is_file()]
    CONSOLE.print(f"{place}, {jobs} at a time: {seconds:.0f} s, {peak / 1e6:.0f} MB")
    return {
        "place": place,
        "jobs": jobs,
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "wall_seconds": f"{seconds:.0f}",
        "peak_memory_mb": f"{peak / 1e6:.0f}",
        "cores": len(psutil.Process().cpu_affinity()),
        "torch": version("torch"),
        "processor": platform.machine(),
    }


def watch(process: "subprocess.Popen[bytes]") -> int:
    """Return the peak memory in bytes of this process's children, measured until `process` ends."""
    peak = 0
    while process.poll() is None:
        held = 0
        for each in psutil.Process().children(recursive=True):
            try:
                held += each.memory_full_info().pss
            except psutil.Error:  # it has just ended
                continue
        peak = max(peak, held)
        time.sleep(_LOOK_SECONDS)
    return peak


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Start a scheduler and its workers, as a user does, and yield the address."""
    scheduler = folder / "scheduler.json"
    started: list[subprocess.Popen[bytes]] = []

    def start(what: str, *options: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--scheduler-file", str(scheduler)]
        started.append(subprocess.Popen([*command, "--no-dashboard", *options], cwd=Path.cwd()))  # noqa: S603

    start("scheduler", "--host", "127.0.0.1", "--port", "8799")
    try:
        for _ in range(WORKERS):
            start("worker", "--host", "127.0.0.1", "--nthreads", "1", "--local-directory", str(folder))
        time.sleep(10)
        yield "tcp://127.0.0.1:8799"
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
