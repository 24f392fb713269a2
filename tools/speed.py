"""Our ONNX files against the plain one that torch's own exporter traces at opset 12, on a CPU, interleaved.

Writes `tools/results/onnx_speed_cpu.csv`: the median ratio of the traced file's time to ours, over rounds in which each
file plays one frame, states fed back, and its quartiles. Only ratios mean something: machines differ, and are shared.
Run from the tree, on a quiet machine: `python -m tools.speed`.
"""

import csv
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime as ort
from rich.console import Console

from exporters import load_exporter
from exporters.onnx import OnnxSpec
from exporters.spec import INPUTS, OUTPUTS, Fixed
from exporters.tests.traced import export_traced
from parity_tests.plays import play_checkpoint

RESULTS = Path(__file__).parent / "results" / "onnx_speed_cpu.csv"
ROUNDS, WARM_UP = 30, 3
SIZES = (Fixed(width=1920, height=1080, ratio=0.25), Fixed(width=1280, height=720, ratio=0.375))
THREADS = (1, 4)
COLUMNS = ["resolution", "downsample_ratio", "threads", "file", "ratio_median", "ratio_first_quartile"]
COLUMNS += ["ratio_third_quartile", "rounds", "largest_difference", "onnxruntime", "processor"]


@dataclass(frozen=True, kw_only=True)
class Played:
    """Seconds of one frame, and what it gave."""

    seconds: float
    pha: np.ndarray


def main() -> None:
    """Measure and write."""
    console = Console(stderr=True)
    checkpoint = play_checkpoint("from_tfjs", "mobilenetv3", "deep_guided_filter")
    with tempfile.TemporaryDirectory() as folder, RESULTS.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for size in SIZES:
            paths = {name: Path(folder) / f"{name}.onnx" for name in ("traced", "dynamic", "fixed", "banded")}
            export_traced(checkpoint.network("always"), paths["traced"])
            for name in ("dynamic", "fixed", "banded"):
                spec = OnnxSpec(
                    variant="mobilenetv3",
                    refiner="deep_guided_filter",
                    precision="fp32",
                    fixed=None if name == "dynamic" else size,
                    banded=name == "banded",
                )
                load_exporter("onnx").export(checkpoint, spec, paths[name])
            for threads in THREADS:
                for line in measure(paths, size, threads):
                    writer.writerow(line)
                    console.print(*line[:7], highlight=False)


def measure(paths: dict[str, Path], size: Fixed, threads: int) -> list[list[str]]:
    """One line for each file."""
    src = np.random.default_rng(0).random((1, 3, size.height, size.width), np.float32)
    players = {name: player(path, size.ratio, threads) for name, path in paths.items()}
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    difference = dict.fromkeys(paths, 0.0)
    for number in range(WARM_UP + ROUNDS):
        played = {name: play(src) for name, play in players.items()}
        for name, each in played.items():
            difference[name] = max(difference[name], float(np.abs(each.pha - played["traced"].pha).max()))
            if number >= WARM_UP:
                seconds[name].append(each.seconds)
    lines = []
    for name, own in seconds.items():
        ratios = np.array(seconds["traced"]) / np.array(own)
        quartiles = (f"{np.quantile(ratios, quantile):.3f}" for quantile in (0.5, 0.25, 0.75))
        lines.append(
            [
                *(f"{size.width}x{size.height}", f"{size.ratio:g}", str(threads), name, *quartiles, str(ROUNDS)),
                *(f"{difference[name]:.1e}", version("onnxruntime"), platform.processor() or platform.machine()),
            ]
        )
    return lines


def player(path: Path, ratio: float, threads: int) -> Callable[[np.ndarray], Played]:
    """A file's loop: a frame in, its own states fed back."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Or the waiting threads of one file take the processor from the next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    taken = {value.name: value.shape for value in session.get_inputs()}
    states = {
        name: np.zeros([axis if isinstance(axis, int) else 1 for axis in taken[name]], np.float32)
        for name in INPUTS[1:5]
    }
    ratio_input = {name: np.array([ratio], np.float32) for name in INPUTS[5:] if name in taken}

    def play(src: np.ndarray) -> Played:
        start = time.perf_counter()
        outputs = session.run(list(OUTPUTS), {"src": src, **states, **ratio_input})
        seconds = time.perf_counter() - start
        states.update(zip(INPUTS[1:5], outputs[2:], strict=True))
        return Played(seconds=seconds, pha=outputs[1])

    return play


if __name__ == "__main__":
    main()
