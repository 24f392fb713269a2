"""Kill releases, spoil files, and test single extras, at length: 50 kills and 1,000 files. Part of `make soak`.

`python -m tools.tests.reliability [kills-small|kills-light|mutations|extras]...` runs the last three by default. It
writes to `../measure/results/`: a line for each kill; a line for each kind of file, mutation, command and exit code;
and a line for each format with only its extra. Exits with 1 if a release differs from an undisturbed one, a command
does not end with one line and an exit code, or a format does not work.
"""

import csv
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from exporters import FORMATS
from tools.tests.fresh import ROOT, build_wheel, fresh, run
from tools.tests.kills import Resumed, kill_and_resume, small_command, undisturbed
from tools.tests.play_mutants import play
from tools.tests.release_mutation_runner import make_models, prepare
from tools.tests.small_release import ROWS

RESULTS = Path(__file__).parents[1] / "measure" / "results"
RELEASES, EACH = 10, 5
FILES, WORKERS = 1000, 2
LIGHT = "from tools.cli.main import main; main()"
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
"""The command of a release, without the folder, and the number of its artifacts."""


def main() -> None:
    """Kill, spoil, write, judge."""
    wanted = sys.argv[1:] or ["kills-light", "mutations", "extras"]
    tasks = {"mutations": mutations, "extras": extras, **{f"kills-{name}": partial(kills, name) for name in SETS}}
    wrong = [line for each in wanted for line in tasks[each]()]
    for line in wrong:
        Console(stderr=True).print(f"FAILED: {line}", highlight=False, soft_wrap=True)
    sys.exit(bool(wrong))


def kills(name: str) -> list[str]:
    """Write a line for each kill. Return the faults."""
    command, artifacts = SETS[name]
    lines, wrong = [], []
    with tempfile.TemporaryDirectory() as folder:
        good = undisturbed(command, Path(folder) / "good", artifacts)
        figures = {"undisturbed_seconds": f"{good.seconds:.1f}", "again_seconds": f"{good.seconds_again:.1f}"}
        for release in range(RELEASES):
            for each in kill_and_resume(good, Path(folder) / str(release), release, EACH, seed=release):
                if not isinstance(each, Resumed):
                    lines.append(
                        {**asdict(each), "seconds": f"{each.seconds:.2f}", "wrong": " ".join(each.wrong), **figures}
                    )
                    wrong += [f"{each}"] * bool(each.wrong)
                elif each.code or each.differing or each.left_behind:
                    wrong.append(f"{each}")
            write(RESULTS / f"kills_{name}_cpu.csv", lines)
    return wrong


def extras() -> list[str]:
    """Write for each format the packages of its extra, and whether it makes and proves a file. Return the faults."""
    lines, wrong = [], []
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        for name, description in FORMATS.items():
            beside = ["tensorflowjs"] if description.afterwards else []
            environment = fresh(wheel, Path(folder) / name, [description.extra], beside)
            if beside:  # its runtimes; `npm ci` would only install the same again
                web = Path("exporters") / name / "web" / "node_modules"
                (environment / web).symlink_to((ROOT / web).resolve())
            size = ["--resolution", "96x64", "--downsample-ratio", "0.5"] if description.one_size else []
            start = time.monotonic()
            result = run(environment, name, "--checkpoint", "seeded", "--output", Path(folder) / f"{name}-made", *size)
            seconds = time.monotonic() - start
            packages = len([*environment.glob("*.dist-info")]) - 1
            lines.append(
                {
                    "format": name,
                    "extra": description.extra,
                    "packages": packages,
                    "code": result.returncode,
                    "seconds": f"{seconds:.0f}",
                }
            )
            if result.returncode:
                wrong.append(f"{name} with its extra alone: {result.stderr}")
    write(RESULTS / "extras_cpu.csv", lines)
    return wrong


def mutations() -> list[str]:
    """Run the commands on spoiled files. Return the faults."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:
        made = Path(folder) / "made"
        made.mkdir()
        models = make_models(made)

        def work(k: int) -> list[dict[str, Any]]:
            home = Path(folder) / f"home{k}"
            prepare(home, models)
            share = FILES // WORKERS
            return play("tools.tests.release_mutation_runner", home, k * share, (k + 1) * share)

        return summarise([each for part in pool.map(work, range(WORKERS)) for each in part])


def summarise(outcomes: Sequence[dict[str, Any]]) -> list[str]:
    """Write count and longest time for each kind of file, mutation, command and code. Return the faults."""
    groups = defaultdict(list)
    for each in outcomes:
        group = each["file"], each["kind"], each["command"], each.get("code", "killed")
        groups[group].append(each.get("seconds", 0))
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
    """Return the faults of one command on one spoiled file."""
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
