"""Keep the process on the system's usual scheduling."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")


@contextmanager
def usual_scheduling() -> Iterator[None]:
    """Restore the scheduling of threads that the block made real-time, on Linux.

    Under root, SVT-AV1 makes the thread that opens it real-time, and its own threads too. Threads that this one starts
    later inherit that, and together they leave no processor time to other processes.
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
