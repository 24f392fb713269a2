"""Run the commands on hostile files, in a process that may crash.

`python -m tools.tests.hostile.runner SUITE HOME NUMBER,NUMBER...`, where `write_good_files` has made HOME. It prints a
JSON line before and after each command, so that the reader knows the last file. `release verify` runs its jobs in this
process: so a fault that a job's own process would contain becomes visible, and no thousand processes are started.
"""

import json
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.jobs.runner import Job, Result, _attempt, _read_attempt, _result
from tools.release import check, make
from tools.tests.hostile import constructions, mutants
from tools.tests.hostile.commands import COMMANDS, EVERY, Words
from tools.tests.hostile.home import Home
from tools.tests.hostile.trial import Trials
from tools.tests.small_release import ROWS

Case = tuple[Mapping[str, object], Mapping[str, Words], Callable[[], str]]
"""The facts about a file; the words of each command that opens it; and what is wrong after one, see `Construction`."""


def nothing() -> str:
    return ""


@contextmanager
def mutated(number: int, home: Home) -> Iterator[Case]:
    """Yield the facts and commands of a spoiled file, while it exists."""
    mutant = mutants.draw(number, home)
    with mutants.written(mutant, home) as path:
        commands = {name: COMMANDS[name](path, home) for name in mutant.commands}
        yield {"file": mutant.name, "kind": mutant.way, "names": path.name}, commands, nothing


@contextmanager
def constructed(number: int, home: Home) -> Iterator[Case]:
    """Yield the facts and commands of a construction, while it exists."""
    name = [*constructions.CONSTRUCTIONS][number]
    with constructions.written(name, home) as construction:
        commands = {each: COMMANDS[each](construction.path, home) for each in EVERY[construction.kind]}
        yield {"file": construction.path.name, "kind": name}, commands, construction.check


@contextmanager
def good(number: int, home: Home) -> Iterator[Case]:
    """Yield the facts and commands of a good file."""
    name = good_names(home)[number]
    kind = mutants.KINDS[name]
    each = {".onnx": "onnx"}.get(Path(name).suffix, "tfjs" if name.startswith("tfjs") else kind)
    commands = {one: COMMANDS[one](home.good / name, home) for one in EVERY[each]}
    yield {"file": name, "kind": "good"}, commands, nothing


def good_names(home: Home) -> list[str]:
    """Return the names of the good files and folders."""
    return [name for name in mutants.KINDS if (home.good / name).exists()]


SUITES = {"mutants": mutated, "constructions": constructed, "good": good}


def main(suite: str, home: Home, numbers: Sequence[int]) -> None:
    """Run all commands on the files of a suite with these numbers."""
    check.run_jobs = _run_here
    make.read_table = lambda: ROWS[:1]
    trials = Trials(home)
    for number in numbers:
        with SUITES[suite](number, home) as (facts, commands, check_after):
            for command, words in commands.items():
                trials.run({"number": number, **facts, "command": command}, words, check_after)


def _run_here(jobs: Sequence[Job], *_: Any) -> list[Result]:
    """Run jobs like `run_jobs`, without processes and retries."""
    answers = (_attempt(pickle.dumps((job.function, job.arguments)), (), "", b"") for job in jobs)
    return [_result(job, _read_attempt(json.dumps(answer)), 1) for job, answer in zip(jobs, answers, strict=True)]


if __name__ == "__main__":
    main(sys.argv[1], Home(Path(sys.argv[2])), [*map(int, sys.argv[3].split(","))])
