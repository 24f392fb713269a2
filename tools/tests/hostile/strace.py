"""Watch a runner's system calls: what native code opens, starts and connects to, which Python does not see."""

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.tests.hostile.home import Home
from tools.tests.hostile.play import play
from tools.tests.hostile.watch import OF_MACHINE, PRIVATE, is_local, is_ours, readable_roots

CALLS = (
    *("execve", "execveat", "open", "openat", "openat2", "creat", "truncate", "unlink", "unlinkat", "rename"),
    *("renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "link", "linkat", "symlink", "symlinkat", "connect"),
)
_OPENS = ("open", "openat", "openat2", "creat")
_CALL = re.compile(r"\d+ +(\w+)\((.*)\) += +(-?\d+|\?)")
_QUOTED = re.compile(r'(?:\w+<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_ADDRESS = re.compile(r'sin6?_addr=\S*"([^"]*)"|inet_addr\("([^"]*)"\)|inet_pton\(AF_INET6, "([^"]*)"')
CONNECTED = "connected: "
_RUNNERS = ("/dev/null", "/dev/shm", "/dev/tty", "/proc/self", "/dev/pts")
"""Places that Python and the libraries write to in any process."""


def trace(
    suite: str, home: Home, numbers: Sequence[int], timeout: float = 3000
) -> tuple[list[dict[str, Any]], int, list[str]]:
    """Play files under strace. Return the outcomes, the number of system calls, and a line for each forbidden one."""
    log = home.root.parent / f"{home.root.name}.strace"
    log.unlink(missing_ok=True)
    names = ",".join(CALLS)
    under = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-A", "-s", "4096", "-e", f"trace={names}", "-o", str(log)]
    outcomes = play(suite, home, numbers, timeout, under)
    lines = log.read_text(errors="surrogateescape").splitlines()
    return outcomes, len(lines), sorted({*forbidden(lines, home)})


def missing() -> bool:
    return shutil.which("strace") is None


def forbidden(lines: Sequence[str], home: Home) -> Iterator[str]:
    """Yield a line for each foreign program, file written or read elsewhere, and connection to another machine.

    A program that is not there counts too: on another machine it is.
    """
    writable = (str(home.root), *_RUNNERS)
    readable = (*writable, *OF_MACHINE, *readable_roots())
    for line in lines:
        match = _CALL.match(line)
        if match is None:
            continue
        name, arguments, result = match.groups()
        paths = [*_paths(arguments)]
        if name in ("execve", "execveat"):
            if not is_ours(paths[:1]):
                yield f"started: {paths[0]}"
        elif name == "connect":
            for address in _ADDRESS.findall(arguments):
                if not is_local(("".join(address), 0)):
                    yield f"{CONNECTED}{''.join(address)}"
        elif name not in _OPENS or name == "creat" or re.search("O_(WRONLY|RDWR|CREAT|TRUNC)", arguments):
            yield from (f"{name}: {path}" for path in paths if result != "-1" and not _below(path, writable))
        elif result != "-1":
            yield from (f"read: {path}" for path in paths[:1] if not _below(path, readable) or path in PRIVATE)


def _paths(arguments: str) -> Iterator[str]:
    """Yield the paths in a call's arguments, absolute."""
    for folder, name in _QUOTED.findall(arguments):
        yield str(Path(folder or "/", _unescaped(name)))


def _unescaped(text: str) -> str:
    return text.encode("latin-1", errors="replace").decode("unicode_escape")


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
