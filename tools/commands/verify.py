"""Prove files that exist, one after the other, and report on all of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from exporters import load_runtime, recognise
from exporters.runtime import Device
from parity_tests.clips import Clip, load_clip
from parity_tests.reports.junit import to_junit
from parity_tests.reports.markdown import to_markdown
from parity_tests.reports.parity_report import Refusal, refusal_to_json, to_json, to_table, verdict
from parity_tests.verify import ParityReport, auto_ratio, verify
from rvm_model.errors import UserError
from tools.shared.console import say_error, stderr_console, working
from tools.shared.models import checkpoint_of, refuse_auto
from tools.shared.outputs import check_reports, write_reports
from tools.shared.sizes import parse_ratio

Results = Sequence[ParityReport | Refusal]


def to_json_text(results: Results) -> str:
    """A list of objects, one for each artifact."""
    objects = [refusal_to_json(each) if isinstance(each, Refusal) else to_json(each) for each in results]
    return json.dumps(objects, indent=2) + "\n"


RENDERINGS: dict[str, Callable[[Results], str]] = {
    "json": to_json_text,
    "junit": to_junit,
    "markdown": to_markdown,
}
"""By the name of the option that asks for it. Each gives a text that ends in a newline."""


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
        reports: Where to write the reports: kind of `RENDERINGS` to file, or `-` for stdout.
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
    write_reports(RENDERINGS, results, reports)
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
