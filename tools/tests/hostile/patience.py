"""End this process if a command hangs, with the stacks of all its threads."""

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

PATIENCE = 60
"""Timeout in seconds of one command, which takes a few.

A command that works is given twice as long, and more on a machine that has other work too, see `slowness`.
"""

STACK = "most recent call first"
"""A part of what is printed about a process that hangs."""

_IDLE_SECONDS = 20
_IDLE_WORK = 0.1
"""A command waits if it worked less than this in so many seconds, and no process of its own works for it."""


@contextmanager
def patience(trouble: TextIO) -> Iterator[None]:
    """End this process if the block hangs. `trouble` gets the stacks."""
    ended = threading.Event()
    waiter = threading.Thread(target=_end_if_it_waits, args=(ended, trouble), daemon=True)
    faulthandler.dump_traceback_later(2 * PATIENCE * slowness(), exit=True, file=trouble)
    waiter.start()
    try:
        yield
    finally:
        ended.set()
        waiter.join()
        faulthandler.cancel_dump_traceback_later()


def slowness() -> float:
    """Return how many times longer a command may take, by the machine's other work."""
    return max(1, os.getloadavg()[0] / (os.cpu_count() or 1))


def cpu_seconds() -> float:
    """Return the time that this process and its ended children have worked."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _end_if_it_waits(ended: threading.Event, trouble: TextIO) -> None:
    start = time.monotonic()
    worked = [(start, cpu_seconds())]
    while not ended.wait(1):
        now = time.monotonic()
        worked.append((now, cpu_seconds()))
        before = max((each for each in worked if each[0] <= now - _IDLE_SECONDS), default=(now, 0.0))
        waits = before[0] < now and worked[-1][1] - before[1] < _IDLE_WORK and not _children()
        if now - start > PATIENCE and waits:
            trouble.write(f"It waited for {now - start:.0f} s.\n")
            trouble.flush()
            faulthandler.dump_traceback(trouble)
            os._exit(1)


def _children() -> list[str]:
    """Return the processes that this one has started and that live."""
    return [pid for tasks in Path("/proc/self/task").glob("*/children") for pid in tasks.read_text().split()]
