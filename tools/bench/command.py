"""`rvm-export bench`: time files against PyTorch and against the plain files that PyTorch makes.

Every contender has its own process, which is idle while another's frame is timed. The timed outputs are also compared:
a file that drifts from PyTorch beyond its tolerance gets no ratio.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import cast

import numpy as np
from rich.console import Console

from exporters import FORMATS, open_artifact, recognise
from exporters.artifact import OUTPUTS, Artifact
from exporters.runtime import Device
from exporters.spec import Fixed
from parity_tests.clips import BUILTIN_NAME, Clip, builtin_clip, held_clip
from parity_tests.verify import LEVEL, ParityError, check_size
from rvm_model.device import torch_device
from rvm_model.errors import UserError
from rvm_model.state import REFINERS, VARIANTS
from rvm_model.weights.checkpoint import Checkpoint
from tools.bench.baselines import make_baselines
from tools.bench.cutouts import judge_of_cutouts
from tools.bench.exporting import bench_exports
from tools.bench.judge import make_judge
from tools.bench.page import BROWSERS, SLACK
from tools.bench.race import WARM_UP, Contender, Course, Judge, Measured, over_bytes, race
from tools.bench.report import RENDERINGS, Bench, Race, to_table
from tools.shared.console import stderr_console, working
from tools.shared.machine import cores, machine, versions
from tools.shared.models import checkpoint_of, open_checkpoint, refuse_auto
from tools.shared.outputs import check_reports, write_reports
from tools.shared.sizes import parse_sizes

USUAL_SIZES = (Fixed(width=1920, height=1080, ratio=0.25),)
RELEASED_SIZES = (*USUAL_SIZES, Fixed(width=3840, height=2160, ratio=0.125))
"""The sizes of the released project's speed test."""

_FRAMES = 8
_BASELINES = {"cpu": "traced", "cuda": "torchscript"}


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """The options of the command."""

    baseline: str | None
    resolutions: tuple[str, ...]
    ratios: tuple[str, ...]
    device: str
    threads: tuple[int, ...]
    rounds: int | None
    precision: str
    preset: str | None
    checkpoint: str | None
    trust: bool
    export: bool
    reports: Mapping[str, Path]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions to measure: every size with every number of threads. `noise` is random input, not the clip."""

    sizes: tuple[Fixed, ...]
    threads: tuple[int, ...]
    rounds: int
    device: str
    precision: str
    noise: bool


def bench_all(paths: Sequence[Path], options: BenchOptions) -> int:
    """Run the bench, and return the exit code: 1 if a contender drifts.

    Raises:
        UserError: options that contradict each other, or files that cannot be measured with them.
        ExportFailed: a process died.
    """
    refuse_auto(options.checkpoint)
    check_reports(options.reports, paths)
    if options.preset and (options.resolutions or options.ratios):
        raise UserError(
            "--preset rvm has sizes of its own; leave --resolution and --downsample-ratio out, or the preset"
        )
    sizes: tuple[Fixed, ...] = RELEASED_SIZES if options.preset else USUAL_SIZES
    if options.resolutions or options.ratios:
        sizes = tuple(size for size in parse_sizes(options.resolutions, options.ratios, None) if size)
    threads = options.threads or (cores(),)
    if options.export:
        return _export(paths, options, sizes, threads)
    conditions = Conditions(
        sizes=sizes,
        threads=threads,
        rounds=options.rounds or 20,
        device=options.device,
        precision=options.precision,
        noise=options.preset is not None,
    )
    return bench_files(paths, options.baseline or ("torchscript" if options.preset else None), options, conditions)


def _export(paths: Sequence[Path], options: BenchOptions, sizes: Sequence[Fixed], threads: Sequence[int]) -> int:
    if paths or options.preset or options.device != "cpu" or options.baseline or options.checkpoint:
        raise UserError(
            "--export times exporters, not files; of the other options only sizes, threads and rounds go with it"
        )
    bench_exports(sizes[0], threads[0], options.rounds or 3, options.reports)
    return 0


def bench_files(paths: Sequence[Path], baseline: str | None, options: BenchOptions, conditions: Conditions) -> int:
    """Print a table for each size and number of threads, and write reports. See `bench_all`.

    Args:
        paths: Exported files of any format, all of one variant, refiner and weights.
        baseline: The name of the contender that the others are compared with; None for the device's default.
        options: Its checkpoint, trust and reports are used.
        conditions: The sizes, threads and rounds to measure.
    """
    console = stderr_console()
    if conditions.device == "cuda":
        torch_device("cuda")
    files = _contenders(paths, conditions, options.trust)
    checkpoint = _checkpoint(files, options.checkpoint, options.trust)
    races: list[Race] = []
    with tempfile.TemporaryDirectory(prefix="rvm-bench-") as folder:
        baselines: list[Contender] = []
        if conditions.device not in BROWSERS:
            with working(console, "making the baselines"):
                baselines = make_baselines(checkpoint, conditions.precision, conditions.device, Path(folder))
        lists = [[*baselines, *(each for each in files if _takes(each, size))] for size in conditions.sizes]
        against = baseline or _BASELINES.get(conditions.device) or files[0].name
        for size, contenders in zip(conditions.sizes, lists, strict=True):
            _check(contenders, against, size)
        for size, contenders in zip(conditions.sizes, lists, strict=True):
            races += _bench_size(contenders, against, checkpoint, size, conditions, console)
    for line in (failure for each in races for failure in each.failures):
        console.print(line, soft_wrap=True)
    bench = Bench(races=tuple(races), machine=machine(conditions.device), versions=versions())
    console.print(", ".join(f"{name} {value}" for name, value in {**bench.machine, **bench.versions}.items()))
    write_reports(RENDERINGS, bench, options.reports)
    return 1 if any(each.failures for each in races) else 0


def _bench_size(
    contenders: Sequence[Contender],
    baseline: str,
    checkpoint: Checkpoint,
    size: Fixed,
    conditions: Conditions,
    console: Console,
) -> list[Race]:
    """Run one race for each number of threads."""
    clip = _noise(size) if conditions.noise else _builtin(size)
    first = held_clip(clip.name, clip.pixels[np.arange(WARM_UP) % len(clip)], clip.kind)
    device = cast(Device, "cpu" if conditions.device in BROWSERS else conditions.device)
    # PyTorch itself is judged like the traced file, which exists wherever PyTorch takes part.
    traced = next((each.artifact for each in contenders if each.name == "traced"), None)
    with working(console, "playing PyTorch, which all are compared with"):
        judges = [make_judge(each, traced, checkpoint, first, size.ratio, device) for each in contenders]
    given = clip.name
    if over_bytes(contenders, conditions.device):
        browser = conditions.device in BROWSERS
        slack, what = (SLACK, "bytes to a canvas") if browser else (LEVEL / 2, "bytes to cut-outs in bytes")
        judges, given = [judge_of_cutouts(each, slack) for each in judges], f"{clip.name}, {what}"
    races = []
    for threads in conditions.threads:
        course = Course(
            size=size,
            threads=threads,
            device=conditions.device,
            precision=conditions.precision,
            rounds=conditions.rounds,
        )
        measured = _race(contenders, judges, course, clip, console)
        races.append(Race(course=course, input=given, baseline=baseline, measured=tuple(measured)))
        console.print(to_table(races[-1]))
    return races


def _race(
    contenders: Sequence[Contender], judges: Sequence[Judge], course: Course, clip: Clip, console: Console
) -> list[Measured]:
    threads = f"{course.threads} thread{'s' if course.threads > 1 else ''}"
    text = f"timing at {course.size.width}x{course.size.height} with {threads}"
    rounds = count(1)
    with working(console, text) as stage:

        def on_round() -> None:
            stage.update(text, f"round {next(rounds)} of {WARM_UP + course.rounds}")

        return race(contenders, judges, course, clip, on_round)


def _contenders(paths: Sequence[Path], conditions: Conditions, trust: bool) -> list[Contender]:
    """Return the user's files, each with its file name, or with its path if two have the same name."""
    if conditions.device in BROWSERS and not paths:
        raise UserError(
            f"--device {conditions.device} has no baselines of its own; give TensorFlow.js or ONNX files, the baseline "
            "first"
        )
    names = [path.name for path in paths]
    files = []
    for path in paths:
        runtime = _runtime(path, conditions.device)
        artifact = open_artifact(path, trust=trust, runtime=runtime)
        if artifact.fixed is not None:
            _refuse_size(artifact, artifact.fixed, conditions)
        if artifact.ratio is not None:
            _refuse_ratio(artifact, artifact.ratio, conditions)
        name = path.name if names.count(path.name) == 1 else str(path)
        files.append(Contender(name=name, path=path, artifact=artifact, runtime=runtime))
    if over_bytes(files, conditions.device):
        _refuse_without_cutout(files)
    places = [path.resolve() for path in paths]
    twice = next((path for path, place in zip(paths, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UserError(f"{twice} was given twice; give each file once")
    kinds = {(each.artifact.variant, each.artifact.refiner): each.name for each in files if each.artifact}
    if len(kinds) > 1:
        said = "; ".join(f"{name} is of {variant} with {refiner}" for (variant, refiner), name in kinds.items())
        raise UserError(f"files of different networks cannot be compared: {said}; bench them apart")
    return files


def _runtime(path: Path, device: str) -> str | None:
    """Return the runtime of a file on a device, None for its format's first. Raise UserError if it has none there."""
    form = recognise(path)
    if device not in BROWSERS or (device, form) == ("browser", "onnx"):
        return None
    runtime = f"chromium-{BROWSERS[device]}"
    if runtime not in FORMATS[form].runtimes:
        takes = "TensorFlow.js and ONNX" if device == "browser" else "TensorFlow.js"
        raise UserError(f"{path} does not run in a browser here; --device {device} takes files of {takes}")
    return runtime


def _refuse_size(artifact: Artifact, fixed: Fixed, conditions: Conditions) -> None:
    """Raise UserError for a file that fits no race."""
    if fixed not in conditions.sizes:
        sizes = ", ".join(f"{size.width}x{size.height} at ratio {size.ratio:g}" for size in conditions.sizes)
        raise UserError(
            f"{artifact.path} is for {fixed.width}x{fixed.height} at ratio {fixed.ratio:g} and batch {fixed.batch} "
            f"only, and this bench is of {sizes} and batch 1; give its --resolution and --downsample-ratio"
        )


def _refuse_ratio(artifact: Artifact, ratio: float, conditions: Conditions) -> None:
    """Raise UserError for a file of any size whose ratio is that of no race."""
    if ratio not in {size.ratio for size in conditions.sizes}:
        sizes = ", ".join(f"{size.width}x{size.height} at ratio {size.ratio:g}" for size in conditions.sizes)
        raise UserError(
            f"{artifact.path} has the ratio {ratio:g} baked in, and this bench is of {sizes}; give a --resolution with "
            "that --downsample-ratio"
        )


def _refuse_without_cutout(files: Sequence[Contender]) -> None:
    """Raise UserError for what cannot be timed in a race over bytes."""
    for each in files:
        if each.artifact and len(each.artifact.mattes) < len(OUTPUTS[:2]):
            raise UserError(
                f"{each.name} gives no foreground or no alpha, so no cut-out as the others do; bench it apart"
            )


def _takes(contender: Contender, size: Fixed) -> bool:
    artifact = contender.artifact
    return artifact is None or (artifact.fixed in (None, size) and artifact.baked_ratio in (None, size.ratio))


def _checkpoint(files: Sequence[Contender], source: str | None, trust: bool) -> Checkpoint:
    """Return the weights of all files. Raise ParityError if a file's metadata names others."""
    artifacts = [each.artifact for each in files if each.artifact]
    checkpoint = (
        checkpoint_of(artifacts[0], source, trust)
        if artifacts
        else open_checkpoint(source or "seeded", VARIANTS[0], REFINERS[0], trust=trust)
    )
    for artifact in artifacts:
        if artifact.metadata.get("weights_sha256", checkpoint.weights_sha256) != checkpoint.weights_sha256:
            raise ParityError(
                f"{artifact.path} was made from other weights than {checkpoint.name}; give its checkpoint with "
                "--checkpoint"
            )
    return checkpoint


def _check(contenders: Sequence[Contender], baseline: str, size: Fixed) -> None:
    """Refuse contenders that cannot be compared, before anything is timed."""
    names = [each.name for each in contenders]
    where = f"{size.width}x{size.height} at ratio {size.ratio:g}"
    if baseline not in names:
        raise UserError(f"nothing is called {baseline!r} at {where}; give as --baseline one of: {', '.join(names)}")
    if size.ratio == 1:
        raise UserError(f"{where}: at ratio 1 files differ in whether they refine; give a --downsample-ratio below 1")
    blank = held_clip("", np.zeros((1, 1, size.height, size.width, 3), np.uint8))
    for artifact in (each.artifact for each in contenders):
        if artifact is not None:
            check_size(artifact, blank, size.ratio)


def _builtin(size: Fixed) -> Clip:
    """Return the built-in clip held in memory, so that nothing is drawn while frames are timed."""
    return held_clip(BUILTIN_NAME, builtin_clip(_FRAMES, size.width, size.height).pixels, "builtin")


def _noise(size: Fixed) -> Clip:
    """Return the input of the released speed test: random numbers, the same in every frame."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, size.height, size.width, 3), np.uint8)
    return held_clip("random input", pixels, "builtin")
