"""Run one command in this process, watch it, and report on it."""

import faulthandler
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.cli import main as cli
from tools.tests.hostile import strace
from tools.tests.hostile.home import CAPTURED, Home
from tools.tests.hostile.patience import cpu_seconds, patience
from tools.tests.hostile.watch import Watch, watched

MEMORY = 8 << 30
"""Memory limit of the process in bytes. An allocation beyond it fails, which the command must report."""

IMPORTS = 770_000_000
"""Bytes that the imports of a command take in a process of its own, at most: PyTorch's with TensorFlow's, measured.

This process has imported all before.
"""

NOWHERE = "http://127.0.0.1:9"
"""A server of checkpoints that refuses every connection at once."""

OF_LIBRARIES = ("torchinductor_",)
"""Prefixes of temporary files that PyTorch itself leaves once."""


class Trials:
    """Runs commands, watches each, and reports before and after it on stdout.

    The process gets a memory limit, an empty home folder, and a server of checkpoints that does not answer.
    """

    def __init__(self, home: Home) -> None:
        strace.mark(strace.OWN_WORK)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        home.make()
        self._home = home
        self._reports = os.fdopen(os.dup(1), "w", buffering=1)
        self._trouble = os.fdopen(os.dup(2), "w")
        faulthandler.enable(self._trouble)
        tempfile.tempdir = str(home.unpacking)
        os.environ |= {"TMPDIR": str(home.unpacking), "HOME": str(home.user), "RVM_RELEASE_URL": NOWHERE}
        self._watch = Watch(home)

    def run(self, what: dict[str, object], words: Sequence[object], check_after: Callable[[], str]) -> None:
        """Print `what`, run one command, and print its outcome, to which `check_after` may add a fault."""
        home = self._home
        for name in CAPTURED:
            (home.root / name).touch()
        print(json.dumps(what), file=self._reports)
        before, had = self._there(), {*home.outputs.rglob("*")}
        taken, children = _memory("VmRSS"), _memory_of_children()
        _forget_peak()
        with patience(self._trouble), watched(home.outside) as touched, self._watch.watching() as seen:
            start, worked = time.monotonic(), cpu_seconds()
            strace.mark(f"{what['number']} {what['command']}")
            outcome = run_command(home.root, words)
            strace.mark(strace.OWN_WORK)
            seconds, worked = time.monotonic() - start, cpu_seconds() - worked
        after = self._there()
        written = sorted(str(path.relative_to(home.outputs)) for path in {*home.outputs.rglob("*")} - had)
        outcome |= {
            "files": [*seen.files, *touched],
            "processes": seen.processes,
            "connections": seen.connections,
            "left": sorted(str(path.relative_to(home.root)) for path, _ in before ^ after),
            "written": written,
            "fault": check_after(),
            "seconds": round(seconds, 2),
            "cpu_seconds": round(worked, 2),
            "memory": max(IMPORTS + _memory("VmHWM") - taken, _grown(children)),
        }
        remove(home.outputs)
        print(json.dumps(outcome), file=self._reports)

    def _there(self) -> set[tuple[Path, Any]]:
        """Return all files and folders with what changes when a file is written to, but for outputs and caches."""
        found: set[tuple[Path, Any]] = set()
        for path in self._home.root.rglob("*"):
            others = (self._home.outputs, self._home.user)
            if path.name.startswith(OF_LIBRARIES) or any(map(path.is_relative_to, others)):
                continue
            status = path.lstat()
            of_home = path.parent == self._home.root
            found.add((path, None if of_home or path.is_dir() else (status.st_size, status.st_mtime_ns)))
        return found


def remove(outputs: Path) -> None:
    """Remove what a command wrote, and keep the folder."""
    shutil.rmtree(outputs)
    outputs.mkdir()


def run_command(folder: Path, words: Sequence[object]) -> dict[str, object]:
    """Run the command. Return its exit code, and the output of Python and of the libraries it calls."""
    sys.argv = ["rvm-export", *(os.fsdecode(word) if isinstance(word, bytes) else str(word) for word in words)]
    with _captured(1, folder / CAPTURED[0]) as out, _captured(2, folder / CAPTURED[1]) as err:
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        except BaseException as error:  # any such error would end the command with a traceback
            code = f"{type(error).__name__}: {error}"
    return {"code": code, "out": out.read_text(errors="replace"), "err": err.read_text(errors="replace")}


@contextmanager
def _captured(stream: int, path: Path) -> Iterator[Path]:
    kept = os.dup(stream)
    with path.open("wb") as file:
        os.dup2(file.fileno(), stream)
        yield path
        (sys.stdout, sys.stderr)[stream - 1].flush()
    os.dup2(kept, stream)
    os.close(kept)


def _forget_peak() -> None:
    """Set the process's peak of memory to what it takes now."""
    Path("/proc/self/clear_refs").write_text("5")


def _memory(key: str) -> int:
    """Return a number of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{key}:"))


def _memory_of_children() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10


def _grown(before: int) -> int:
    """Return the largest child's memory if it is larger than all children's before and than this process, else 0.

    Until it starts its own program, a child counts as large as this process, which keeps what earlier files took.
    """
    after = _memory_of_children()
    return after if after > max(before, _memory("VmHWM")) else 0
