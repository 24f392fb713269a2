"""The command on one spoiled file after the other, in a process that may die of it.

`python -m tools.tests.mutation_runner FOLDER START STOP`, where FOLDER holds good files (`*.onnx`) and a clip. Prints a
JSON line before and after each command, so that whoever reads them knows which file was the last.
"""

import ctypes
import faulthandler
import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import cli
from tools.tests.mutations import SECRET, mutant

MEMORY = 8 << 30
"""Bytes of the process: what asks for more is told that there is none, and must say so."""
PATIENCE = 60
"""Seconds for one command, which takes less than one. Beyond, it hangs: the process says where, and ends."""

IN_ACCESS, IN_OPEN = 0x1, 0x20
COMMANDS = ("info", "verify")


def main(home: Path, start: int, stop: int) -> None:
    """Run both commands on every file of these numbers."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    reports = os.fdopen(os.dup(1), "w", buffering=1)
    trouble = os.fdopen(os.dup(2), "w")
    faulthandler.enable(trouble)
    bases = [path.read_bytes() for path in sorted(home.glob("*.onnx"))]
    folder = home / "files"
    folder.mkdir(exist_ok=True)
    opened: list[str] = []
    sys.addaudithook(lambda event, arguments: _note(opened, event, arguments))
    for number in range(start, stop):
        kind, content = mutant(number, bases[number % len(bases)], folder)
        path = folder / "spoiled.onnx"
        path.write_bytes(content)
        for name in (SECRET, "out", "err"):
            (home / name).touch()
        for command in COMMANDS:
            print(json.dumps({"number": number, "kind": kind, "command": command}), file=reports)
            words = ["--clip", home / "clip", "--frames", 16, "--checkpoint", "seeded"] if command == "verify" else []
            before = sorted(home.rglob("*"))
            faulthandler.dump_traceback_later(PATIENCE, exit=True, file=trouble)
            with watched(home / SECRET) as touched:
                opened.clear()
                outcome = run_command(home, [command, path, *words])
            faulthandler.cancel_dump_traceback_later()
            outcome |= {"opened": [*opened], "touched": touched, "left": sorted(home.rglob("*")) != before}
            print(json.dumps(outcome), file=reports)
        path.unlink()  # writing over it would wait for the disk


def run_command(home: Path, words: list[object]) -> dict[str, object]:
    """Exit code and what was written, by Python or by the libraries it calls."""
    sys.argv = ["rvm-export", *map(str, words)]
    with _captured(1, home / "out") as out, _captured(2, home / "err") as err:
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        except BaseException as error:  # whatever it is, the command would end in a traceback
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
    """Whether anybody opens a file, whatever the language: Linux tells."""
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


def _note(opened: list[str], event: str, arguments: tuple[object, ...]) -> None:
    """What Python opens to write, and what it reads of a file that it has no business with."""
    if event != "open" or not isinstance(arguments[0], (str, bytes)):
        return
    name, mode, flags = os.fsdecode(arguments[0]), arguments[1], arguments[2]
    writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else set(str(mode)) & set("wax+")
    if (writes and Path(name).name not in ("out", "err")) or name.endswith((SECRET, "link.bin", "/proc/self/mem")):
        opened.append(name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
