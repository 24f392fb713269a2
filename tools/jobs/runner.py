"""Run independent jobs on this machine or on a Dask cluster; a failed job stops no other.

Both places are `concurrent.futures` executors, so that one code path serves both. A failed job is retried once,
whatever the reason: an apparent bad input may be the fault of the machine, which lacks a folder, a package or a GPU
that the next one has. A truly bad input fails quickly.

A job goes out as a pickle of our own, and comes back as JSON: its value, or its exception as a line of text. Nothing
that a process or another machine returns is unpickled here.
"""

import json
import pickle
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from rvm_model.errors import UserError
from rvm_model.printable import one_line
from tools.jobs.board import Board
from tools.jobs.cluster import dask_cluster
from tools.jobs.processes import Place, ProcessDied, in_process, this_machine
from tools.jobs.records import forget, made, remember
from tools.jobs.seals import seal_key
from tools.shared.console import stderr_console
from tools.shared.outputs import ExportFailed

ATTEMPTS = 2
LOOK_SECONDS = 0.25
"""Between looks at which jobs run."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A call that makes files.

    `name` is for people. `function` is a function of a module; its `arguments` can be pickled, and its result is what
    JSON can hold. `files` are the files that it makes, each under its final name only when whole. `made_from` is a hash
    of all that they depend on (see `records.fingerprint`). A job with both is skipped if its files are unchanged; they
    have the same path where the job runs and where it is submitted. A job that takes longer than `seconds` is ended,
    and has failed.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    files: tuple[Path, ...] = ()
    made_from: str = ""
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a job.

    `value` is what its function returned, with lists for tuples; of a skipped job only a text is kept. `error` is one
    line, or empty. `code` is the exit code: 2 for an error that the user can fix, 1 for any other failure. `seconds` is
    the time of the last attempt, without waiting, and 0 if its process died. `attempts` is 0 for a skipped job.
    `warnings` are the job's warnings, each once.
    """

    name: str
    outcome: Literal["done", "skipped", "failed"]
    value: Any = None
    error: str = ""
    code: int = 0
    seconds: float = 0
    attempts: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """One attempt at a job, as values that JSON can hold."""

    value: Any = None
    error: str = ""
    code: int = 0
    seconds: float = 0
    warnings: tuple[str, ...] = ()


def run_jobs(
    jobs: Sequence[Job], processes: int, cluster: str | None = None, environment: Mapping[str, str] | None = None
) -> list[Result]:
    """Run all jobs and return their results, in the jobs' order.

    Prints one line on stderr as each job ends, and shows the state of all jobs on a terminal.

    Ctrl-C ends all processes, gives each time to remove its half-written files, and is then raised. The processes end
    in the same way if this one is killed.

    Args:
        jobs: The jobs; no two make the same file.
        processes: Jobs to run at a time on this machine; see `default_processes`.
        cluster: The address of a Dask scheduler, to run the jobs there.
        environment: Set in the processes before they import anything; it overrides the user's.

    Raises:
        UserError: two jobs would make the same file, or the cluster cannot be used.
    """
    _refuse_same_files(jobs)
    console = stderr_console()
    results: dict[int, Result] = {}
    for k, job in enumerate(jobs):
        record = made(job.files, job.made_from) if job.files and job.made_from else None
        if record is not None:
            results[k] = Result(name=job.name, outcome="skipped", value=record.said)
            _say(console, results[k])
    if len(results) < len(jobs):
        with (
            dask_cluster(cluster) if cluster else this_machine(processes) as place,
            Board(console, [job.name for job in jobs]) as board,
        ):
            place = replace(place, environment={**place.environment, **(environment or {})})
            waiting: dict[Future[str], tuple[int, int]] = {}

            def submit(k: int, number: int) -> None:
                future = _submit(place, jobs[k])
                waiting[future] = (k, number)
                board.submitted(k)

            for k in range(len(jobs)):
                if k in results:
                    board.ended(k, results[k].outcome)
                else:
                    submit(k, 1)
            while waiting:
                for future, (k, _) in waiting.items():
                    board.look(k, future)
                for future in wait(waiting, LOOK_SECONDS, FIRST_COMPLETED).done:
                    k, number = waiting.pop(future)
                    attempt = _attempt_of(future)
                    if attempt.error and number < ATTEMPTS:
                        _say_again(console, jobs[k], attempt)
                        submit(k, number + 1)
                    else:
                        results[k] = _result(jobs[k], attempt, number)
                        board.ended(k, results[k].outcome)
                        _say(console, results[k])
    return [results[k] for k in range(len(jobs))]


def to_table(results: Sequence[Result]) -> Table:
    """Return a table for stderr, with a line for each job."""
    counts = Counter(result.outcome for result in results)
    title = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("done", "skipped", "failed") if counts[outcome])
    table = Table(title=title or "no jobs", title_justify="left")
    table.add_column("job", overflow="fold")
    table.add_column("outcome")
    table.add_column("seconds", justify="right")
    table.add_column("attempts", justify="right")
    table.add_column("error", overflow="fold")
    for result in results:
        ran = (f"{result.seconds:.1f}", str(result.attempts)) if result.attempts else ("", "")
        table.add_row(result.name, result.outcome, *ran, result.error)
    return table


def _refuse_same_files(jobs: Sequence[Job]) -> None:
    makers: dict[Path, Job] = {}
    for job in jobs:
        for file in job.files:
            other = makers.setdefault(file.absolute(), job)
            if other is not job:
                raise UserError(f"{other.name} and {job.name} would both write {file}; run them apart, or rename one")


def _submit(place: Place, job: Job) -> Future[str]:
    # Pickled twice, so that the job's module is imported within the attempt, and a failed import is reported.
    call = pickle.dumps((job.function, job.arguments))
    attempt = pickle.dumps((_attempt, (call, job.files, job.made_from, seal_key(job.made_from))))
    try:
        return place.executor.submit(_answer, attempt, place.stopped, place.environment, job.seconds)
    except Exception as error:  # from a Dask client that lost its scheduler and is closed
        failed: Future[str] = Future()
        failed.set_exception(error)
        return failed


def _answer(attempt: bytes, stopped: Callable[[], bool], environment: Mapping[str, str], seconds: float | None) -> str:
    """Return an attempt's JSON from a process of its own, which may die. Runs where the executor runs it."""
    try:
        return in_process(attempt, stopped, environment, seconds=seconds)
    except ProcessDied as error:
        return json.dumps(asdict(_Attempt(error=str(error), code=1)))


def _attempt(call: bytes, files: tuple[Path, ...], made_from: str, key: bytes) -> dict[str, Any]:
    """Run a job in its own process, and return the fields of its `_Attempt`. An exception becomes text there."""
    start = time.monotonic()
    value, error, code = None, "", 0
    with warnings.catch_warnings(record=True) as caught:
        try:
            function, arguments = pickle.loads(call)  # noqa: S301 - from the process that submitted the job
            if files:
                forget(files)
            given = function(*arguments)
            value = json.loads(json.dumps(given))  # raises here, where it becomes text, if JSON cannot hold it
            if files and made_from:
                remember(files, made_from, given if isinstance(given, str) else None, key)
        except Exception as exception:
            error, code = _describe(exception)
    said = tuple(dict.fromkeys(one_line(str(each.message)) for each in caught))
    seconds = time.monotonic() - start
    return asdict(_Attempt(value=value, error=error, code=code, seconds=seconds, warnings=said))


def _attempt_of(future: Future[str]) -> _Attempt:
    """Return the attempt of a finished future, or a failed attempt that says why it gave nothing."""
    try:
        return _read_attempt(future.result())
    except CancelledError:
        return _Attempt(error="the cluster gave it up: its scheduler is gone, or has forgotten it", code=1)
    except Exception as error:  # Dask's error, for example about a lost machine
        return _Attempt(error=f"{type(error).__name__}: {one_line(str(error))}", code=1)


def _read_attempt(answer: str) -> _Attempt:
    """Return the attempt that an answer describes, which another machine may have written."""
    try:
        told = json.loads(answer)
        return _Attempt(
            value=told["value"],
            error=str(told["error"]),
            code=int(told["code"]),
            seconds=float(told["seconds"]),
            warnings=tuple(map(str, told["warnings"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {one_line(str(error))}"
        return _Attempt(error=f"its answer is not the JSON of a job ({why})", code=1)


def _describe(error: Exception) -> tuple[str, int]:
    """Return an error's line and exit code. For an unexpected error, the line names its file and line number."""
    message = one_line(str(error))
    if isinstance(error, UserError):
        return message, 2
    if isinstance(error, ExportFailed):
        return message, 1
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}", 1
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {message} ({Path(last.filename).name}, line {last.lineno})", 1


def _result(job: Job, attempt: _Attempt, attempts: int) -> Result:
    return Result(
        name=job.name,
        outcome="failed" if attempt.error else "done",
        value=attempt.value,
        error=attempt.error,
        code=attempt.code,
        seconds=attempt.seconds,
        attempts=attempts,
        warnings=attempt.warnings,
    )


def _say(console: Console, result: Result) -> None:
    why = {"done": f" ({result.seconds:.1f} s)", "skipped": ", which is made already", "failed": f": {result.error}"}
    console.print(f"{result.outcome} {result.name}{why[result.outcome]}", soft_wrap=True)
    for warning in result.warnings:
        console.print(f"WARNING: {result.name}: {warning}", soft_wrap=True)


def _say_again(console: Console, job: Job, attempt: _Attempt) -> None:
    console.print(f"trying {job.name} again, which failed: {attempt.error}", soft_wrap=True)
