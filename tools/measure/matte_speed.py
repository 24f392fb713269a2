"""Time matting a video end to end against the plain loop that reads, infers and writes in turn, on a CPU.

Writes `results/matte_speed_cpu.csv`: the speed of `rvm-export matte` with an ONNX file, for any size and for this one,
relative to PyTorch frame by frame with the same reader and writer. The two alternate, and the figures are the median
over rounds and its range. The clip is the real one, scaled and repeated to 100 frames. Run from the tree, on a quiet
machine: `python -m tools.measure.matte_speed`.
"""

import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from torch.utils.data import DataLoader

from exporters import load_exporter
from exporters.onnx import OnnxSpec
from exporters.spec import Fixed
from parity_tests.cases import REAL_VIDEO, case_checkpoint, real_clip
from rvm_model.compat import ToTensor, VideoReader, VideoWriter
from rvm_model.network.matting_network import MattingNetwork
from rvm_model.rendering import Kind
from rvm_model.video.sink import open_sink
from rvm_model.video.source import open_source
from rvm_model.weights.checkpoint import Checkpoint
from tools.commands.matte import MatteOptions, matte_one
from tools.measure.table import measure, ratio_columns

TABLE = "matte_speed_cpu.csv"
FRAMES, ROUNDS, MBPS = 100, 3, 1  # the released writer's bit rate
SIZES = (Fixed(width=1920, height=1080, ratio=0.25), Fixed(width=1280, height=720, ratio=0.375))
COLUMNS = ["resolution", "downsample_ratio", "file", "frames", "threads", "ratio_median", "ratio_least", "ratio_most"]
COLUMNS += ["rounds", "torch", "onnxruntime", "processor"]
CONSOLE = Console(stderr=True)
GREEN = torch.tensor([0.47, 1, 0.6]).view(3, 1, 1)


def main() -> None:
    """Measure and write."""
    checkpoint = case_checkpoint("consensus_fp16", "mobilenetv3", "deep_guided_filter")
    with tempfile.TemporaryDirectory() as folder:
        code = measure(TABLE, COLUMNS, SIZES, lambda size: lines(size, checkpoint, Path(folder)))
    sys.exit(code)


def lines(size: Fixed, checkpoint: Checkpoint, folder: Path) -> Iterator[dict[str, object]]:
    """Time both files against the plain loop, in turn."""
    models = {name: folder / f"{name}.onnx" for name in ("dynamic", "banded")}
    for name, path in models.items():
        spec = OnnxSpec(
            variant="mobilenetv3",
            refiner="deep_guided_filter",
            precision="fp32",
            fixed=size if name == "banded" else None,
            banded=name == "banded",
        )
        load_exporter("onnx").export(checkpoint, spec, path)
    clip = long_clip(folder / "clip.mp4", size.width, size.height)
    ratios: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        plain = timed(partial(plain_loop, checkpoint.network(), clip, folder, size.ratio))
        for name, model in models.items():
            options = MatteOptions(model=str(model), downsample_ratio=size.ratio, mbps=MBPS)
            ours = timed(partial(matte_one, clip, outputs(folder), options, progress=False))
            ratios[name].append(plain / ours)
            CONSOLE.print(f"{size.width}x{size.height} {name}: {ratios[name][-1]:.2f}", highlight=False)
    for name, measured in ratios.items():
        yield {
            "resolution": f"{size.width}x{size.height}",
            "downsample_ratio": f"{size.ratio:g}",
            "file": name,
            "frames": FRAMES,
            "threads": torch.get_num_threads(),
            **ratio_columns(measured, 3),
            "torch": version("torch"),
            "onnxruntime": version("onnxruntime"),
            "processor": platform.processor() or platform.machine(),
        }


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def outputs(folder: Path) -> dict[Kind, Path]:
    return {"composition": folder / "ours.mp4"}


def plain_loop(network: MattingNetwork, clip: Path, folder: Path, ratio: float) -> None:
    """Matte a clip with the loop of the released README."""
    reader = VideoReader(str(clip), transform=ToTensor())
    writer = VideoWriter(str(folder / "plain.mp4"), frame_rate=reader.frame_rate, bit_rate=int(MBPS * 1e6))
    states: list[torch.Tensor | None] = [None] * 4
    with torch.no_grad():
        for src in DataLoader(reader):
            fgr, pha, *states = network(src, *states, ratio)
            writer.write(fgr * pha + GREEN * (1 - pha))
    writer.close()


def long_clip(path: Path, width: int, height: int) -> Path:
    """Write the real clip, scaled, played forwards and backwards up to `FRAMES` frames."""
    with open_source(real_clip(REAL_VIDEO), (width, height)) as source:
        like = source.properties
        frames = [frame.pixels for frame in source]
    turns = [*frames, *frames[-2:0:-1]]
    with open_sink(path, like, alpha=False) as sink:
        for k in range(FRAMES):
            sink.write(turns[k % len(turns)], round(k / (like.frame_rate * like.time_base)))
    return path


if __name__ == "__main__":
    main()
