"""Every play of `parity_tests/plays.py`, the long ones too, through every format: figures for the tolerance table.

Writes one line per play, format, precision and refiner to `tools/results/parity_cpu.csv`, prints what each row of the
table should hold, and exits 1 if a play is beyond its limit. Takes about half an hour on four cores.
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
from exporters.spec import ExportSpec
from parity_tests.compare import NAMES, Comparison, compare
from parity_tests.play import play_artifact, play_reference
from parity_tests.plays import PLAYS, Play, affordable, play_checkpoint, play_clip
from parity_tests.tolerances import TOLERANCES, Case, sampling
from parity_tests.verify import reference_network
from rvm_model.state import REFINERS

RESULTS = Path(__file__).parent / "results" / "parity_cpu.csv"
VERSIONS = {
    "torch": release(torch.__version__),
    "onnxruntime": version("onnxruntime"),
    "python": platform.python_version(),
}


def main() -> None:
    """Measure, write, judge."""
    console = Console(stderr=True)
    runs = [
        (play, refiner, name, precision)
        for play in PLAYS
        for refiner in REFINERS
        for name, description in FORMATS.items()
        for precision in description.precisions
        if affordable(play, name, precision)
    ]
    rows: list[dict[str, object]] = []
    worst: dict[Case, dict[str, tuple[float, float]]] = defaultdict(dict)
    failures: list[str] = []
    for play, refiner, name, precision in track(runs, console=console, description="playing"):
        case = Case(
            format=name, precision=precision, refiner=refiner, weights=play.weights, sampling=sampling(play.ratio)
        )
        comparison = measure(play, case)
        rows.append(_row(play, case, comparison))
        failures += [f"{play} {case}: {failure}" for failure in comparison.failures]
        for output in NAMES:
            group = output if output in ("fgr", "pha") else "states"
            before = worst[case].get(group, (0.0, 0.0))
            drift = comparison.outputs[output]
            worst[case][group] = max(before[0], drift.max_abs), max(before[1], drift.mean_abs)
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=[*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    for case, groups in worst.items():
        figures = ", ".join(f"{group}=Error({top:.1e}, {mean:.1e})" for group, (top, mean) in groups.items())
        console.print(f"{case}: {figures}", highlight=False, soft_wrap=True)
    for failure in failures:
        console.print(f"FAILED: {failure}", highlight=False, soft_wrap=True)
    sys.exit(bool(failures))


def measure(play: Play, case: Case) -> Comparison:
    """Export, play and compare one case; judged where the table has a row for it."""
    checkpoint = play_checkpoint(play.weights, play.variant, case.refiner)
    clip = play_clip(play)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "artifact"
        spec = ExportSpec(variant=play.variant, refiner=case.refiner, precision=case.precision)
        load_exporter(case.format).export(checkpoint, spec, path)
        artifact = load_runtime(case.format).inspect(path)
        reference = play_reference(reference_network(artifact, checkpoint), clip, play.ratio)
        return compare(reference, play_artifact(artifact, clip, play.ratio), TOLERANCES.get(case))


def _row(play: Play, case: Case, comparison: Comparison) -> dict[str, object]:
    return {
        "weights": play.weights,
        "variant": play.variant,
        "width": play.width,
        "height": play.height,
        "downsample_ratio": play.ratio,
        "batch": play.batch,
        "frames": comparison.frames,
        "format": case.format,
        "precision": case.precision,
        "refiner": case.refiner,
        **{
            f"{name}_{figure}": f"{getattr(comparison.outputs[name], figure):.2e}"
            for name in NAMES
            for figure in ("max_abs", "mean_abs")
        },
        "alpha_mad": f"{comparison.alpha.mad:.2e}",
        "alpha_mse": f"{comparison.alpha.mse:.2e}",
        "alpha_dtssd": f"{comparison.alpha.dtssd:.2e}",
        **VERSIONS,
    }


if __name__ == "__main__":
    main()
