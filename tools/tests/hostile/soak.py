"""Hostile files at length, for `reliability.py`: 10,000 mutants, all constructions, all faults, and strace on some."""

import csv
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from tools.tests.hostile import strace
from tools.tests.hostile.constructions import CONSTRUCTIONS
from tools.tests.hostile.faults import CASES, run_fault
from tools.tests.hostile.good_files import make_models, write_good_files
from tools.tests.hostile.home import Home
from tools.tests.hostile.judgement import wrong_with
from tools.tests.hostile.play import play
from tools.tests.hostile.runner import good_names

RESULTS = Path(__file__).parents[2] / "measure" / "results"
MUTANTS, TRACED = 10_000, 500
WORKERS = 2
SHARE = 250
"""Files of one process: libraries leak a little, and a process's memory is limited."""

PATIENCE = 4 * 3600
"""Timeout in seconds of one process's share."""

Line = dict[str, Any]


def mutants(count: int = MUTANTS) -> list[str]:
    """Run the commands on mutants, write a line for each kind of file and outcome, and return the faults."""
    outcomes = _played("mutants", range(count))
    write("mutations_cpu.csv", lines_of_mutants(outcomes))
    return [line for each in outcomes for line in wrong_with(each)]


def lines_of_mutants(outcomes: Sequence[Line]) -> list[Line]:
    """Return a line for each kind of file and outcome, with the most that one command took."""
    groups = defaultdict(list)
    for each in outcomes:
        groups[each["file"], each["kind"], each["command"], each.get("code", "killed")].append(each)
    return [
        {
            **dict(zip(("file", "kind", "command", "code"), group, strict=True)),
            "count": len(members),
            "longest_seconds": f"{max(each.get('seconds', 0) for each in members):.1f}",
            "most_cpu_seconds": f"{max(each.get('cpu_seconds', 0) for each in members):.1f}",
            "most_memory_mb": max(each.get("memory", 0) for each in members) >> 20,
        }
        for group, members in sorted(groups.items(), key=str)
    ]


def constructions() -> list[str]:
    """Run every command on every construction, write a line for each, and return the faults."""
    outcomes = _played("constructions", range(len(CONSTRUCTIONS)))
    lines = [
        {
            "construction": each["kind"],
            "command": each["command"],
            "code": each.get("code", "killed"),
            "cpu_seconds": each.get("cpu_seconds", ""),
            "memory_mb": each["memory"] >> 20 if "memory" in each else "",
            "good": "no" if wrong_with(each) else "yes",
        }
        for each in sorted(outcomes, key=lambda each: each["number"])
    ]
    write("constructions_cpu.csv", lines)
    return [line for each in outcomes for line in wrong_with(each)]


def faults() -> list[str]:
    """Run every command with every fault, write a line for each, and return the faults."""
    with homes(1) as (home,):
        outcomes = [run_fault(fault, subject, home) for fault, subject in CASES]
    columns = ("fault", "command", "code")
    lines = [{**{key: each[key] for key in columns}, "good": "no" if each["wrong"] else "yes"} for each in outcomes]
    write("faults_cpu.csv", lines)
    return [f"{each}" for each in outcomes if each["wrong"]]


def traces() -> list[str]:
    """Play good files, mutants and constructions under strace, write a line for each suite, and return the faults."""
    if strace.missing():
        Console(stderr=True).print("SKIPPED: strace is missing, or may not trace, so system calls were not watched")
        return []
    lines, wrong = [], []
    with homes(1) as (home,):
        suites = {"good": len(good_names(home)), "mutants": TRACED, "constructions": len(CONSTRUCTIONS)}
        for suite, count in suites.items():
            outcomes, calls, forbidden = [], 0, []
            for share in _shares(range(count)):
                of_share = strace.trace(suite, home, share, PATIENCE)
                outcomes += of_share[0]
                calls += of_share[1]
                forbidden += of_share[2]
            wrong += [line for each in outcomes for line in wrong_with(each)]
            wrong += [f"{suite} under strace: {each}" for each in forbidden]
            lines.append(
                {
                    "suite": suite,
                    "files": len({each["number"] for each in outcomes}),
                    "commands": len(outcomes),
                    "system_calls": calls,
                    "forbidden": len(forbidden),
                }
            )
            write("traces_cpu.csv", lines)
    return wrong


TASKS: dict[str, Callable[[], list[str]]] = {
    "mutations": mutants,
    "constructions": constructions,
    "faults": faults,
    "traces": traces,
}


@contextmanager
def homes(count: int) -> Iterator[list[Home]]:
    """Yield homes with good files, which are made once."""
    with tempfile.TemporaryDirectory() as folder:
        models, first = Path(folder) / "models", Home(Path(folder) / "home0")
        models.mkdir()
        write_good_files(first, make_models(models))
        others = [Home(Path(folder) / f"home{k}") for k in range(1, count)]
        for each in others:
            shutil.copytree(first.root, each.root)
        yield [first, *others]


def _played(suite: str, numbers: Sequence[int]) -> list[Line]:
    """Play files in shares, each in a process of its own, several at a time."""
    shares = _shares(numbers)
    with homes(WORKERS) as places, ThreadPoolExecutor(WORKERS) as pool:

        def work(worker: int) -> list[Line]:
            mine = shares[worker::WORKERS]
            return [each for share in mine for each in play(suite, places[worker], share, PATIENCE)]

        return [each for part in pool.map(work, range(WORKERS)) for each in part]


def _shares(numbers: Sequence[int]) -> list[Sequence[int]]:
    return [numbers[k : k + SHARE] for k in range(0, len(numbers), SHARE)]


def write(name: str, lines: Sequence[Line]) -> None:
    """Write a table. Names that are no text are written as Python shows them."""
    with (RESULTS / name).open("w", newline="", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
