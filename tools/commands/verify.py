"""Prove files that exist, one after the other, and report on all of them."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from exporters import load_runtime, recognise
from exporters.runtime import Device
from exporters.spec import Artifact
from parity_tests.clips import BUILTIN_NAME, Clip, load_clip
from parity_tests.reports.parity_report import Refusal, to_table, verdict
from parity_tests.verify import BUILTIN_RATIO, ParityReport, verify
from rvm_model.errors import UserError
from rvm_model.state import auto_graph_ratio
from rvm_model.weights.checkpoint import Checkpoint, CheckpointError, DownloadError
from tools.shared.checkpoints import open_checkpoint
from tools.shared.console import say_error, stderr_console, working
from tools.shared.reports import check_reports, write_reports


def verify_all(
    artifacts: list[Path],
    source: str | None,
    clip_path: Path | None,
    frames: int | None,
    ratio_text: str,
    device: str,
    runtime: str | None,
    reports: Mapping[str, Path],
    trust: bool = False,
) -> int:
    """Verify every file and return the exit code: 2 if one could not be, else 1 if one failed, else 0.

    Args:
        artifacts: Paths of exported files.
        source: Their weights, as `open_checkpoint` takes them; None for what each file's metadata names.
        clip_path: Image folder or video; None for the built-in clip.
        frames: How many frames to play; None for as many as the size affords.
        ratio_text: A downsample ratio, or `auto`.
        device: `cpu` or `cuda`.
        runtime: What plays the files; None for the first of each one's format.
        reports: Where to write the reports: kind of `tools.shared.reports.RENDERINGS` to file, or `-` for stdout.
        trust: Open a source that is code.

    Raises:
        UserError: a clip or ratio that cannot be used, or a report that could not be written.
    """
    console = stderr_console()
    refuse_auto(source)
    check_reports(reports, artifacts)
    clip = load_clip(clip_path, frames)
    ratio = parse_ratio(ratio_text)
    results: list[ParityReport | Refusal] = []
    code = 0
    for path in artifacts:
        try:
            of_all_sizes = _verify_one(path, source, clip, ratio, cast(Device, device), runtime, trust)
        except UserError as error:
            code = say_error(str(error), 2)
            results.append(Refusal(artifact=path, error=str(error)))
            continue
        for report in of_all_sizes:
            console.print(to_table(report))
            for line in verdict(report):
                console.print(line, soft_wrap=True)
            results.append(report)
            if not report.ok:
                code = max(code, 1)
    write_reports(results, reports)
    return code


def _verify_one(
    path: Path,
    source: str | None,
    clip: Clip,
    ratio: float | None,
    device: Device,
    runtime: str | None,
    trust: bool,
) -> list[ParityReport]:
    console = stderr_console()
    with working(console, f"reading {path}"):
        artifact = load_runtime(recognise(path), runtime).inspect(path)
    if ratio is None and artifact.fixed is None:
        ratio = auto_ratio(clip)
    checkpoint = checkpoint_of(artifact, source, trust)
    text = f"verifying {path}"
    with working(console, text) as stage:
        return [
            verify(
                each, checkpoint, clip, ratio, device, runtime, on_frame=lambda t: stage.update(text, f"frame {t + 1}")
            )
            for each in (artifact, *artifact.others)
        ]


def refuse_auto(source: str | None) -> None:
    """Raises UserError for a checkpoint that is not one in particular."""
    if source == "auto":
        raise UserError("--checkpoint auto could be other weights than the file's; give a path, official or seeded")


def checkpoint_of(artifact: Artifact, source: str | None, trust: bool = False) -> Checkpoint:
    """The weights to compare with. Seeded ones are never taken unless the file or the user names them."""
    named = source or ("seeded" if artifact.metadata.get("checkpoint") == "seeded" else "official")
    try:
        return open_checkpoint(named, artifact.variant, artifact.refiner, trust=trust)
    except DownloadError as error:
        if source:
            raise
        raise CheckpointError(
            f"{artifact.path} needs the weights it was made from: give them with --checkpoint ({error})"
        ) from error


def auto_ratio(clip: Clip) -> float:
    """What suits a clip, for a file that takes any ratio."""
    if clip.name == BUILTIN_NAME:
        return BUILTIN_RATIO
    try:
        return auto_graph_ratio(*clip.size)
    except ValueError as error:
        raise UserError(f"{clip.name} is too narrow for ratio auto; give a --downsample-ratio ({error})") from error


def parse_ratio(text: str) -> float | None:
    """None stands for auto: what an artifact has baked in, else what suits the clip."""
    if text == "auto":
        return None
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if not 0 < ratio <= 1:
        raise UserError(f"--downsample-ratio {text}: give a number in (0, 1], or auto")
    return ratio
