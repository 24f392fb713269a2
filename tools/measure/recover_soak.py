"""Recover weights from files of every format: part of `make soak`.

Writes `results/recover_cpu.csv`: for each file, the worst drift between it and the network rebuilt from it, and
whether a file exported from the recovered weights is the same, except for what it says about its checkpoint.
"""

import sys
import tempfile
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from exporters import FORMATS, load_exporter, load_runtime, open_artifact
from exporters.coreml import CoremlSpec
from exporters.recover import recover
from exporters.spec import ExportSpec, Fixed
from parity_tests.cases import shared_folder
from parity_tests.compare import NAMES
from parity_tests.recovered import verify_recovered
from rvm_model.state import REFINERS, VARIANTS
from rvm_model.weights.checkpoint import load_checkpoint
from tools.measure.table import measure

TABLE = "recover_cpu.csv"
SIZE = Fixed(width=96, height=64, ratio=0.5)
OF_THE_CHECKPOINT = ("checkpoint", "checkpoint_sha256", "weights_sha256", "graph_sha256")
COLUMNS = [
    "file",
    "variant",
    "refiner",
    "ratio",
    "same_file",
    *(f"{name}_{what}" for name in NAMES for what in ("max", "mean")),
    "ok",
]
RELEASED = (
    "official/tfjs",
    "official/coreml/rvm_mobilenetv3_1280x720_s0.375_int8.mlmodel",
    "official/coreml/rvm_mobilenetv3_1920x1080_s0.25_int8.mlmodel",
)


def main() -> None:
    """Measure, write, judge."""
    with tempfile.TemporaryDirectory() as desk:
        folder = Path(desk)
        shared = shared_folder()
        released = [partial(measured, Path(name).name, shared / name, "") for name in RELEASED if shared is not None]
        made = [partial(ours, *spec, folder) for spec in (*specs(), *_neural_networks())]
        code = measure(TABLE, COLUMNS, [*released, *made], lambda lines: lines(), judged=["ok", "same_file"])
    sys.exit(code)


def specs() -> Iterator[tuple[str, ExportSpec]]:
    """Yield a spec for every format, variant, refiner and precision."""
    for variant in VARIANTS:
        for name, description in FORMATS.items():
            for refiner in REFINERS:
                for precision in description.precisions:
                    options: dict[str, Any] = {"fixed": SIZE} if description.one_size else {}
                    options |= {"zip": True} if name == "coreml" else {}
                    given = {"variant": variant, "refiner": refiner, "precision": precision}
                    yield name, description.spec(**given, **options)


def _neural_networks() -> Iterator[tuple[str, ExportSpec]]:
    for precision in FORMATS["coreml"].precisions:
        yield (
            "coreml",
            CoremlSpec(variant=VARIANTS[0], refiner=REFINERS[0], precision=precision, fixed=SIZE, target="ios14"),
        )


def ours(name: str, spec: ExportSpec, folder: Path) -> Iterator[dict[str, str]]:
    """Export, recover and export again; compare the two files and the networks. Yield the lines."""
    suffix = spec.suffix(FORMATS[name].suffix)
    first, second = (folder / f"{k}" / spec.file_name(suffix, seeded=True) for k in (1, 2))
    for path in (first, second):
        path.parent.mkdir(exist_ok=True)
    load_exporter(name).export(load_checkpoint("seeded", spec.variant, spec.refiner), spec, first)
    same = ""
    if spec.precision == "fp32":
        load_exporter(name).export(recover([open_artifact(first, trust=True)]).checkpoint, spec, second)
        same = "yes" if same_file(name, first, second) else "no"
    yield from measured(first.name, first, same)
    for path in (first, second):
        path.unlink(missing_ok=True)


def measured(name: str, path: Path, same: str) -> Iterator[dict[str, str]]:
    """Recover a file's weights and verify them. Yield a line for each report."""
    recovered = recover([open_artifact(path, trust=True)])
    for report in verify_recovered(recovered):
        line = {
            "file": name,
            "variant": recovered.checkpoint.variant,
            "refiner": recovered.checkpoint.refiner,
            "ratio": f"{report.ratio:g}",
            "same_file": same,
            "ok": "yes" if report.ok else "no",
        }
        for output, drift in report.comparison.outputs.items():
            line |= {f"{output}_max": f"{drift.max_abs:.1e}", f"{output}_mean": f"{drift.mean_abs:.1e}"}
        yield line


def same_file(name: str, first: Path, second: Path) -> bool:
    """Return whether two files are the same except for their texts about the checkpoint, wherever these stand."""
    one, two = (load_runtime(name).inspect(path).metadata for path in (first, second))
    words = [(one[key].encode(), two[key].encode()) for key in OF_THE_CHECKPOINT if key in one]
    contents = [_contents(path) for path in (first, second)]
    if contents[0].keys() != contents[1].keys():
        return False
    for file, content in contents[0].items():
        for old, new in words:
            content = content.replace(old, new)
        if content != contents[1][file]:
            return False
    return name != "onnx" or one["graph_sha256"] == two["graph_sha256"]


def _contents(path: Path) -> dict[str, bytes]:
    if not zipfile.is_zipfile(path):
        return {"": path.read_bytes()}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


if __name__ == "__main__":
    main()
