"""Name the first layer at which a file drifts, and report on those around it."""

import json
import math
from pathlib import Path

from exporters import load_runtime, recognise
from exporters.spec import Artifact
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


def bisect_file(
    path: Path,
    against: str,
    source: str | None,
    clip_path: Path | None,
    frames: int | None,
    ratio_text: str,
    threshold: float | None,
    every_point: bool,
    json_path: Path | None,
    trust: bool = False,
) -> int:
    """Bisect a file and return the exit code: 1 if it drifts, else 0.

    Args:
        path: An ONNX file.
        against: `pytorch`, or the path of another.
        source: Their weights, as `open_checkpoint` takes them; None for what the file's metadata names.
        clip_path: Image folder or video; None for the built-in clip.
        frames: How many frames to play; None for as many as the size affords.
        ratio_text: A downsample ratio, or `auto`.
        threshold: The largest mean error that is no drift; None for what suits precision and refiner.
        every_point: Whether to show points far from the first drift too.
        json_path: Where to write the report; `-` for stdout, None for nowhere.
        trust: Open a source that is code.

    Raises:
        UserError: anything that cannot be compared as asked.
    """
    console = stderr_console()
    refuse_auto(source)
    if json_path is not None:
        check_reports({"json": json_path}, [path, *([] if against == PYTORCH else [Path(against)])])
    if threshold is not None and not 0 <= threshold < math.inf:
        raise UserError(f"--threshold {threshold:g}: give a number from 0 up, such as 1e-3")
    clip, ratio = load_clip(clip_path, frames), parse_ratio(ratio_text)
    artifact = _inspect(path)
    other = None if against == PYTORCH else _inspect(Path(against))
    if ratio is None and artifact.fixed is None and (other is None or other.fixed is None):
        ratio = auto_ratio(clip)
    checkpoint = checkpoint_of(artifact, source, trust)
    with working(console, f"bisecting {path}"):
        report = bisect(artifact, other, checkpoint, clip, ratio, threshold)
    console.print(to_table(report, every_point))
    for line in verdict(report):
        console.print(line, soft_wrap=True)
    if json_path is not None:
        write_text(json.dumps(to_json(report), indent=2) + "\n", json_path)
    return 0 if report.ok else 1


def _inspect(path: Path) -> Artifact:
    name = recognise(path)
    refuse_other_formats(path, name)
    return load_runtime(name).inspect(path)
