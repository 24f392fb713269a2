"""Play two thousand frames through every format without a reset: errors must not grow with time.

All files play side by side, frame by frame, so that float64 PyTorch is played once and memory stays flat. Writes
`results/long_plays_cpu.csv`, one line per file and output: the mean error, and by how much it changes from the
first frame to the last, from a line through the means of all periods of the built-in clip. Exits with 1 if a change
is beyond both a tenth of the mean error and three standard errors. Of each format: its usual precision, and eight
bits. Ctrl-C ends it early, with the frames that were played. Needs ../shared.
"""

import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from exporters import FORMATS, load_exporter, load_runtime
from parity_tests.cases import Case, play_checkpoint, play_spec
from parity_tests.clips import Clip, builtin_clip
from parity_tests.compare import NAMES
from parity_tests.judging.yardstick import truth
from tools.measure.table import measure
from tools.shared.machine import machine, versions

TABLE = "long_plays_cpu.csv"
FRAMES = 2000
PLAY = Case(weights="from_coreml", clip="builtin", width=640, height=352, ratio=0.25, frames=FRAMES)
"""360p, but for eight rows: CoreML's internal size has to be whole."""

PERIOD = 48
"""Frames after which the built-in clip shows the same again."""

MACHINE = {"processor": machine("cpu")["processor"]} | versions()
COLUMNS = [
    *("file", "precision", "frames", "resolution", "downsample_ratio", "output"),
    *("mean_error", "change", "standard_error", "ok", *MACHINE),
]


def main() -> None:
    """Export, play, write, judge."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else FRAMES
    clip = builtin_clip(frames, PLAY.width, PLAY.height)
    errors = play(replace(clip, reset_every=frames), Console(stderr=True))
    sys.exit(measure(TABLE, COLUMNS, [*errors.items()], lambda case: [line(*case)], judged=["ok"]))


def line(key: tuple[str, str, str], errors: list[float]) -> dict[str, object]:
    """Return the line of one file and output."""
    name, precision, output = key
    mean, change, spread = trend(np.array(errors))
    return {
        "file": name,
        "precision": precision,
        "frames": len(errors),
        "resolution": f"{PLAY.width}x{PLAY.height}",
        "downsample_ratio": PLAY.ratio,
        "output": output,
        "mean_error": f"{mean:.2e}",
        "change": f"{change:+.1e}",
        "standard_error": f"{spread:.1e}",
        "ok": "yes" if abs(change) <= max(mean / 10, 3 * spread) else "no",
        **MACHINE,
    }


def play(clip: Clip, console: Console) -> dict[tuple[str, str, str], list[float]]:
    """Return the mean error of every frame, by format, precision and output."""
    checkpoint = play_checkpoint(PLAY.weights, PLAY.variant, PLAY.refiner)
    errors: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        steps = {}
        for name, description in FORMATS.items():
            for precision in {description.precisions[0], "int8"} & {*description.precisions}:
                path = Path(folder) / f"{name}-{precision}"
                load_exporter(name).export(checkpoint, play_spec(PLAY, name, precision), path)
                runtime = load_runtime(name)
                step = opened.enter_context(runtime.load(runtime.inspect(path), "cpu", PLAY.ratio))
                steps[name, precision] = step, runtime.to_numpy
        states = dict.fromkeys(steps, None)
        expected = truth(checkpoint, "auto").play(clip, PLAY.ratio, PLAY.ratio)
        with suppress(KeyboardInterrupt):
            for frame, wanted in track(zip(clip, expected, strict=True), console=console, total=len(clip)):
                for key, (step, to_numpy) in steps.items():
                    matte, states[key] = step(frame, states[key])
                    assert matte.fgr is not None
                    assert matte.pha is not None
                    for output, given in zip(NAMES, (matte.fgr, matte.pha, *to_numpy(states[key])), strict=True):
                        errors[*key, output].append(float(np.abs(given - wanted[output]).mean()))
    return errors


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
