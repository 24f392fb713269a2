"""Kill a release again and again at random moments, and resume it.

Uses real processes and SIGKILL: it kills all of them at once, as when memory runs out or the machine goes down, or only
the release, whose jobs then outlive it for a moment.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60
"""Timeout in seconds for the processes of a killed release to end; they give themselves ten."""


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """An undisturbed release: its time, the time of a second run that finds all files, and all hashes by file name."""

    command: Sequence[str]
    seconds: float
    seconds_again: float
    files: dict[str, str]
    artifacts: int


@dataclass(frozen=True, kw_only=True)
class Kill:
    """A kill after `seconds`, of `all` processes or of the `release` alone.

    `hit` is False if the release had already ended; such a kill does not count. `before` and `after` are the numbers of
    artifacts then. `wrong` are the files under a final name that are not, byte for byte, those of the undisturbed
    release.
    """

    number: int
    release: int
    what: str
    seconds: float
    hit: bool
    before: int
    after: int
    wrong: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A killed release after it was resumed: `differing` are the files that are not as in the undisturbed one."""

    release: int
    code: int
    differing: tuple[str, ...]
    left_behind: tuple[str, ...]


def undisturbed(command: Sequence[str], folder: Path, artifacts: int) -> Undisturbed:
    """Measure a release that is not killed. `command` lacks the folder, its last argument."""
    seconds = []
    for _ in range(2):
        start = time.monotonic()
        subprocess.run([*command, str(folder)], check=True, cwd=ROOT, capture_output=True, timeout=1800)
        seconds.append(time.monotonic() - start)
    return Undisturbed(
        command=command,
        seconds=seconds[0],
        seconds_again=seconds[1],
        files=hashes(folder),
        artifacts=artifacts,
    )


def kill_and_resume(good: Undisturbed, folder: Path, release: int, kills: int, seed: int) -> Iterator[Kill | Resumed]:
    """Make a release: kill it `kills` times, then let it finish.

    Each moment is drawn evenly from the remaining time, estimated from the files that exist. On a machine that has
    become faster, a release may end before its kill, which is then tried again.
    """
    random, sessions = Random(seed), []
    number, pace = 0, 1.0
    while number < kills:
        before = _artifacts(good, folder)
        still = good.seconds_again + (good.seconds - good.seconds_again) * (1 - before / good.artifacts)
        seconds, what = random.random() * still * pace, random.choice(("all", "release"))
        hit, session = _killed(good.command, folder, seconds, what)
        sessions.append(session)
        given = hashes(folder)
        yield Kill(
            number=number,
            release=release,
            what=what,
            seconds=seconds,
            hit=hit,
            before=before,
            after=_artifacts(good, folder),
            wrong=differing(good.files, given, only_there=hit),
        )
        if hit:
            number += 1
        else:  # it ended before the kill: check it, then start again, with an earlier kill
            wait_until(lambda: not any(map(_of_session, sessions)))
            shutil.rmtree(folder)
            pace = max(0.25, pace * 0.75)
    process = subprocess.run([*good.command, str(folder)], cwd=ROOT, capture_output=True, check=False, timeout=1800)
    wait_until(lambda: not any(map(_of_session, sessions)))
    yield Resumed(
        release=release,
        code=process.returncode,
        differing=differing(good.files, hashes(folder)),
        left_behind=tuple(str(path.relative_to(folder)) for path in sorted(folder.rglob(".rvm-export-*"))),
    )


def hashes(folder: Path) -> dict[str, str]:
    """Return the hashes of all files under a final name, so without hidden files."""
    files = {}
    for path in folder.glob("[!.]*"):
        with suppress(FileNotFoundError, IsADirectoryError):  # a job that still runs may move it
            files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return files


def differing(expected: dict[str, str], given: dict[str, str], only_there: bool = False) -> tuple[str, ...]:
    names = given if only_there else {**expected, **given}
    return tuple(sorted(name for name in names if expected.get(name) != given.get(name)))


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _killed(command: Sequence[str], folder: Path, seconds: float, what: str) -> tuple[bool, int]:
    """Run a release and kill it. Return whether the kill hit it, and its session."""
    with subprocess.Popen(
        [*command, str(folder)], cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            if what == "release":
                process.kill()
            else:
                while ids := _of_session(process.pid):
                    for each in ids:
                        with suppress(ProcessLookupError):
                            os.kill(each, signal.SIGKILL)
        return process.wait(60) == -signal.SIGKILL, process.pid


def _of_session(session: int) -> list[int]:
    """Return the living processes of a session. Jobs have their own groups, but their release's session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found


def _artifacts(good: Undisturbed, folder: Path) -> int:
    """Return the number of artifacts in a folder, without cards and other files."""
    return sum(f"{path.name}.md" in good.files for path in folder.glob("[!.]*"))


def small_command() -> list[str]:
    return [sys.executable, "-m", "tools.tests.small_release"]
