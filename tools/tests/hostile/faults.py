"""Twelve kinds of fault, each on eight commands in processes of their own: 12 x 8 runs, and one judgement.

A fault is in the input, in the output's place, in the process's limits, in its streams or in its environment. Whatever
it is, the command ends in an exit code, says one line, and leaves nothing that is half-written.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.tests.hostile.allowed import ROOT
from tools.tests.hostile.commands import CLIP, FRAMES
from tools.tests.hostile.constructions.construction import sparse
from tools.tests.hostile.fault_child import FOREIGN
from tools.tests.hostile.good_files import RELEASE
from tools.tests.hostile.home import Home
from tools.tests.hostile.judgement import is_partial
from tools.tests.hostile.patience import PATIENCE, STACK, slowness
from tools.tests.hostile.play import ENVIRONMENT
from tools.tests.hostile.watch import watched

INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A command with faults: what it opens, what it writes, and its words.

    `source` is a good file, or a folder whose `manifest.json` gets the faults of inputs. `output` is the name of what
    it writes, if anything. `prints` tells that it prints a result on stdout. `jobs` tells that it starts processes, and
    `reports` that its output is a report, which lists what was refused too.
    """

    source: str
    words: Callable[["Run"], list[object]]
    output: str = ""
    prints: bool = False
    jobs: bool = False
    reports: bool = False


@dataclass(kw_only=True)
class Run:
    """One run of a subject, as faults change it.

    `given` is what the command is told to open, and `source` the file that faults of inputs spoil. `options` are those
    of `fault_child.py`. `stdout` is `pipe`, `closed` or `full`. `codes` are the exit codes that are right.
    """

    home: Home
    subject: Subject
    given: Path
    source: Path
    output: Path
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    stdout: str = "pipe"
    codes: set[int] = field(default_factory=lambda: {0})
    foreign: bool = False


def _verifying(run: Run) -> list[object]:
    return ["--clip", run.home.good / CLIP, "--frames", FRAMES]


_RELEASING = ("--frames", 16, "--jobs", 1)
SUBJECTS: Mapping[str, Subject] = {
    "onnx": Subject(
        source="weights.safetensors",
        output="a_seeded.onnx",
        prints=True,
        words=lambda run: ["onnx", "--checkpoint", run.given, "--output", run.output, "--no-verify"],
    ),
    "info": Subject(source="model.onnx", prints=True, words=lambda run: ["info", run.given, "--json"]),
    "verify": Subject(
        source="model.onnx",
        output="a.json",
        reports=True,
        words=lambda run: [
            *("verify", run.given, *_verifying(run), "--checkpoint", "seeded", "--json", run.output),
        ],
    ),
    "recover": Subject(
        source="model.onnx",
        output="a_seeded.safetensors",
        prints=True,
        words=lambda run: ["recover", run.given, "--output", run.output, "--no-verify"],
    ),
    "matte": Subject(
        source="picture.png",
        output="a.png",
        words=lambda run: ["matte", run.given, "--model", run.home.good / "model.onnx", "--alpha", run.output],
    ),
    "compare": Subject(
        source="model.onnx",
        output="a.png",
        prints=True,
        words=lambda run: ["compare", run.given, "seeded", *_verifying(run), "--output", run.output],
    ),
    "release": Subject(
        source="weights.safetensors",
        output="release",
        prints=True,
        jobs=True,
        words=lambda run: [
            *("release", "--checkpoint", run.given, "--out", run.output, "--version", "1.2.3", *_RELEASING),
        ],
    ),
    "release verify": Subject(
        source=RELEASE, jobs=True, words=lambda run: ["release", "verify", run.given, *_RELEASING]
    ),
}


# Inputs.


def _input(make: Callable[[Path], object]) -> Callable[[Run], None]:
    def spoil(run: Run) -> None:
        run.source.unlink()
        make(run.source)
        run.codes = {1} if run.given.is_dir() else {2}

    return spoil


# Limits, which the child sets once all is imported.


def _option(name: str, value: object = True) -> Callable[[Run], None]:
    def limit(run: Run) -> None:
        run.options[name] = value
        run.codes = {0, 1, 2}

    return limit


def small_files(run: Run) -> None:
    """Let no file grow beyond 4 kB: all that writes one fails."""
    run.options["file_bytes"] = 4_000
    run.codes = {1, 2} if run.subject.output and run.subject.output != "a.png" else {0, 1, 2}


# Streams, signals, names, environment.


def no_stdout(run: Run) -> None:
    """Close stdout, or fill it: a result that cannot be printed is an error."""
    run.stdout = "closed" if run.subject.jobs or run.subject.output == "a.png" else "full"
    run.codes = {1} if run.subject.prints else {0}


def two_signals(run: Run) -> None:
    run.options["signals_at"] = str(run.source)
    run.codes = {INTERRUPTED}


def race(run: Run) -> None:
    """Let another file get the output's name at the last moment, or the input's name once it is open."""
    if run.subject.output and not run.subject.jobs and not run.subject.reports:
        run.options["output_appears"] = str(run.output)
        run.codes, run.foreign = {1, 2}, True
    else:
        run.options["input_changes"] = str(run.source)
        run.codes = {0, 1, 2}


def no_text(run: Run) -> None:
    """Give input and output names that are no text."""
    name = os.fsdecode(b"x\xff\xfe")
    run.given = run.given.rename(run.given.with_name(name + run.given.suffix))
    run.output = run.output.with_name(name + run.output.name)
    run.codes = {0, 1, 2}


def no_home(run: Run) -> None:
    """Let nothing be written into the user's home, nor into any folder of temporary files."""
    run.environment |= {"HOME": "/proc/nowhere", "TMPDIR": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere"}
    run.options["no_temporary_folder"] = True
    run.codes = {0, 1, 2}


FAULTS: Mapping[str, Callable[[Run], None]] = {
    "pipe": _input(os.mkfifo),
    "device": _input(lambda path: path.symlink_to("/dev/zero")),
    "link to nothing": _input(lambda path: path.symlink_to("nowhere")),
    "300 GB": _input(sparse),
    "file-size limit": small_files,
    "memory limit": _option("memory_bytes", 30_000_000),
    "open-files limit": _option("open_files", 2),
    "closed or full stdout": no_stdout,
    "two signals": two_signals,
    "name race": race,
    "name that is no text": no_text,
    "no home, no temporary folder": no_home,
}
CASES = [(fault, subject) for fault in FAULTS for subject in SUBJECTS]


def run_fault(fault: str, subject: str, home: Home) -> dict[str, Any]:
    """Run a command with a fault, in a process of its own. Return its outcome, with what is wrong with it."""
    run = _prepared(SUBJECTS[subject], home)
    FAULTS[fault](run)
    before = _there(home)
    command = [sys.executable, "-m", "tools.tests.hostile.fault_child", json.dumps(run.options)]
    words = [os.fsencode(word) if isinstance(word, Path) else str(word) for word in run.subject.words(run)]
    environment = {**ENVIRONMENT, "HOME": str(home.user), "TMPDIR": str(home.unpacking), **run.environment}
    with Path("/dev/full").open("wb") as full, watched(home.outside) as touched:
        try:
            done = subprocess.run(
                [*command, *words],
                stdout=full if run.stdout == "full" else subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=environment,
                preexec_fn=(lambda: os.close(1)) if run.stdout == "closed" else None,
                timeout=PATIENCE * slowness() * (4 if run.subject.jobs else 2),
            )
            code, err = done.returncode, done.stderr.decode(errors="replace")
        except subprocess.TimeoutExpired as error:
            code, err = "hangs", (error.stderr or b"").decode(errors="replace")
    outcome = {"fault": fault, "command": subject, "code": code, "err": err[-3000:], "codes": sorted(run.codes)}
    outcome["wrong"] = [*_wrong_with(run, code, err), *touched, *sorted(_there(home) ^ before)]
    return outcome


def _prepared(subject: Subject, home: Home) -> Run:
    for folder in (home.files, home.outputs, home.unpacking):
        shutil.rmtree(folder, ignore_errors=True)
    home.make()
    given = home.files / subject.source
    (shutil.copytree if (home.good / subject.source).is_dir() else shutil.copy)(home.good / subject.source, given)
    source = given / "manifest.json" if given.is_dir() else given
    return Run(home=home, subject=subject, given=given, source=source, output=home.outputs / (subject.output or "none"))


def _wrong_with(run: Run, code: object, err: str) -> list[str]:
    """Return a word for each fault of an outcome."""
    errors = [line for line in err.splitlines() if line.startswith("rvm-export: error: ")]
    outputs = run.home.outputs
    names = [path.relative_to(outputs).as_posix() for path in outputs.rglob("*")]
    partial = [name for name in names if is_partial(name)]
    whole = run.output / "SHA256SUMS" if run.output.suffix == "" and run.subject.jobs else run.output
    exists = bool(run.subject.output) and whole.exists()
    faults = {
        f"exit code {code}": code not in run.codes,
        "hangs": STACK in err,
        "traceback": "Traceback" in err or "internal error" in err,
        "no line of error": code != 0 and not errors,
        "several lines of error": code in (2, INTERRUPTED) and len(errors) != 1,
        f"half-written: {partial}": partial,
        "an output in spite of the error": exists
        and code != 0
        and run.stdout == "pipe"
        and not run.foreign
        and not run.subject.reports,
        "no output": run.subject.output and not exists and code == 0,
        "a foreign file was replaced": run.foreign and (not exists or run.output.read_bytes() != FOREIGN),
    }
    return [what for what, found in faults.items() if found]


def _there(home: Home) -> set[str]:
    """Return what is in the home outside of the places that a command may write to, but for what libraries leave."""
    folders = (home.good, home.files, home.outside)
    found = {path for folder in folders for path in folder.rglob("*")} | {*home.root.glob("*")}
    return {str(path) for path in found}
