"""Time matting with the full-size steps outside the network against `rvm-export matte` with a banded ONNX file.

Writes `results/full_size_speed_cpu.csv`: the CPU time of the banded file for one size, divided by that of each other
way to matte the same frames, on one thread. `pytorch` is the checkpoint without the extra `fused`. All run in turn in
one process. The figures are the median over rounds and its range, after one round that warms up. The frames are the
real clip's, scaled. Run from the tree, on a quiet machine: `python -m tools.measure.full_size_speed`.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from PIL import Image
from safetensors.torch import save_file

from exporters import load_exporter
from exporters.onnx import OnnxSpec
from exporters.spec import Fixed
from parity_tests.cases import case_checkpoint, real_clip
from parity_tests.clips import load_clip
from rvm_model.weights.checkpoint import Checkpoint
from tools.commands.matte import MatteOptions, matte_one
from tools.measure.table import measure, ratio_columns
from tools.shared.machine import machine

TABLE = "full_size_speed_cpu.csv"
FRAMES, ROUNDS, COLOUR = 12, 4, "#2aa088"
SIZES = (Fixed(width=1920, height=1080, ratio=0.25), Fixed(width=3840, height=2160, ratio=0.125))
BASELINE = "onnx banded"
COLUMNS = ["resolution", "downsample_ratio", "model", "frames", "threads", "ratio_median", "ratio_least", "ratio_most"]
COLUMNS += ["rounds", "torch", "onnxruntime", "numba", "processor"]


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    checkpoint = case_checkpoint("consensus_fp16", "mobilenetv3", "deep_guided_filter")
    with tempfile.TemporaryDirectory() as folder:
        code = measure(TABLE, COLUMNS, SIZES, lambda size: lines(size, checkpoint, Path(folder)))
    sys.exit(code)


def lines(size: Fixed, checkpoint: Checkpoint, folder: Path) -> Iterator[dict[str, object]]:
    """Time all models in turn."""
    desk = folder / str(size.width)
    desk.mkdir()
    clip = scaled_clip(desk / "clip", size)
    paths = models(size, checkpoint, desk)
    ratios: dict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS):
        seconds = {name: matting(path, name, size, clip, desk / f"{name}-{number}.mp4") for name, path in paths.items()}
        if number > 0:
            for name, each in seconds.items():
                ratios[name].append(seconds[BASELINE] / each)
    for name, measured in ratios.items():
        yield {
            "resolution": f"{size.width}x{size.height}",
            "downsample_ratio": f"{size.ratio:g}",
            "model": name,
            "frames": FRAMES,
            "threads": 1,
            **ratio_columns(measured, 2),
            **{package: version(package) for package in ("torch", "onnxruntime", "numba")},
            "processor": machine("cpu")["processor"],
        }


def models(size: Fixed, checkpoint: Checkpoint, folder: Path) -> dict[str, Path]:
    """Write the files, and return them by the name of the way to matte."""
    weights = folder / "weights.safetensors"
    save_file(dict(checkpoint.state_dict), weights)
    options: dict[str, dict[str, Any]] = {
        "onnx any size": {},
        BASELINE: {"fixed": size, "banded": True},
        "onnx coefficients": {"fixed": size, "outputs": "coefficients"},
    }
    paths = {"pytorch": weights, "pytorch fused": weights}
    for name, each in options.items():
        spec = OnnxSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", **each)
        paths[name] = folder / f"{name}.onnx"
        load_exporter("onnx").export(checkpoint, spec, paths[name])
    return paths


def matting(model: Path, name: str, size: Fixed, clip: Path, composition: Path) -> float:
    """Return the CPU seconds of one run of `matte`."""
    one_size = name in (BASELINE, "onnx coefficients")
    options = MatteOptions(model=str(model), background=COLOUR, downsample_ratio=None if one_size else size.ratio)
    # As if numba were not installed.
    with patch("tools.shared.models.find_spec", (lambda _: None) if name == "pytorch" else find_spec):
        start = time.process_time()
        matte_one(clip, {"composition": composition}, options, progress=False)
        seconds = time.process_time() - start
    composition.unlink()
    return seconds


def scaled_clip(folder: Path, size: Fixed) -> Path:
    """Write the real clip's first frames at a size, as pictures."""
    folder.mkdir()
    for number, (pixels,) in enumerate(load_clip(real_clip(), FRAMES).pixels):
        scaled = Image.fromarray(pixels).resize((size.width, size.height))
        scaled.save(folder / f"{number:04}.jpg", quality=92)
    return folder


if __name__ == "__main__":
    main()
