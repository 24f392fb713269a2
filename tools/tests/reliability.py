"""Kill releases, try hostile files and faults, and test single extras, at length. Part of `make soak`.

`python -m tools.tests.reliability [kills-small|kills-light|mutations|constructions|faults|traces|extras]...` runs all
but the first by default. It writes a table for each to `../measure/results/`. Exits with 1 if a release differs from an
undisturbed one, `hostile/judgement.py` finds anything wrong, or a format does not work with its extra alone.
"""

import re
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console

from exporters import FORMATS
from tools.release.make import chosen
from tools.tests.fresh import ROOT, build_wheel, fresh, run
from tools.tests.hostile import soak
from tools.tests.hostile.soak import write
from tools.tests.kills import Resumed, kill_and_resume, small_command, undisturbed
from tools.tests.small_release import ROWS

RELEASES, EACH = 10, 5
LIGHT = "from tools.cli.main import main; main()"
SETS = {
    "small": (small_command(), len(ROWS)),
    "light": (
        [
            *(sys.executable, "-c", LIGHT, "release", "--light", "--checkpoint", "seeded", "--frames", "16"),
            *("--jobs", "1", "--output"),
        ],
        len(chosen((), light=True)),
    ),
}
"""The command of a release, without the folder, and the number of its artifacts."""


def main() -> None:
    """Try, write, judge."""
    tasks = {**{f"kills-{name}": partial(kills, name) for name in SETS}, **soak.TASKS, "extras": extras}
    wanted = sys.argv[1:] or [name for name in tasks if name != "kills-small"]
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
            write(f"kills_{name}_cpu.csv", lines)
    return wrong


def extras() -> list[str]:
    """Write for each format the packages of its extra, and whether it makes and proves a file. Return the faults."""
    lines, wrong = [], []
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        for name, description in FORMATS.items():
            beside = re.findall(r"--no-deps (\w+)", description.afterwards)
            environment = fresh(wheel, Path(folder) / name, [description.extra], beside)
            web = Path("exporters") / name / "web" / "node_modules"
            if web.exists():  # its runtimes; `npm ci` would only install the same again
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
    write("extras_cpu.csv", lines)
    return wrong


if __name__ == "__main__":
    main()
