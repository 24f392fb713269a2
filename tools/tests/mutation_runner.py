"""Run the command on spoiled files, in a process that may crash.

`python -m tools.tests.mutation_runner FOLDER START STOP` takes a folder of good files (`*.onnx`) and a clip. It prints
a JSON line before and after each command, so that the reader knows the last file.
"""

import ctypes
import faulthandler
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.cli import main as cli
from tools.tests.mutations import SECRET, mutant

MEMORY = 8 << 30
"""Memory limit of the process in bytes. An allocation beyond it fails, which the command must report."""
PATIENCE = 60
"""Timeout in seconds of one command, which takes less than one. A command that hangs dumps its stack and ends."""

OF_LIBRARIES = (".ses", "torchinductor_")
"""Prefixes of temporary files that onnxruntime and PyTorch themselves leave once."""

IN_ACCESS, IN_OPEN = 0x1, 0x20
COMMANDS = ("info", "verify")


def main(home: Path, start: int, stop: int) -> None:
    """Run both commands on every file from number `start` to `stop`."""
    trials = Trials(home)
    bases = [path.read_bytes() for path in sorted(home.glob("*.onnx"))]
    folder = home / "files"
    folder.mkdir(exist_ok=True)
    for number in range(start, stop):
        kind, content = mutant(number, bases[number % len(bases)], folder)
        path = folder / "spoiled.onnx"
        path.write_bytes(content)
        for command in COMMANDS:
            words = ["--clip", home / "clip", "--frames", 16, "--checkpoint", "seeded"] if command == "verify" else []
            trials.run({"number": number, "kind": kind, "command": command}, [command, path, *words])
        path.unlink()  # overwriting it would wait for the disk


class Trials:
    """Runs commands, watches each, and reports before and after it on stdout.

    Args:
        home: The folder of all files that the commands may use. They unpack into `tmp` in it.
    """

    def __init__(self, home: Path) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        self._home = home
        self._reports = os.fdopen(os.dup(1), "w", buffering=1)
        self._trouble = os.fdopen(os.dup(2), "w")
        faulthandler.enable(self._trouble)
        self._opened: list[str] = []
        unpacking = home / "tmp"
        unpacking.mkdir(exist_ok=True)
        tempfile.tempdir = os.environ["TMPDIR"] = str(unpacking)
        sys.addaudithook(lambda event, arguments: _note(self._opened, unpacking, event, arguments))

    def run(self, what: dict[str, object], words: list[object]) -> None:
        """Print `what`, run one command, and print its outcome."""
        for name in (SECRET, "out", "err"):
            (self._home / name).touch()
        print(json.dumps(what), file=self._reports)
        before = self._there()
        faulthandler.dump_traceback_later(PATIENCE, exit=True, file=self._trouble)
        with watched(self._home / SECRET) as touched:
            self._opened.clear()
            start = time.monotonic()
            outcome = run_command(self._home, words)
            seconds = time.monotonic() - start
        faulthandler.cancel_dump_traceback_later()
        left = self._there() != before
        outcome |= {"opened": [*self._opened], "touched": touched, "left": left, "seconds": seconds}
        print(json.dumps(outcome), file=self._reports)

    def _there(self) -> list[Path]:
        return sorted(path for path in self._home.rglob("*") if not path.name.startswith(OF_LIBRARIES))


def run_command(home: Path, words: list[object]) -> dict[str, object]:
    """Run the command. Return its exit code, and the output of Python and of the libraries it calls."""
    sys.argv = ["rvm-export", "--debug", *map(str, words)]
    with _captured(1, home / "out") as out, _captured(2, home / "err") as err:
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        except BaseException as error:  # any such error would end the command with a traceback
            code = f"{type(error).__name__}: {error}"
    return {"code": code, "out": out.read_text(), "err": err.read_text()}


@contextmanager
def _captured(stream: int, path: Path) -> Iterator[Path]:
    kept = os.dup(stream)
    with path.open("wb") as file:
        os.dup2(file.fileno(), stream)
        yield path
        (sys.stdout, sys.stderr)[stream - 1].flush()
    os.dup2(kept, stream)
    os.close(kept)


@contextmanager
def watched(path: Path) -> Iterator[list[str]]:
    """Yield a list that gets the path if anything opens the file, even native code: uses Linux's inotify."""
    touched: list[str] = []
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(path), IN_ACCESS | IN_OPEN) >= 0
    yield touched
    try:
        os.read(watch, 4096)
        touched.append(str(path))
    except BlockingIOError:
        pass
    os.close(watch)


def _note(opened: list[str], unpacking: Path, event: str, arguments: tuple[object, ...]) -> None:
    """Record the files that Python opens for writing, and the forbidden files that it reads."""
    if event != "open" or not isinstance(arguments[0], (str, bytes)):
        return
    name, mode, flags = os.fsdecode(arguments[0]), arguments[1], arguments[2]
    if Path(name).is_relative_to(unpacking) or name == os.devnull:
        return
    writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else set(str(mode)) & set("wax+")
    if (writes and Path(name).name not in ("out", "err")) or name.endswith((SECRET, "link.bin", "/proc/self/mem")):
        opened.append(name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
