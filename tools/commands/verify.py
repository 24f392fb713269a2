"""Verify existing files one after the other, and report on all of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from exporters import open_artifact
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
    """Return a JSON list with an object for each report."""
    objects = [refusal_to_json(each) if isinstance(each, Refusal) else to_json(each) for each in results]
    return json.dumps(objects, indent=2) + "\n"


RENDERINGS: dict[str, Callable[[Results], str]] = {
    "json": to_json_text,
    "junit": to_junit,
    "markdown": to_markdown,
}
"""By the name of the option. Each function returns a text that ends in a newline."""


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Options of `verify`.

    `checkpoint` is a source of `open_checkpoint`; None means the one that each file's metadata names. `trust` opens
    files that are code. `clip` is an image folder or a video; None is the built-in clip. `frames` is the number of
    frames; None means 24, or 12 large ones. `downsample_ratio` is a number or `auto`. `runtime` plays the files; None
    means the first of each format. `reports` maps a kind of `RENDERINGS` to a file, or to `-` for stdout.
    """

    checkpoint: str | None
    trust: bool
    clip: Path | None
    frames: int | None
    downsample_ratio: str
    device: str
    runtime: str | None
    reports: Mapping[str, Path]


def verify_all(artifacts: list[Path], options: VerifyOptions) -> int:
    """Verify every file. Return the exit code: 2 if a file could not be verified, else 1 if one failed, else 0.

    Raises:
        UserError: a clip or ratio that cannot be used, or a report that could not be written.
    """
    console = stderr_console()
    refuse_auto(options.checkpoint)
    check_reports(options.reports, artifacts)
    clip = load_clip(options.clip, options.frames)
    ratio = parse_ratio(options.downsample_ratio)
    results: list[ParityReport | Refusal] = []
    code = 0
    for path in artifacts:
        try:
            of_all_sizes = _verify_one(path, clip, ratio, options)
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
    write_reports(RENDERINGS, results, options.reports)
    return code


def _verify_one(path: Path, clip: Clip, ratio: float | None, options: VerifyOptions) -> list[ParityReport]:
    console = stderr_console()
    with working(console, f"reading {path}"):
        artifact = open_artifact(path, trust=options.trust, runtime=options.runtime)
    if ratio is None and artifact.baked_ratio is None:
        ratio = auto_ratio(clip)
    checkpoint = checkpoint_of(artifact, options.checkpoint, options.trust)
    text = f"verifying {path}"
    with working(console, text) as stage:
        return [
            verify(
                each,
                checkpoint,
                clip,
                ratio,
                cast(Device, options.device),
                options.runtime,
                on_frame=lambda t: stage.update(text, f"frame {t + 1}"),
            )
            for each in (artifact, *artifact.others)
        ]
