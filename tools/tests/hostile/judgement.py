"""Say what is wrong with the outcome of one command on one hostile file."""

import re
from typing import Any

MOST_SECONDS_TO_REFUSE = 20
"""Limit of a command's processor time, which other work on the machine does not lengthen.

A wait ends after `patience.PATIENCE`.
"""

MOST_MEMORY_TO_REFUSE = 1_500_000_000
"""Bytes of the largest process."""

ERROR = "rvm-export: error: "
LONGEST_LINE = 2_000
_RECORDS = (".rvm-export-made", ".rvm-release")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SILENT = ("info", "verify", "verify --clip", "verify --checkpoint", "release verify")
"""Commands that print nothing on stdout unless they are asked for a report."""


def wrong_with(outcome: dict[str, Any]) -> list[str]:
    """Return a line for each fault of one command on one hostile file; none if it did all it must.

    The exit code must be 0, 1 or 2, and for 2 there is exactly one line of error, which names the file if `names` says
    how. No traceback and no control character is printed. Nothing is read or written elsewhere, left, started or
    connected to. A refused file leaves no output, and is refused quickly and in little memory.
    """
    told = " ".join(str(outcome[key]) for key in ("number", "file", "kind", "command"))
    if "killed" in outcome:
        return [f"{told}: its process was ended: {outcome['killed'][-1500:]}"]
    code, err = outcome["code"], outcome["err"]
    lines = [line for line in err.splitlines() if line.startswith(ERROR)]
    refused = code == 2
    faults = {
        "exit code": code not in (0, 1, 2),
        "traceback": "Traceback" in err or "internal error" in err,
        "no error, or more than one": refused and len(lines) != 1,
        "an error that does not name the file": refused and outcome.get("names", "") not in "".join(lines),
        "a long line": any(len(line) > LONGEST_LINE for line in err.splitlines()),
        "control characters": _CONTROL.search(err),
        "stdout": outcome["out"] and (refused or outcome["command"] in _SILENT),
        "files": outcome["files"],
        "processes": outcome["processes"],
        "connections": outcome["connections"],
        "left": outcome["left"],
        "written": outcome["written"] if refused else [name for name in outcome["written"] if is_partial(name)],
        "seconds": refused and outcome["cpu_seconds"] > MOST_SECONDS_TO_REFUSE,
        "memory": refused and outcome["memory"] > MOST_MEMORY_TO_REFUSE,
        "expected": outcome.get("fault", ""),
    }
    shown = {key: outcome[key] for key in ("code", "err", "cpu_seconds", "memory")}
    return [f"{told}: {what}: {found}: {shown}"[:3000] for what, found in faults.items() if found]


def is_partial(name: str) -> bool:
    """Return whether a file is half-written: it has a hidden name, and is no record of a release or of jobs."""
    return any(part.startswith(".") and part not in _RECORDS for part in name.split("/"))
