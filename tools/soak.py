"""Every play of `parity_tests/plays.py`, the long ones too, through every format: figures for the tolerance table.

Writes one line per play, format, precision and refiner to `tools/results/parity_cpu.csv`, prints what each row of the
table should hold, and exits 1 if a play is beyond its limit. Formats named on the command line are measured alone, and
the lines of the others stay. All of it took 25 minutes on three threads beside other work, before the last plays were
added.
"""

import csv
import platform
import sys
import tempfile
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from exporters import FORMATS, load_exporter, load_runtime
from exporters.metadata import release
from parity_tests.compare import NAMES, Comparison, compare
from parity_tests.play import play_artifact, play_reference
from parity_tests.plays import (
    PLAYS,
    SOAK_BUDGETS,
    Play,
    affordable,
    artifact_name,
    play_checkpoint,
    play_clip,
    play_spec,
)
from parity_tests.tolerances import TOLERANCES, Case, row_of, sampling
from parity_tests.verify import reference_network
from rvm_model.state import REFINERS

RESULTS = Path(__file__).parent / "results" / "parity_cpu.csv"
VERSIONS = {
    "torch": release(torch.__version__),
    "onnxruntime": version("onnxruntime"),
    "python": platform.python_version(),
}
COLUMNS = [
    *("weights", "variant", "clip", "width", "height", "downsample_ratio", "batch", "frames"),
    *("format", "precision", "refiner"),
    *(f"{name}_{figure}" for name in NAMES for figure in ("max_abs", "mean_abs")),
    *("alpha_mad", "alpha_mse", "alpha_dtssd"),
    *VERSIONS,
]


def main() -> None:
    """Measure, write, judge."""
    console = Console(stderr=True)
    formats = sys.argv[1:] or [*FORMATS]
    runs = [
        (play, refiner, name, precision)
        for play in PLAYS
        for refiner in REFINERS
        for name, description in FORMATS.items()
        if name in formats and (play.one_size or not description.one_size)
        for precision in description.precisions
        if precision not in play.without and affordable(play, name, precision, SOAK_BUDGETS)
    ]
    worst: dict[Case, dict[str, tuple[float, float]]] = defaultdict(dict)
    failures: list[str] = []
    unfinished = RESULTS.with_suffix(".partial")
    with unfinished.open("w", newline="", buffering=1) as file, tempfile.TemporaryDirectory() as folder:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_lines_of_others(formats))
        for play, refiner, name, precision in track(runs, console=console, description="playing"):
            case = row_of(
                Case(
                    format=name,
                    precision=precision,
                    refiner=refiner,
                    weights=play.kind,
                    sampling=sampling(play.ratio),
                    clip=play.clip,
                )
            )
            comparison = measure(play, case, Path(folder))
            writer.writerow(_row(play, case, comparison))
            failures += [f"{play} {case}: {failure}" for failure in comparison.failures]
            for output in NAMES:
                group = output if output in ("fgr", "pha") else "states"
                before = worst[case].get(group, (0.0, 0.0))
                drift = comparison.outputs[output]
                worst[case][group] = max(before[0], drift.max_abs), max(before[1], drift.mean_abs)
    unfinished.replace(RESULTS)
    for case, groups in worst.items():
        figures = ", ".join(f"{group}=Error({top:.1e}, {mean:.1e})" for group, (top, mean) in groups.items())
        console.print(f"{case}: {figures}", highlight=False, soft_wrap=True)
    for failure in failures:
        console.print(f"FAILED: {failure}", highlight=False, soft_wrap=True)
    sys.exit(bool(failures))


def measure(play: Play, case: Case, folder: Path) -> Comparison:
    """Play and compare one case; judged where the table has a row for it. Artifacts are made once, in `folder`."""
    checkpoint = play_checkpoint(play.weights, play.variant, case.refiner)
    clip = play_clip(play)
    path = folder / artifact_name(play, case.format, case.refiner, case.precision)
    if not path.exists():
        spec = play_spec(play, case.format, case.refiner, case.precision)
        load_exporter(case.format).export(checkpoint, spec, path)
    artifact = load_runtime(case.format).inspect(path)
    reference = play_reference(reference_network(artifact, checkpoint), clip, play.ratio)
    return compare(reference, play_artifact(artifact, clip, play.ratio), TOLERANCES.get(case))


def _lines_of_others(formats: list[str]) -> list[list[str]]:
    with RESULTS.open(newline="") as file:
        _, *lines = csv.reader(file)
    return [line for line in lines if line[COLUMNS.index("format")] not in formats]


def _row(play: Play, case: Case, comparison: Comparison) -> list[str]:
    drifts = [comparison.outputs[name] for name in NAMES]
    alpha = comparison.alpha
    figures = [figure for drift in drifts for figure in (drift.max_abs, drift.mean_abs)]
    return [
        *map(
            str,
            (play.weights, play.variant, play.clip, play.width, play.height, play.ratio, play.batch, comparison.frames),
        ),
        *(case.format, case.precision, case.refiner),
        *(f"{figure:.2e}" for figure in (*figures, alpha.mad, alpha.mse, alpha.dtssd)),
        *VERSIONS.values(),
    ]


if __name__ == "__main__":
    main()
