"""Play two thousand frames through every format without a reset: errors must not grow with time.

All files and their yardsticks play side by side, frame by frame, so that float64 PyTorch plays once and memory stays
flat. Writes `results/long_plays_cpu.csv`, one line per output of each file and of each yardstick: the mean error, and
its change from the first frame to the last, from a line fitted through the means of all periods of the built-in clip.
Exits with 1 if a file's error grows. Plays each format in its usual precision, and in int8 if it has that. Ctrl-C ends
it early and evaluates the frames so far. Run it again to add formats: existing lines are kept, so remove the table to
measure all again. Needs ../shared.
"""

import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from exporters import FORMATS, load_exporter, open_artifact
from parity_tests.cases import Case, case_checkpoint, case_spec
from parity_tests.clips import Clip, builtin_clip
from parity_tests.compare import NAMES, FrameOutputs
from parity_tests.judging.yardstick import sampled_ratio, stored_weights, truth, yardstick
from parity_tests.play import play_artifact
from tools.measure.table import lines_before, measure
from tools.shared.machine import machine, versions

TABLE = "long_plays_cpu.csv"
FRAMES = 2000
CASE = Case(weights="from_coreml", clip="builtin", width=640, height=352, ratio=0.25, frames=FRAMES)
"""360p without eight rows: CoreML needs a whole internal size."""

PERIOD = 48
"""Frames after which the built-in clip repeats."""

UNIT = 2**-23
"""A unit in the last place of a float32 at 1. A smaller change of a mean error is noise."""

Key = tuple[str, str, str]
"""The source (a format, or `PyTorch as` a format), precision, output."""

MACHINE = {"processor": machine("cpu")["processor"]} | versions()
COLUMNS = [
    *("file", "precision", "frames", "resolution", "downsample_ratio", "output"),
    *("mean_error", "change", "standard_error", "ok", *MACHINE),
]


def main() -> None:
    """Export, play, write, judge."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else FRAMES
    clip = builtin_clip(frames, CASE.width, CASE.height)
    done = {(line["file"], line["precision"]) for line in lines_before(TABLE)}
    files = [(name, precision) for name, precision in _files() if (name, precision) not in done]
    errors = play(files, replace(clip, reset_every=frames), Console(stderr=True)) if files else {}
    trends = {key: trend(np.array(values)) for key, values in errors.items()}
    lines = [line(key, len(values), trends) for key, values in errors.items()]
    sys.exit(measure(TABLE, COLUMNS, lines, lambda each: [each], judged=["ok"], resumed=True))


def line(key: Key, frames: int, trends: dict[Key, tuple[float, float, float]]) -> dict[str, object]:
    """Return the line of one output.

    The error grows if its change exceeds all of these: a tenth of the mean error, three standard errors, the change of
    its yardstick with three standard errors of that, and `UNIT`.
    """
    name, precision, output = key
    mean, change, spread = trends[key]
    _, own, own_spread = trends.get((_yardstick_name(name), precision, output), trends[key])
    return {
        "file": name,
        "precision": precision,
        "frames": frames,
        "resolution": f"{CASE.width}x{CASE.height}",
        "downsample_ratio": CASE.ratio,
        "output": output,
        "mean_error": f"{mean:.2e}",
        "change": f"{change:+.1e}",
        "standard_error": f"{spread:.1e}",
        "ok": "yes" if abs(change) <= max(mean / 10, 3 * spread, abs(own) + 3 * own_spread, UNIT) else "no",
        **MACHINE,
    }


def _files() -> list[tuple[str, str]]:
    """Return each format with its usual precision, and with int8 if it has that."""
    return [
        (name, precision)
        for name, description in FORMATS.items()
        for precision in sorted({description.precisions[0], "int8"} & {*description.precisions})
    ]


def play(files: Sequence[tuple[str, str]], clip: Clip, console: Console) -> dict[Key, list[float]]:
    """Return the mean error of every frame, of each file and of its yardstick."""
    checkpoint = case_checkpoint(CASE.weights, CASE.variant, CASE.refiner)
    errors: dict[Key, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        players: dict[tuple[str, str], Iterator[FrameOutputs]] = {}
        for name, precision in files:
            path = Path(folder) / f"{name}-{precision}"
            load_exporter(name).export(checkpoint, case_spec(CASE, name, precision), path)
            artifact = open_artifact(path, trust=True)
            players[name, precision] = opened.enter_context(closing(play_artifact(artifact, clip, CASE.ratio)))
            own = yardstick(artifact, checkpoint, "auto", stored_weights(artifact))
            sampled = sampled_ratio(artifact, CASE.ratio)
            players[_yardstick_name(name), precision] = own.play(clip, CASE.ratio, sampled)
        expected = truth(checkpoint, "auto").play(clip, CASE.ratio, CASE.ratio)
        with suppress(KeyboardInterrupt):
            for wanted in track(expected, console=console, total=len(clip)):
                for key, frames in players.items():
                    given = next(frames)
                    for output in NAMES:
                        errors[*key, output].append(float(np.abs(given[output] - wanted[output]).mean()))
    return errors


def _yardstick_name(name: str) -> str:
    return f"PyTorch as {name}"


def trend(errors: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the mean error, its change from the first frame to the last, and the standard error of that change."""
    periods = errors[: len(errors) // PERIOD * PERIOD].reshape(-1, PERIOD).mean(axis=1)
    times = np.linspace(-0.5, 0.5, len(periods))
    change = float((times @ periods) / (times @ times))
    rest = periods - periods.mean() - change * times
    spread = float(np.sqrt((rest @ rest) / max(1, len(periods) - 2) / (times @ times)))
    return float(errors.mean()), change, spread


if __name__ == "__main__":
    main()
