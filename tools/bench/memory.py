"""The memory of a process and its children, as Linux counts it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROCESSES = Path("/proc")
_FORGET_PEAK = "5"  # see proc(5)


def resident() -> int | None:
    """Return the bytes of memory that this process and its children use now; None where there is no /proc."""
    return _sum("VmRSS")


def peak() -> int | None:
    """Return the sum of their peaks since `forget_peak`; None where there is no /proc."""
    return _sum("VmHWM")


def forget_peak() -> None:
    """Reset the peaks to the current memory. If the system does not allow it, the peaks of their whole lives stay."""
    for process in _family(os.getpid()) if _PROCESSES.is_dir() else ():
        with suppress(OSError):
            (_PROCESSES / str(process) / "clear_refs").write_text(_FORGET_PEAK)


def _sum(field: str) -> int | None:
    if not _PROCESSES.is_dir():
        return None
    return sum(_bytes(process, field) for process in _family(os.getpid()))


def _family(process: int) -> Iterator[int]:
    yield process
    try:
        children = [path.read_text() for path in (_PROCESSES / str(process) / "task").glob("*/children")]
    except OSError:  # it has ended
        return
    for child in " ".join(children).split():
        yield from _family(int(child))


def _bytes(process: int, field: str) -> int:
    try:
        lines = (_PROCESSES / str(process) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)
