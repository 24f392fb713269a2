"""Play two thousand frames through every format without a reset: errors must not grow with time.

All files play side by side, frame by frame, so that float64 PyTorch is played once and memory stays flat. Writes
`results/long_plays_cpu.csv`, one line per file and output: the mean error, and by how much it changes from the
first frame to the last, from a line through the means of all periods of the built-in clip. Exits with 1 if a change
is beyond both a tenth of the mean error and three standard errors. Of each format: its usual precision, and eight
bits. Ctrl-C ends it early, with the frames that were played. Needs ../shared.
"""

import csv
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
from parity_tests.cases import Play, play_checkpoint, play_spec
from parity_tests.clips import Clip, builtin_clip
from parity_tests.compare import NAMES
from parity_tests.judging.yardstick import truth
from tools.shared.machine import machine, versions

RESULTS = Path(__file__).parent / "results" / "long_plays_cpu.csv"
FRAMES = 2000
PLAY = Play(weights="from_coreml", clip="builtin", width=640, height=352, ratio=0.25, frames=FRAMES)
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
    console = Console(stderr=True)
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else FRAMES
    clip = builtin_clip(frames, PLAY.width, PLAY.height)
    errors = play(replace(clip, reset_every=frames), console)
    failed = []
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for (name, precision, output), values in errors.items():
            mean, change, spread = trend(np.array(values))
            ok = abs(change) <= max(mean / 10, 3 * spread)
            if not ok:
                failed.append(f"{name} {precision} {output}: {change:+.1e} of {mean:.1e}")
            size = f"{PLAY.width}x{PLAY.height}", PLAY.ratio
            figures = (f"{mean:.2e}", f"{change:+.1e}", f"{spread:.1e}", "yes" if ok else "no")
            writer.writerow([name, precision, len(values), *size, output, *figures, *MACHINE.values()])
    for line in failed:
        console.print(f"GROWS: {line}", highlight=False)
    sys.exit(bool(failed))


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
