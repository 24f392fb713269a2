"""The parts of `tools.measure.cuda`: each is called with a `Plan` and returns lines."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exporters import FORMATS, load_exporter, open_artifact
from exporters.runtime import Device
from exporters.spec import Fixed
from parity_tests.clips import Clip, builtin_clip, held_clip
from parity_tests.compare import FrameOutputs
from parity_tests.judging.drift import Drift, DriftTally
from parity_tests.judging.judge import limits_of, multiples, with_floor
from parity_tests.judging.limits import FACTORS
from parity_tests.judging.yardstick import sampled_ratio, stored_weights, truth, yardstick
from parity_tests.play import play_artifact
from rvm_model.cuda_graph import captured_play
from rvm_model.device import torch_device
from rvm_model.matting import network_play
from rvm_model.rendering import Play
from rvm_model.weights.checkpoint import Checkpoint, load_checkpoint
from tools.bench.contender import CAPTURED, COMPILED
from tools.bench.judge import make_judge
from tools.bench.race import WARM_UP, Contender, Course, race

HD, UHD = Fixed(width=1920, height=1080, ratio=0.25), Fixed(width=3840, height=2160, ratio=0.125)
PARITY_SIZES = (Fixed(width=640, height=360, ratio=0.5), Fixed(width=1280, height=720, ratio=0.375))
GOALS = {HD: 5, UHD: 3}
"""By size: times as fast as frozen TorchScript in the same race, both in half precision."""

COLUMNS = ("part", "name", "resolution", "downsample_ratio", "precision", "figure", "value", "ok", "note")
Line = dict[str, Any]
"""By `COLUMNS`. `ok` is yes or no where something is judged, else empty. `note` says why a value is missing."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The conditions to measure. `seconds` is the time limit of a part. Tests shrink the rest, on the CPU."""

    device: Device = "cuda"
    checkpoint: str = "seeded"
    frames: int = 24
    rounds: int = 30
    seconds: float = 240
    parity_sizes: tuple[Fixed, ...] = PARITY_SIZES
    race_sizes: tuple[Fixed, ...] = (HD, UHD)
    precision: str = "fp16"


@dataclass(frozen=True, kw_only=True)
class File:
    """An exported file to judge and time. `fixed` says that it is made for the size it is played at."""

    format: str
    precision: str
    fixed: bool = False

    @property
    def name(self) -> str:
        return f"{self.format}{', one size' if self.fixed else ''}"


FILES = (
    File(format="torchscript", precision="fp32"),
    File(format="torchscript", precision="fp16"),
    File(format="onnx", precision="fp32"),
    File(format="onnx", precision="fp16"),
    File(format="onnx", precision="fp32", fixed=True),
    File(format="onnx", precision="fp16", fixed=True),
)


def line(**values: Any) -> Line:
    """Return a line with empty values for the columns that are not given."""
    size: Fixed | None = values.pop("size", None)
    if size is not None:
        values |= {"resolution": f"{size.width}x{size.height}", "downsample_ratio": f"{size.ratio:g}"}
    return dict.fromkeys(COLUMNS, "") | values


def parity(plan: Plan) -> list[Line]:
    """Judge files on the device against float64 PyTorch on the CPU, in units of PyTorch's own error on the device."""
    checkpoint = load_checkpoint(plan.checkpoint)
    lines: list[Line] = []
    for size in plan.parity_sizes:
        clip = builtin_clip(plan.frames, size.width, size.height)
        expected = [*truth(checkpoint, "auto").play(clip, size.ratio, size.ratio)]
        with tempfile.TemporaryDirectory() as folder:
            for file in FILES:
                given = {"part": "parity", "name": file.name, "precision": file.precision, "size": size}
                try:
                    lines += _judged(file, checkpoint, clip, size, expected, plan.device, Path(folder), given)
                except Exception as error:
                    lines.append(line(**given, note=f"not measured: {first_line(error)}"))
    return lines


def _judged(
    file: File,
    checkpoint: Checkpoint,
    clip: Clip,
    size: Fixed,
    expected: Sequence[FrameOutputs],
    device: Device,
    folder: Path,
    given: Mapping[str, Any],
) -> Iterator[Line]:

    artifact = open_artifact(export(file, checkpoint, size, folder), trust=True)
    own = yardstick(artifact, checkpoint, "auto", stored_weights(artifact))
    units = _errors(expected, own.play(clip, size.ratio, sampled_ratio(artifact, size.ratio), device))
    errors = _errors(expected, play_artifact(artifact, clip, size.ratio, device))
    limits = limits_of(with_floor(units), file.precision)
    for name, error in errors.items():
        ok = all(
            getattr(error, figure) <= getattr(limits[name], figure) for figure in ("max_abs", "mean_abs", "high_abs")
        )
        worst = max(multiples(error, units[name]).values())
        judged = {**given, "ok": "yes" if ok else "no"}
        yield line(**judged, figure=f"{name} max", value=f"{error.max_abs:.2e}")
        yield line(**judged, figure=f"{name} mean", value=f"{error.mean_abs:.2e}")
        yield line(**judged, figure=f"{name} times PyTorch on {device}", value=f"{worst:.2f}")


def export(file: File, checkpoint: Checkpoint, size: Fixed, folder: Path) -> Path:
    """Write the file, and return its path."""
    fixed = {"fixed": size} if file.fixed else {}
    spec = FORMATS[file.format].spec(
        variant=checkpoint.variant, refiner=checkpoint.refiner, precision=file.precision, **fixed
    )
    path = folder / spec.file_name(FORMATS[file.format].suffix, checkpoint.seeded)
    if not path.exists():
        load_exporter(file.format).export(checkpoint, spec, path)
    return path


def _errors(expected: Sequence[FrameOutputs], given: Iterator[FrameOutputs]) -> Mapping[str, Drift]:
    """Return the error of each output over the clip."""
    tallies: dict[str, DriftTally] = {}
    for truth_of_frame, outputs in zip(expected, given, strict=True):
        for name, array in outputs.items():
            tallies.setdefault(name, DriftTally()).add(truth_of_frame[name], array)
    return {name: tally.drift() for name, tally in tallies.items()}


def captured(plan: Plan) -> list[Line]:
    """Compare the captured network with float64 on the CPU, in units of the plain network in half precision."""
    checkpoint, where = load_checkpoint(plan.checkpoint), torch_device(plan.device)
    lines = []
    for size in plan.parity_sizes:
        clip = builtin_clip(plan.frames, size.width, size.height)
        expected = [
            {name: outputs[name] for name in ("fgr", "pha")}
            for outputs in truth(checkpoint, "always").play(clip, size.ratio, size.ratio)
        ]
        plain = network_play(checkpoint.network("always").to(where, torch.float16), size.ratio, where, torch.float16)
        units = _errors(expected, _mattes(plain, clip))
        errors = _errors(expected, _mattes(captured_play(checkpoint.network("always"), size.ratio, where), clip))
        for name, error in errors.items():
            times = error.mean_abs / max(units[name].mean_abs, 2**-23)
            ok = "yes" if times <= FACTORS["fp16", "mean"].limit else "no"
            given = {"part": "captured", "name": "captured", "precision": "fp16", "size": size, "ok": ok}
            lines.append(line(**given, figure=f"{name} mean", value=f"{error.mean_abs:.2e}"))
            lines.append(line(**given, figure=f"{name} times the plain network", value=f"{times:.2f}"))
    return lines


def _mattes(play: Play, clip: Clip) -> Iterator[FrameOutputs]:
    for frame in clip:
        fgr, pha = play(frame)
        yield {"fgr": fgr.copy(), "pha": pha.copy()}


RACERS = ("pytorch", "captured", "onnx", "onnx, one size", "compiled")
"""Contenders against frozen TorchScript, which is the released project's speed test."""


@dataclass(frozen=True, kw_only=True)
class Race:
    """Race one contender against frozen TorchScript, as `rvm-export bench` does. Frames come from the host."""

    size: Fixed
    name: str

    def __call__(self, plan: Plan) -> list[Line]:

        from tools.bench.baselines import make_baselines  # imports onnx, which may be missing

        checkpoint, size = load_checkpoint(plan.checkpoint), self.size
        clip = held_clip("builtin", builtin_clip(8, size.width, size.height).pixels, "builtin")
        first = held_clip(clip.name, clip.pixels[np.arange(WARM_UP) % len(clip)], clip.kind)
        course = Course(size=size, threads=1, device=plan.device, precision=plan.precision, rounds=plan.rounds)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            baselines = {each.name: each for each in make_baselines(checkpoint, plan.precision, "cpu", folder)}
            pytorch = baselines["pytorch"]
            if self.name in ("onnx", "onnx, one size"):
                file = File(format="onnx", precision=plan.precision, fixed=self.name != "onnx")
                path = export(file, checkpoint, size, folder)
                own = Contender(name=self.name, path=path, artifact=open_artifact(path, trust=True), runtime=None)
            else:
                runtime = {"captured": CAPTURED, "compiled": COMPILED}.get(self.name)
                own = replace(pytorch, name=self.name, runtime=runtime)
            contenders = [baselines["torchscript"], own]
            traced = baselines["traced"].artifact
            judges = [make_judge(each, traced, checkpoint, first, size.ratio, plan.device) for each in contenders]
            against, measured = race(contenders, judges, course, clip, lambda: None)
        given = {"part": "race", "name": self.name, "precision": plan.precision, "size": size}
        ratios = np.array(against.seconds) / np.array(measured.seconds)
        first_quartile, median, third_quartile = (float(value) for value in np.quantile(ratios, (0.25, 0.5, 0.75)))
        drift = {"ok": "no" if measured.failures else "yes", "note": " ".join(measured.failures)}
        return [
            line(**given, figure="ms", value=f"{1000 * float(np.median(measured.seconds)):.2f}", **drift),
            line(**given, figure="ms of frozen TorchScript", value=f"{1000 * float(np.median(against.seconds)):.2f}"),
            line(
                **given,
                figure="times as fast as frozen TorchScript",
                value=f"{median:.2f}",
                note=f"quartiles {first_quartile:.2f} to {third_quartile:.2f}; goal {GOALS.get(size, 'none')}",
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Measure PyTorch's peak of memory on the GPU over a few frames, in half precision."""

    size: Fixed
    mode: str

    def __call__(self, plan: Plan) -> list[Line]:

        where, size = torch_device(plan.device), self.size
        network = load_checkpoint(plan.checkpoint).network("always")
        play = (
            captured_play(network, size.ratio, where)
            if self.mode == "captured"
            else network_play(network.to(where, torch.float16), size.ratio, where, torch.float16)
        )
        for frame in builtin_clip(4, size.width, size.height):
            play(frame)
        given = {"part": "memory", "name": self.mode, "precision": "fp16", "size": size, "figure": "peak MiB"}
        if where.type != "cuda":
            return [line(**given, note="not measured: no GPU")]
        return [line(**given, value=f"{torch.cuda.max_memory_reserved() / 2**20:.0f}")]


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
