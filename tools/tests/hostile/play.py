"""Start a runner of hostile files, and restart it after each file that crashed it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tools.jobs.processes import THREADS
from tools.tests.hostile.allowed import ROOT
from tools.tests.hostile.home import Home

ENVIRONMENT = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": str(ROOT)}
RUNNER = (sys.executable, "-m", "tools.tests.hostile.runner")


def variables(home: Home) -> dict[str, str]:
    """Return the environment variables that keep a runner in its home, from its start.

    No compiled code is written beside a module. PyTorch gets the user's name, for which it would search /etc/passwd.
    """
    return {
        "HOME": str(home.user),
        "NUMBA_CACHE_DIR": str(home.user / "numba"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(home.unpacking),
        "USER": "user",
    }


def play(
    suite: str, home: Home, numbers: Sequence[int], timeout: float = 3000, under: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the outcome of each command on each file; for a crash, the process's last output.

    Args:
        suite: A key of `runner.SUITES`.
        home: Where `write_good_files` has been.
        numbers: The files' numbers.
        timeout: Seconds of one process.
        under: A command that starts the runner, such as strace's.
    """
    found: list[dict[str, Any]] = []
    waiting = [*numbers]
    environment = ENVIRONMENT | variables(home)
    while waiting:
        shutil.rmtree(home.files, ignore_errors=True)  # a runner that crashed has left its file
        home.make()
        command = [*under, *RUNNER, suite, str(home.root), ",".join(map(str, waiting))]
        process = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=timeout
        )
        lines = [json.loads(line) for line in process.stdout.splitlines()]
        found += [begun | ended for begun, ended in zip(lines[::2], lines[1::2], strict=False)]
        if len(lines) % 2 == 0:
            assert process.returncode == 0, process.stderr
            break
        found.append(lines[-1] | {"killed": process.stderr[-2000:]})
        waiting = waiting[waiting.index(lines[-1]["number"]) + 1 :]
    return found
