"""Processes that tests start and communicate with."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def started(command: Sequence[object], **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start a process, and kill it when the block ends, so that a hanging process does not outlive its failed test."""
    with subprocess.Popen([*map(str, command)], text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()
