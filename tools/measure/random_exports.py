"""Verify 246 good exports of random options, sizes and ratios: all must pass.

Writes `results/random_exports_cpu.csv`, one line per export. Run it again to resume: existing lines are kept. Exits
with 1 if an export fails.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from rich.console import Console

from exporters import load_exporter, open_artifact
from parity_tests.cases import case_checkpoint, real_clip
from parity_tests.clips import Clip, builtin_clip, load_clip
from parity_tests.compare import NAMES
from parity_tests.judging.judge import multiples
from parity_tests.judging.limits import STATISTICS
from parity_tests.mutants.trial import margin
from parity_tests.verify import ParityReport, verify
from tools.measure.random_cases import RandomCase, random_cases
from tools.measure.table import lines_before, measure

TABLE = "random_exports_cpu.csv"
CONSOLE = Console(stderr=True)
OPTIONS = ["number", "format", "precision", "file", "variant", "refiner", "weights", "clip"]
SIZES = ["width", "height", "downsample_ratio", "frames"]
FIGURES = [f"{name}_{each}" for name in NAMES for each in STATISTICS]
COLUMNS = [*OPTIONS, *SIZES, "ok", "worst", "worst_output", *FIGURES, "seconds"]


def main() -> None:
    """Export, verify, write, judge."""
    done = {line["number"] for line in lines_before(TABLE)}
    cases = [case for case in random_cases() if str(case.number) not in done]
    with tempfile.TemporaryDirectory() as folder:

        def lines(case: RandomCase) -> Iterator[dict[str, str]]:
            began = time.monotonic()
            report = verified(case, Path(folder))
            for failure in report.comparison.failures:
                CONSOLE.print(f"{case}: {failure}", highlight=False)
            yield {**_options(case), **_figures(report), "seconds": f"{time.monotonic() - began:.1f}"}

        code = measure(TABLE, COLUMNS, cases, lines, judged=["ok"], resumed=True)
    sys.exit(code)


def verified(case: RandomCase, folder: Path) -> ParityReport:
    """Export one case and verify it. A file that serves several cases is made once, in `folder`."""
    name, spec = case.recipe.format, case.spec()
    checkpoint = case_checkpoint(case.weights, case.variant, case.refiner)
    path = folder / f"{case.weights}_{spec.file_name('', checkpoint.seeded)}.{name}"
    if not path.exists():
        load_exporter(name).export(checkpoint, spec, path)
    artifact = open_artifact(path, trust=True)
    return verify(artifact, checkpoint, _clip(case), case.ratio if artifact.baked_ratio is None else None)


def _clip(case: RandomCase) -> Clip:
    if case.clip == "builtin":
        return builtin_clip(case.frames, case.width, case.height)
    return _real_clip().first(case.frames).resized(case.width, case.height)


@lru_cache(maxsize=1)
def _real_clip() -> Clip:
    return load_clip(real_clip())


def _options(case: RandomCase) -> dict[str, str]:
    spec = case.spec()
    return {
        "number": str(case.number),
        "format": case.recipe.format,
        "precision": case.recipe.precision,
        "file": spec.file_name("", seeded=case.weights == "seeded"),
        "variant": case.variant,
        "refiner": case.refiner,
        "weights": case.weights,
        "clip": case.clip,
        "width": str(case.width),
        "height": str(case.height),
        "downsample_ratio": repr(case.ratio),
        "frames": str(case.frames),
    }


def _figures(report: ParityReport) -> dict[str, str]:
    """Return the verdict, the worst figure divided by its limit, and each output's error in yardsticks."""
    output, worst = margin(report)
    times = {
        f"{name}_{each}": f"{value:.2f}"
        for name, drift in report.comparison.outputs.items()
        for each, value in multiples(drift, report.units[name]).items()
    }
    return {"ok": "yes" if report.ok else "no", "worst": f"{worst:.2f}", "worst_output": output, **times}


if __name__ == "__main__":
    main()
