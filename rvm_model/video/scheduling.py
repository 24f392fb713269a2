"""Keep the process on the system's usual scheduling."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")


@contextmanager
def usual_scheduling() -> Iterator[None]:
    """Give back their scheduling to threads that the block made real-time, on Linux.

    Started by root, SVT-AV1 makes the thread that opens it real-time, and its own threads with it. Whatever this thread
    starts later inherits that, and all of it together leaves nothing of the machine to others.
    """
    if sys.platform != "linux":
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    known = {*_threads()}
    try:
        yield
    finally:
        for thread in ({*_threads()} - known) | {0}:
            with suppress(ProcessLookupError):  # it has ended
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, parameters)


def _threads() -> Iterator[int]:
    return (int(each.name) for each in _TASKS.iterdir())
