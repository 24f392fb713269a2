"""Name the first layer at which a file drifts, and report the points near it."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from exporters import describe
from exporters.artifact import Artifact
from parity_tests.bisect import bisect, refuse_other_formats
from parity_tests.clips import load_clip
from parity_tests.reports.bisect_report import to_json, to_table, verdict
from parity_tests.verify import auto_ratio
from rvm_model.errors import UserError
from tools.shared.console import stderr_console, working
from tools.shared.models import checkpoint_of, refuse_auto
from tools.shared.outputs import check_reports, write_text
from tools.shared.sizes import parse_ratio

PYTORCH = "pytorch"


@dataclass(frozen=True, kw_only=True)
class BisectOptions:
    """Options of `bisect`.

    `against` is `pytorch`, or the path of another file. `checkpoint` is a source of `open_checkpoint`; None means the
    one that the file's metadata names. `trust` opens a checkpoint that is code. `clip` is an image folder or a video;
    None is the built-in clip. `frames` is the number of frames; None means 24, or 12 large ones. `downsample_ratio` is
    a number or `auto`. `threshold` is the largest mean error that is no drift; None means the one for the precision
    and refiner. `every_point` also shows points far from the first drift. `json` is the file of the report; `-` is
    stdout.
    """

    against: str
    checkpoint: str | None
    trust: bool
    clip: Path | None
    frames: int | None
    downsample_ratio: str
    threshold: float | None
    every_point: bool
    json: Path | None


def bisect_file(path: Path, options: BisectOptions) -> int:
    """Bisect an ONNX file and return the exit code: 1 if it drifts, else 0.

    Raises:
        UserError: the files cannot be compared with these options.
    """
    console = stderr_console()
    against, threshold = options.against, options.threshold
    refuse_auto(options.checkpoint)
    if options.json is not None:
        check_reports({"json": options.json}, [path, *([] if against == PYTORCH else [Path(against)])])
    if threshold is not None and not 0 <= threshold < math.inf:
        raise UserError(f"--threshold {threshold:g}: give a number from 0 up, such as 1e-3")
    clip, ratio = load_clip(options.clip, options.frames), parse_ratio(options.downsample_ratio)
    artifact = _inspect(path)
    other = None if against == PYTORCH else _inspect(Path(against))
    if ratio is None and artifact.fixed is None and (other is None or other.fixed is None):
        ratio = auto_ratio(clip)
    checkpoint = checkpoint_of(artifact, options.checkpoint, options.trust)
    with working(console, f"bisecting {path}"):
        report = bisect(artifact, other, checkpoint, clip, ratio, threshold)
    console.print(to_table(report, options.every_point))
    for line in verdict(report):
        console.print(line, soft_wrap=True)
    if options.json is not None:
        write_text(json.dumps(to_json(report), indent=2) + "\n", options.json)
    return 0 if report.ok else 1


def _inspect(path: Path) -> Artifact:
    artifact = describe(path)
    refuse_other_formats(path, artifact.format)
    return artifact
