"""A Dask cluster as a place to run calls in, each in a process of its own beside the worker.

Scheduler and workers are the user's: `dask scheduler`, and on each machine `dask worker tcp://HOST:8786 --nthreads 1`.
With one thread a worker runs one job at a time. What it is sent are names of functions and plain values, so that all of
them, the scheduler too, need rvm-export in the same version, and the workers the extras that the jobs need. Paths in a
job are the worker's: files lie in a folder that all machines have at the same place. How many threads a job has is the
worker's matter too: Dask gives it one, unless DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__OMP_NUM_THREADS says more. A
job whose machine goes is taken to another by Dask itself, as often as the scheduler's `allowed-failures` says; if none
is left, it waits for one.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rvm_model import __version__
from rvm_model.errors import UserError
from tools.jobs.processes import Place

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 10
"""For the scheduler to answer, and for a first worker to be there."""


class ClusterError(UserError):
    """A cluster that cannot be used. The message is one line for the user."""


@contextmanager
def dask_cluster(address: str) -> Iterator[Place]:
    """The cluster's workers, until the `with` ends; what runs or waits there then is stopped.

    Args:
        address: Of the scheduler, such as tcp://127.0.0.1:8786.

    Raises:
        ClusterError: distributed is not installed, the scheduler does not answer, it has no workers, or they have
            not this rvm-export.
    """
    if find_spec("distributed") is None:
        raise ClusterError("--cluster needs distributed; run: pip install 'rvm-export[cluster]'")
    from distributed import Client

    _check_address(address)
    client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    try:
        try:
            client.wait_for_workers(1, CONNECT_SECONDS)
        except TimeoutError as error:
            raise ClusterError(
                f"the Dask cluster at {address} has no workers; start some: dask worker {address} --nthreads 1"
            ) from error
        _check_versions(client)
        # A job that is tried again is run again, and not remembered.
        yield Place(executor=client.get_executor(pure=False), stopped=is_withdrawn)
    finally:
        client.close(timeout=CONNECT_SECONDS)  # which withdraws what it has submitted


def is_withdrawn() -> bool:
    """Asked in a worker's thread: whether the client has cancelled what runs there, or is gone."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state in ("cancelled", "released")


def _check_address(address: str) -> None:
    """Raises ClusterError unless a scheduler answers. `Client` waits for ever where something accepts and is silent."""
    from distributed.comm.core import connect

    async def call() -> None:
        comm = await asyncio.wait_for(connect(address, timeout=CONNECT_SECONDS), CONNECT_SECONDS)
        await comm.close()

    try:
        asyncio.run(call())
    # What answers may be anything, a web server say, and distributed then raises what it happens to stumble on.
    except Exception as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address!r} ({str(error) or f'silent for {CONNECT_SECONDS} s'}); give the "
            "address that `dask scheduler` shows, such as tcp://127.0.0.1:8786"
        ) from error


def _check_versions(client: "Client") -> None:
    """Raises ClusterError unless all have this version. A worker that cannot import a job's call is lost, silently."""

    # Within a function, so that it is sent itself and not by name.
    def installed() -> str:
        try:
            import tools.jobs.cluster  # noqa: F401
            from rvm_model import __version__
        except ImportError as error:
            return f"no rvm-export ({error})"
        return f"rvm-export {__version__}"

    found = {"the scheduler": client.run_on_scheduler(installed)}
    found |= {f"the worker at {address}": each for address, each in client.run(installed).items()}
    for who, what in found.items():
        if what != f"rvm-export {__version__}":
            raise ClusterError(f"{who} has {what}; install {__version__} with the scheduler and all its workers")
