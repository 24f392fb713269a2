"""Watch what a command does outside of its folders: files, processes, connections."""

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.tests.hostile import allowed
from tools.tests.hostile.home import Home

_IN_ACCESS, _IN_OPEN, _IN_CREATE, _IN_DELETE = 0x1, 0x20, 0x100, 0x200
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = {
    "os.chmod": (0,),
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
}
"""Audit events that change a file system, and which of their arguments are the paths changed."""

_STARTS = {"subprocess.Popen": 1, "os.exec": 1, "os.posix_spawn": 1, "os.spawn": 2, "os.system": 0}
"""Audit events that start a process, and which of their arguments is its command line."""


@dataclass
class Seen:
    """The things that a command did and must not do, one line each."""

    files: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)


class Watch:
    """Sees all that Python code does, by an audit hook, which cannot be removed again: make one in a process.

    Native code is watched by `strace.py` and by `watched`.
    """

    def __init__(self, home: Home) -> None:
        self._written, self._read = allowed.written(home), allowed.read(home)
        self._seen: Seen | None = None
        sys.addaudithook(self._note)

    @contextmanager
    def watching(self) -> Iterator[Seen]:
        """Yield a record that fills until the block ends."""
        self._seen = seen = Seen()
        try:
            yield seen
        finally:
            self._seen = None

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._seen is None:
            return
        if event == "open":
            self._note_open(self._seen, *arguments[:3])
        elif event in _CHANGES:
            self._note_change(self._seen, event, arguments)
        elif event in _STARTS:
            command = arguments[_STARTS[event]]
            if not allowed.is_ours(command):
                self._seen.processes.append(f"{event}: {command!r}"[:500])
        elif event in ("socket.connect", "socket.bind") and not allowed.is_local(arguments[1]):
            self._seen.connections.append(f"{event}: {arguments[1]!r}")

    def _note_open(self, seen: Seen, name: object, mode: object, flags: object) -> None:
        path = _absolute(name)
        if path is None:
            return
        writes = bool(flags & _WRITES) if isinstance(flags, int) else bool({*str(mode)} & {*"wax+"})
        if not allowed.is_below(allowed.own(path, ()), self._written if writes else self._read):
            seen.files.append(f"{'written' if writes else 'read'}: {path}")

    def _note_change(self, seen: Seen, event: str, arguments: tuple[object, ...]) -> None:
        # Names relative to a folder's descriptor are those of `shutil.rmtree`, which opened the folder before.
        relative = any(isinstance(each, int) and each >= 0 for each in arguments[-2:]) and event != "os.mkdir"
        for name in (arguments[k] for k in _CHANGES[event]):
            path = _absolute(name)
            if path is None or (relative and not Path(os.fsdecode(name)).is_absolute()):  # type: ignore[arg-type]
                continue
            may = allowed.is_towards if event == "os.mkdir" else allowed.is_below
            if not may(path, self._written):
                seen.files.append(f"{event}: {path}")


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Yield a list that gets the files of a folder that anything opens, even native code: uses Linux's inotify."""
    opened: list[str] = []
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(folder), _IN_ACCESS | _IN_OPEN | _IN_CREATE | _IN_DELETE) >= 0
    yield opened
    try:
        events = os.read(watch, 1 << 16)
    except BlockingIOError:
        events = b""
    os.close(watch)
    while events:
        (length,) = struct.unpack("I", events[12:16])
        name = events[16 : 16 + length].rstrip(b"\0")
        if name:  # without one it is the folder itself, which may be somebody else's search
            opened.append(f"opened: {folder / os.fsdecode(name)}")
        events = events[16 + length :]


def _absolute(name: object) -> str | None:
    if not isinstance(name, (str, bytes)):
        return None
    return os.path.abspath(os.fsdecode(name))  # noqa: PTH100 (links are not followed: a link's own place counts)
