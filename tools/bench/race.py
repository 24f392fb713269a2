"""Let contenders take turns, one frame each in a round, and measure their times and their drift."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import Artifact
from exporters.spec import Fixed
from parity_tests.clips import Clip
from parity_tests.compare import FrameOutputs
from parity_tests.judging.drift import DriftTally, Error
from rvm_model.errors import UserError
from tools.bench.contender import Assignment, Memory, Turn, serve
from tools.bench.page import BROWSERS
from tools.shared.outputs import ExportFailed, bytes_of

WARM_UP = 3
"""Rounds that are not timed. Their mattes are compared, which includes the drift of states."""

_PAUSE_SECONDS = 0.01
"""Pause between turns, until spinning threads of the previous contender sleep."""

_ENDING_SECONDS = 10

Mattes = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """The reference of a contender: float64 PyTorch's outputs of the first `WARM_UP` frames, and limits by output.

    `slack` is an error that does not count, such as rounding to bytes.
    """

    expected: Sequence[FrameOutputs]
    limits: Mapping[str, Error]
    slack: float


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A file, or a checkpoint, which has no artifact. `runtime` None is the first of its format."""

    name: str
    path: Path
    artifact: Artifact | None
    runtime: str | None


def over_bytes(contenders: Sequence[Contender], device: str) -> bool:
    """Return True for a race from bytes to bytes: with a file of coefficients, or in a browser with an ONNX file.

    See `cutouts.py`, and `page.py` for browsers.
    """
    artifacts = [each.artifact for each in contenders if each.artifact is not None]
    return any(each.gives_line or (device in BROWSERS and each.format == "onnx") for each in artifacts)


@dataclass(frozen=True, kw_only=True)
class Course:
    """The conditions of a race: size, threads, device, rounds, and the precision of contenders that are checkpoints."""

    size: Fixed
    threads: int
    device: str
    precision: str
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The figures of a contender: its file's bytes, seconds of each timed round, memory, and drift in the warm-up.

    `failures` are sentences for people; there are none if the drift is within the tolerance.
    """

    contender: Contender
    file_bytes: int
    seconds: tuple[float, ...]
    memory: Memory
    drift: Mapping[str, Error]
    failures: tuple[str, ...]


def race(
    contenders: Sequence[Contender],
    judges: Sequence[Judge],
    course: Course,
    clip: Clip,
    on_round: Callable[[], object],
) -> list[Measured]:
    """Let contenders take turns on one clip. The order shifts by one in each round.

    Args:
        contenders: In the order of the result.
        judges: The reference of each contender.
        course: The conditions. Every contender's file fits its size.
        clip: The clip, in the size of the course.
        on_round: Called after each round.

    Raises:
        UserError: a contender does not load or run.
        ExportFailed: a contender's process died.
    """
    turns: list[list[Turn]] = [[] for _ in contenders]
    with ExitStack() as stack:
        in_bytes = over_bytes(contenders, course.device)
        players = [stack.enter_context(_process(contender, course, in_bytes)) for contender in contenders]
        pixels = clip.pixels
        for number in range(WARM_UP + course.rounds):
            frame = pixels[number % len(clip)]
            for place in range(len(contenders)):
                index = (number + place) % len(contenders)
                turns[index].append(_ask(players[index], contenders[index], (frame, number < WARM_UP)))
                time.sleep(_PAUSE_SECONDS)
            on_round()
        memories = [_ask(player, contender, None) for player, contender in zip(players, contenders, strict=True)]
    measured = []
    for contender, judge, own, memory in zip(contenders, judges, turns, memories, strict=True):
        drift = _drift(judge, [turn.outputs for turn in own[:WARM_UP]])
        measured.append(
            Measured(
                contender=contender,
                file_bytes=bytes_of(contender.path),
                seconds=tuple(turn.seconds for turn in own[WARM_UP:]),
                memory=memory,
                drift=drift,
                failures=tuple(_failures(contender, drift, judge.limits)),
            )
        )
    return measured


@contextmanager
def _process(contender: Contender, course: Course, in_bytes: bool) -> Iterator[Connection]:
    """Start a contender's process, wait until it has loaded, and yield the connection. End the process afterwards."""
    artifact = contender.artifact
    entry = Assignment(
        model=contender.path if artifact is None else artifact,
        runtime=contender.runtime,
        precision=course.precision,
        device="cuda" if course.device == "cuda" else "cpu",
        size=course.size,
        threads=course.threads,
        over_bytes=in_bytes,
        backend=BROWSERS.get(course.device),
    )
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, entry), daemon=True)
    process.start()
    theirs.close()
    try:
        with ours:
            _answer(ours, contender)
            yield ours
    finally:
        process.join(_ENDING_SECONDS)
        process.kill()


def _ask(player: Connection, contender: Contender, request: Any) -> Any:
    with suppress(BrokenPipeError):  # its last answer says why, if there is one
        player.send(request)
    return _answer(player, contender)


def _answer(player: Connection, contender: Contender) -> Any:
    try:
        answer = player.recv()
    except (EOFError, ConnectionError) as error:
        raise ExportFailed(
            f"the process of {contender.name} died, as when memory runs out; bench fewer files or smaller frames"
        ) from error
    if isinstance(answer, UserError):
        raise answer
    return answer


def _drift(judge: Judge, given: Sequence[Mattes]) -> dict[str, Error]:
    """Return the drift of foreground and alpha, if the file gives them."""
    tallies = {name: DriftTally(judge.slack) for name in given[0]}
    for expected, own in zip(judge.expected, given, strict=True):
        for name, tally in tallies.items():
            tally.add(expected[name], own[name])
    return {name: tally.drift() for name, tally in tallies.items()}


def _failures(contender: Contender, drift: Mapping[str, Error], limits: Mapping[str, Error]) -> Iterator[str]:
    for name, error in drift.items():
        limit = limits[name]
        pairs = ((error.max_abs, limit.max_abs), (error.mean_abs, limit.mean_abs), (error.high_abs, limit.high_abs))
        if not all(given <= bound for given, bound in pairs):  # NaN fails
            yield (
                f"{contender.name} drifts, and is not timed: {name} by {error.max_abs:.1e} (limit "
                f"{limit.max_abs:.1e}), in the mean {error.mean_abs:.1e} (limit {limit.mean_abs:.1e})"
            )
