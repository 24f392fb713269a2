"""Releases killed and files spoiled, at length: 50 kills and 1,000 files. Part of `make soak`.

`python -m tools.tests.reliability [kills-small|kills-light|mutations]...`, by default the last two. Writes one line for
each kill, and one for each kind of file, way to spoil it, command and exit code, to `tools/results/`; exits 1 if a
release was not as an undisturbed one, or a command ended in anything but a line and an exit code.
"""

import csv
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from tools.tests.kills import Resumed, kill_and_resume, small_command, undisturbed
from tools.tests.play_mutants import play
from tools.tests.release_mutation_runner import make_models, prepare
from tools.tests.small_release import ROWS

RESULTS = Path(__file__).parents[1] / "results"
RELEASES, EACH = 10, 5
FILES, WORKERS = 1000, 2
LIGHT = "from tools.cli import main; main()"
SETS = {
    "small": (small_command(), len(ROWS)),
    "light": (
        [
            *(sys.executable, "-c", LIGHT, "release", "--light", "--checkpoint", "seeded", "--frames", "16"),
            *("--jobs", "1", "--out"),
        ],
        8,
    ),
}
"""What a release is made by, the folder aside, and how many artifacts it has."""


def main() -> None:
    """Kill, spoil, write, judge."""
    wanted = sys.argv[1:] or ["kills-light", "mutations"]
    wrong = [line for each in wanted for line in (mutations() if each == "mutations" else kills(each[6:]))]
    for line in wrong:
        Console(stderr=True).print(f"FAILED: {line}", highlight=False, soft_wrap=True)
    sys.exit(bool(wrong))


def kills(name: str) -> list[str]:
    """Of each kill a line; gives what is wrong."""
    command, artifacts = SETS[name]
    lines, wrong = [], []
    with tempfile.TemporaryDirectory() as folder:
        good = undisturbed(command, Path(folder) / "good", artifacts)
        for release in range(RELEASES):
            for each in kill_and_resume(good, Path(folder) / str(release), release, EACH, seed=release):
                if not isinstance(each, Resumed):
                    lines.append({**asdict(each), "seconds": f"{each.seconds:.2f}", "wrong": " ".join(each.wrong)})
                    wrong += [f"{each}"] * bool(each.wrong)
                elif each.code or each.differing or each.left_behind:
                    wrong.append(f"{each}")
    figures = {"undisturbed_seconds": f"{good.seconds:.1f}", "again_seconds": f"{good.seconds_again:.1f}"}
    write(RESULTS / f"kills_{name}_cpu.csv", [line | figures for line in lines])
    return wrong


def mutations() -> list[str]:
    """Of each kind of file, spoiling, command and code how many, and the longest time; gives what is wrong."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:
        made = Path(folder) / "made"
        made.mkdir()
        models = make_models(made)

        def work(k: int) -> list[dict[str, Any]]:
            home = Path(folder) / f"home{k}"
            prepare(home, models)
            share = FILES // WORKERS
            return play("tools.tests.release_mutation_runner", home, k * share, (k + 1) * share)

        outcomes = [each for part in pool.map(work, range(WORKERS)) for each in part]
    groups = defaultdict(list)
    for each in outcomes:
        groups[each["file"], each["kind"], each["command"], each.get("code", "killed")].append(each.get("seconds", 0))
    lines = [
        {
            **dict(zip(("file", "kind", "command", "code"), group, strict=True)),
            "count": len(seconds),
            "longest_seconds": f"{max(seconds):.1f}",
        }
        for group, seconds in sorted(groups.items(), key=str)
    ]
    write(RESULTS / "mutations_cpu.csv", lines)
    return [line for each in outcomes for line in wrong_with(each)]


def wrong_with(outcome: dict[str, Any]) -> list[str]:
    """What must not be of one command on one spoiled file."""
    told = " ".join(str(outcome[key]) for key in ("number", "file", "kind", "command"))
    if "killed" in outcome:
        return [f"{told}: its process was ended: {outcome['killed'][-1000:]}"]
    lines = [line for line in outcome["err"].splitlines() if line.startswith("rvm-export: error: ")]
    faults = {
        "exit code": outcome["code"] not in (0, 1, 2),
        "traceback": "Traceback" in outcome["err"],
        "no error, or more than one": outcome["code"] == 2 and len(lines) != 1,
        "files opened": outcome["opened"],
        "a file beside": outcome["touched"] or outcome["left"],
    }
    return [f"{told}: {what}: {outcome}" for what, found in faults.items() if found]


def write(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    main()
