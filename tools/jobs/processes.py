"""A call in a process of its own, and places that run many: this machine here, a Dask cluster in `cluster.py`.

A standard pool of processes keeps them, and when one dies all its calls are lost. Here a death is one call's, a retry
is always on another process, and what a job took of memory is given back when it ends. That costs what starting Python
and importing the job's module do, a second or two with PyTorch, against jobs of minutes. It is the same on a cluster,
where a worker lives on when its job dies, and can end a job that nobody waits for any more.
"""

import os
import pickle
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Any

from tools.jobs.child import ENDING_SECONDS
from tools.shared.machine import cores

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
"""Variables in which PyTorch, NumPy, onnxruntime (`exporters/onnx/runtimes/session.py`) and TensorFlow read threads."""

_LOOK_SECONDS = 0.1  # how often it is asked whether to go on
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


class ProcessDied(Exception):
    """A call's process ended without an answer. The message says how."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where calls run: `executor` takes `in_process`, which is given the other two.

    `stopped` says, beside the process, that nobody wants the answer any more; `environment` is added to the process's.
    """

    executor: Executor
    stopped: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)


def in_process(
    call: bytes,
    stopped: Callable[[], bool],
    environment: Mapping[str, str],
    ending: float = ENDING_SECONDS + 2,
    seconds: float | None = None,
) -> Any:
    """Make a call in a process of its own, which is gone afterwards, and give what it returned.

    Args:
        call: A function and its arguments as pickle writes them.
        stopped: Asked again and again; if true, the process is asked to end, and soon made to.
        environment: Added to the process's before it imports anything.
        ending: How many seconds "soon" are.
        seconds: How long the call may take; None for as long as it likes.

    Raises:
        ProcessDied: the process ended without an answer, was stopped, or took too long.
    """
    # The path as it is here, not as the environment has it: whoever finds this module, finds the call's.
    code = f"import sys; sys.path[:] = {sys.path!r}; from tools.jobs.child import main; main()"
    with Popen(  # noqa: S603
        [sys.executable, "-c", code],
        stdin=PIPE,
        stdout=PIPE,
        bufsize=0,
        env={**os.environ, **environment},
        process_group=0,  # Ctrl-C is for us, who then end it
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(call)
            answer = b""
            start = time.monotonic()
            while not stopped():
                if seconds is not None and time.monotonic() - start > seconds:
                    raise ProcessDied(f"it took longer than {seconds:g} s, and was ended")
                if select.select([process.stdout], [], [], _LOOK_SECONDS)[0]:
                    part = process.stdout.read(1 << 20)
                    if not part:
                        break
                    answer += part
            else:
                raise ProcessDied("it was stopped")
            code_at_end = _wait(process, ending)
        finally:
            process.terminate()
            _wait(process, ending)
    if code_at_end != 0 or not answer:
        raise ProcessDied(f"its process {_ending(code_at_end)}")
    return pickle.loads(answer)  # noqa: S301 - from our own process


@contextmanager
def this_machine(processes: int) -> Iterator[Place]:
    """So many processes at a time, which share the CPU's cores, and of which none is left when the `with` ends."""
    threads = str(max(1, cores() // processes))
    # Where the user has set one, it stands.
    environment = {name: threads for name in THREADS if name not in os.environ}
    stop = threading.Event()
    executor = ThreadPoolExecutor(processes, "job")
    try:
        yield Place(executor=executor, stopped=stop.is_set, environment=environment)
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)


def default_processes(jobs: int, memory_per_job: int) -> int:
    """How many to run at a time: one for each job, but no more than there are cores, or than memory holds.

    Args:
        jobs: How many there are to run.
        memory_per_job: The most that one takes, in bytes.
    """
    return max(1, min(jobs, cores(), _memory() // memory_per_job))


def _memory() -> int:
    """Bytes that this machine has, or that its container may have."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(installed, int(_CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit, which reads "max"
        return installed


def _wait(process: Popen[bytes], seconds: float) -> int:
    """Its exit code; it is killed if it takes longer to end."""
    try:
        return process.wait(seconds)
    except TimeoutExpired:
        process.kill()
        return process.wait()


def _ending(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"was ended by {name}{', as happens when memory runs out' if name == 'SIGKILL' else ''}"
    return f"ended with exit code {code} before its answer"
