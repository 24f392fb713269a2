"""Run calls on a Dask cluster, each in its own process beside the worker.

The user starts scheduler and workers: `dask scheduler`, and on each machine `dask worker tcp://HOST:8786 --nthreads 1`.
With one thread a worker runs one job at a time.

A cluster is trusted: whoever can connect to a scheduler or a worker can run code there, and whoever runs one can run
code here, since Dask itself unpickles messages. Addresses of tls:// admit only holders of a certificate. Dask's own
configuration names the certificates, see `docs/tasks/release.md`.

Calls are sent as names of functions and plain values. So the scheduler and all workers need rvm-export in the same
version, and the workers also need the extras of the jobs. Paths in a job are the worker's: files lie in a folder that
all machines have at the same path.

The worker sets the threads of a job: one, unless DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__OMP_NUM_THREADS says more.
If a machine disappears, Dask moves its job to another, as often as the scheduler's `allowed-failures` says. If no
worker is left, the job waits for one.
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
    from distributed import Client, Security

CONNECT_SECONDS = 10
"""Timeout for the scheduler's answer, and for the first worker."""


class ClusterError(UserError):
    """A cluster that cannot be used. The message is one line for the user."""


@contextmanager
def dask_cluster(address: str) -> Iterator[Place]:
    """Yield the cluster's workers. Jobs that still run or wait at the end of the `with` block are stopped.

    Args:
        address: The scheduler's address, such as tcp://127.0.0.1:8786.

    Raises:
        ClusterError: distributed is not installed, the scheduler does not answer, it has no workers, or one has
            another version of rvm-export.
    """
    if find_spec("distributed") is None:
        raise ClusterError("--cluster needs distributed; run: pip install 'rvm-export[cluster]'")
    from distributed import Client, Security

    security = Security()  # from Dask's configuration
    if address.startswith("tls://") and not security.get_tls_config_for_role("client")["ca_file"]:
        prefix = "DASK_DISTRIBUTED__COMM__TLS"
        raise ClusterError(
            f"{address} needs certificates, and Dask's configuration names none; set {prefix}__CA_FILE, "
            f"{prefix}__CLIENT__CERT and {prefix}__CLIENT__KEY to their files"
        )
    _check_address(address, security)
    client = Client(address, timeout=CONNECT_SECONDS, security=security, set_as_default=False)
    try:
        try:
            client.wait_for_workers(1, CONNECT_SECONDS)
        except TimeoutError as error:
            raise ClusterError(
                f"the Dask cluster at {address} has no workers; start some: dask worker {address} --nthreads 1"
            ) from error
        _check_versions(client)
        # Not pure: Dask runs a retried job again instead of returning its first result.
        yield Place(executor=client.get_executor(pure=False), stopped=is_withdrawn)
    finally:
        client.close(timeout=CONNECT_SECONDS)  # cancels the submitted jobs


def is_withdrawn() -> bool:
    """Return whether the client has cancelled this job, or is gone. Runs in a worker's thread."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state in ("cancelled", "released")


def _check_address(address: str, security: "Security") -> None:
    """Raise ClusterError unless a scheduler answers. `Client` waits forever if a server accepts and is silent."""
    from distributed.comm.core import connect

    async def call() -> None:
        certificates = security.get_connection_args("client")
        comm = await asyncio.wait_for(connect(address, timeout=CONNECT_SECONDS, **certificates), CONNECT_SECONDS)
        await comm.close()

    try:
        asyncio.run(call())
    # The server may be anything, such as a web server. distributed then raises whatever error its answer causes.
    except Exception as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address!r} ({str(error) or f'silent for {CONNECT_SECONDS} s'}); give the "
            "address that `dask scheduler` shows, such as tcp://127.0.0.1:8786"
        ) from error


def _check_versions(client: "Client") -> None:
    """Raise ClusterError unless all have this version. A worker that cannot import a job's function dies silently."""

    # An inner function is sent by value, not by name.
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
