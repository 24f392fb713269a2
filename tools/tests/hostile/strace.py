"""Watch a runner's system calls: what native code opens, starts and connects to, which Python does not see."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.tests.hostile import allowed
from tools.tests.hostile.home import Home
from tools.tests.hostile.play import RUNNER, play

_READS = ("open", "openat", "openat2")
_WRITES = (
    *("creat", "truncate", "unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir"),
    *("link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "chmod", "fchmodat", "chown", "lchown", "fchownat"),
)
_STARTS = ("execve", "execveat")
_CONNECTS = ("connect", "bind", "sendto")
CALLS = (*_READS, *_WRITES, *_STARTS, *_CONNECTS, "chdir", "fchdir", "io_uring_setup", "ptrace", "process_vm_writev")

_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += +(-?\d+|\?)(?:<(.*)>)?(?:\(deleted\))?(?: .*)?")
_UNFINISHED = re.compile(r"(\d+) +(.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
_QUOTED = re.compile(r'(?:\w+<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_ADDRESS = re.compile(r'inet_addr\("([^"]*)"\)|inet_pton\(AF_INET6, "([^"]*)"')

_MARK = "/dev/null/rvm-trial/"
"""A folder that cannot exist: the attempt to remove a name in it is a line in the log."""

OWN_WORK = "own work"


@dataclass(frozen=True)
class Call:
    """A system call. `path` is that of the file which it opened, with all links followed."""

    thread: str
    name: str
    arguments: str
    path: str


def missing() -> bool:
    """Return whether strace is not installed, or not allowed to trace, as in some containers."""
    if shutil.which("strace") is None:
        return True
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False, timeout=60)
    return tried.returncode != 0


def mark(text: str) -> None:
    """Write into the log, if there is one, that from here on this thread works for `text`: a command, or `OWN_WORK`."""
    with suppress(OSError):
        os.rmdir(_MARK + text.replace("/", " "))  # noqa: PTH106 (`Path` removes what follows a slash)


def trace(
    suite: str, home: Home, numbers: Sequence[int], timeout: float = 3000
) -> tuple[list[dict[str, Any]], int, list[str]]:
    """Play files under strace. Return the outcomes, the number of system calls, and a line for each forbidden one."""
    log = home.root.parent / f"{home.root.name}.strace"
    log.unlink(missing_ok=True)
    outcomes = play(suite, home, numbers, timeout, under(log))
    with log.open(errors="surrogateescape") as lines:
        found = sorted({*forbidden(lines, home)})
    with log.open("rb") as lines:
        return outcomes, sum(1 for _ in lines), found


def under(log: Path) -> list[str]:
    """Return the beginning of a command line that watches the rest of it."""
    return [
        *("strace", "-f", "--seccomp-bpf", "-qq", "-y", "-A", "-s", "4096", "-o", str(log)),
        *("-e", f"trace={','.join(CALLS)}", "-e", "signal=none"),
    ]


def forbidden(lines: Iterable[str], home: Home) -> Iterator[str]:
    """Yield a line for each call that `allowed` does not excuse, with the command that made it.

    Attempts count too, since on another machine they succeed. Only the runner's main thread is excused, while it writes
    and removes hostile files.
    """
    judge = _Judge(home)
    main, work = "", "start"
    for call in _calls(lines):
        if call.name == "execve" and RUNNER[-1] in call.arguments:
            main, work = call.thread, "start"
        elif call.name == "rmdir" and _MARK in call.arguments:
            main, work = call.thread, call.arguments.strip('"').removeprefix(_MARK)
        elif call.thread != main or work != OWN_WORK:
            yield from (f"{work}: {what}" for what in judge.faults(call, at_start=work == "start"))


class _Judge:
    """Holds calls against what is allowed."""

    def __init__(self, home: Home) -> None:
        self._written, self._read = allowed.written(home), allowed.read(home)
        self._threads: set[str] = set()

    def faults(self, call: Call, *, at_start: bool) -> Iterator[str]:
        """Yield what is forbidden about a call."""
        self._threads.add(call.thread)
        if call.name in _STARTS:
            program, *words = [text for _, text in _texts(call.arguments)]
            if not allowed.is_ours([program]) and not (at_start and allowed.is_of_start(program, words)):
                yield f"started: {program} {words}"
        elif call.name in _CONNECTS:
            if "sa_family" in call.arguments and not _is_local(call.arguments):
                yield f"{call.name}: {call.arguments}"
        elif call.name in _READS:
            yield from self._faults_of_open(call, at_start=at_start)
        elif call.name in _WRITES:
            paths = [*_paths(call.arguments)]
            changed = paths[-1:] if call.name.startswith("symlink") else paths  # the other is only a text
            may = allowed.is_towards if call.name.startswith("mkdir") else allowed.is_below
            yield from (f"{call.name}: {path}" for path in changed if not may(path, self._written))
        else:
            yield f"{call.name}: {call.arguments}"

    def _faults_of_open(self, call: Call, *, at_start: bool) -> Iterator[str]:
        path = allowed.own(call.path or next(_paths(call.arguments)), self._threads)
        if re.search("O_(WRONLY|RDWR|CREAT|TRUNC)", call.arguments.rpartition('"')[2]):
            if not allowed.is_below(path, self._written):
                yield f"written: {path}"
        else:
            start, by_open = _AT_START if at_start else (), _BY_OPEN if call.name == "open" else ()
            if not allowed.is_below(path, (*self._read, *start, *by_open)):
                yield f"read: {path}"


_AT_START = tuple(each.path for each in allowed.READ_AT_START)
_BY_OPEN = tuple(each.path for each in allowed.BY_OPEN)


def _calls(lines: Iterable[str]) -> Iterator[Call]:
    """Yield the calls of a log. One that others interrupt is written in two lines."""
    begun: dict[str, str] = {}
    for line in lines:
        if match := _UNFINISHED.match(line):
            begun[match[1]] = match[2]
            continue
        if match := _RESUMED.match(line):
            line = f"{match[1]} {begun.pop(match[1])}{match[2]}"
        if match := _LINE.fullmatch(line.rstrip("\n")):
            thread, name, arguments, _, path = match.groups()
            yield Call(thread, name, arguments, _unescaped(path or ""))
        else:
            assert "+++" in line or "exit_group" in line, f"strace wrote a line that this cannot read: {line}"


def _texts(arguments: str) -> Iterator[tuple[str, str]]:
    """Yield each text in a call's arguments, and the folder that it is relative to, if that is given."""
    for folder, text in _QUOTED.findall(arguments):
        yield _unescaped(folder), _unescaped(text)


def _paths(arguments: str) -> Iterator[str]:
    """Yield the paths in a call's arguments, absolute. The runner stays in one folder, since `chdir` is forbidden."""
    for folder, name in _texts(arguments):
        yield os.path.normpath(Path(folder or allowed.ROOT, name))


def _unescaped(text: str) -> str:
    return os.fsdecode(text.encode("latin-1", errors="replace").decode("unicode_escape").encode("latin-1"))


def _is_local(arguments: str) -> bool:
    """Return whether the address in a call's arguments is on this machine. A service of the machine is another's."""
    match = _ADDRESS.search(arguments)
    return match is not None and allowed.is_local((match[1] or match[2], 0))
