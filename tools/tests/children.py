"""Processes that tests start and talk to while they run."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def started(command: Sequence[object], **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start a process, and kill it when the block ends: one that hangs must not outlive the test that failed by it."""
    with subprocess.Popen([*map(str, command)], text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()
