"""Start a runner of spoiled files, and restart it after each file that crashed it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def play(module: str, home: Path, start: int, stop: int) -> list[dict[str, Any]]:
    """Return the outcome of each command on each file; for a crash, the process's last output."""
    found: list[dict[str, Any]] = []
    while start < stop:
        command = [sys.executable, "-m", module, home, start, stop]
        process = subprocess.run(
            [*map(str, command)], capture_output=True, text=True, cwd=ROOT, check=False, timeout=3000
        )
        lines = [json.loads(line) for line in process.stdout.splitlines()]
        found += [begun | ended for begun, ended in zip(lines[::2], lines[1::2], strict=False)]
        if len(lines) % 2 == 0:
            assert process.returncode == 0, process.stderr
            break
        found.append(lines[-1] | {"killed": process.stderr[-2000:]})
        start = lines[-1]["number"] + 1
    return found
