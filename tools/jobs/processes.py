"""Run each call in its own process, on this machine or on a Dask cluster (`cluster.py`).

A standard process pool keeps its processes: if one dies, all calls of the pool are lost. Here a death ends one call, a
retry gets a new process, and a job's memory is freed when it ends. The price is starting Python and importing the job's
module: a second or two with PyTorch, for jobs of minutes.

pebble 5.2 has time limits and a fresh process for each call too. It was tried and not taken: its processes outlive a
killed parent, a timeout leaves a call no time to remove its half-written files, and Dask's workers need this module
anyway.

A cluster works the same way. The worker survives if its job dies, and can end a job that nobody waits for.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from subprocess import PIPE, Popen, TimeoutExpired

from exporters.support.memory import memory_limit
from tools.jobs.child import ENDING_SECONDS
from tools.shared.machine import cores

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
"""Variables that set the threads of PyTorch, NumPy, TensorFlow, and the runtimes that have a process of their own.

See also `exporters/support/child.py` and `exporters/onnx/runtimes/session.py`.
"""

_LOOK_SECONDS = 0.1  # interval of the checks for stop and timeout


class ProcessDied(Exception):
    """A process that ended without an answer. The message says how."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place to run calls: `executor` runs `in_process`, with the other two as arguments.

    `stopped` returns whether the answer is no longer wanted. `environment` is added to the process's environment.
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
) -> str:
    """Make a call in a new process, end the process, and return the call's result as JSON.

    Args:
        call: A pickled tuple of a function and its arguments. The function returns what JSON can hold.
        stopped: Polled while the call runs. Once it returns True, the process is terminated, then killed.
        environment: Added to the process's environment before it imports anything.
        ending: Seconds between terminate and kill.
        seconds: Timeout of the call; None for no timeout.

    Raises:
        ProcessDied: the process ended without an answer, was stopped, or exceeded its timeout.
    """
    # Pass this process's path, not the environment's: it finds this module, so it finds the call's too.
    code = f"import sys; sys.path[:] = {sys.path!r}; from tools.jobs.child import main; main()"
    with Popen(  # noqa: S603
        [sys.executable, "-c", code],
        stdin=PIPE,
        stdout=PIPE,
        bufsize=0,
        env={**os.environ, **environment},
        process_group=0,  # Ctrl-C goes to this process, which then ends the child
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
    return answer.decode(errors="replace")


@contextmanager
def this_machine(processes: int) -> Iterator[Place]:
    """Yield a place that runs `processes` calls at a time.

    The processes share the CPU's cores, and none is left when the `with` block ends.
    """
    threads = str(max(1, cores() // processes))
    # A variable that the user has set stays.
    environment = {name: threads for name in THREADS if name not in os.environ}
    stop = threading.Event()
    executor = ThreadPoolExecutor(processes, "job")
    try:
        yield Place(executor=executor, stopped=stop.is_set, environment=environment)
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)


def default_processes(jobs: int, memory_per_job: int) -> int:
    """Return how many jobs to run at a time: all, but at most as many as there are cores, or as fit into memory.

    Args:
        jobs: Number of jobs.
        memory_per_job: Most memory of one job, in bytes.
    """
    return max(1, min(jobs, cores(), memory_limit() // memory_per_job))


def _wait(process: Popen[bytes], seconds: float) -> int:
    """Wait for a process and return its exit code. Kill it after a timeout."""
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
