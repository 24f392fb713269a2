"""Verify every option and every profile of the ONNX exporter, on trained weights and the real clip.

Part of `make soak`. Writes `results/onnx_options_cpu.csv`: nodes, the error of each output against PyTorch, and
the runtime that played the file.
"""

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporters import load_exporter, load_runtime
from exporters.onnx import OnnxSpec
from exporters.onnx.profiles import PROFILES
from exporters.spec import Fixed
from parity_tests.cases import Case, case_checkpoint, case_clip
from parity_tests.compare import NAMES
from parity_tests.verify import verify
from tools.measure.table import measure

TABLE = "onnx_options_cpu.csv"
PLAY = Case(weights="from_tfjs", clip="real", width=640, height=360, ratio=0.5, frames=24)
SIZE = Fixed(width=PLAY.width, height=PLAY.height, ratio=PLAY.ratio)
COLUMNS = [
    *("file", "profile", "runtime", "nodes", "bytes"),
    *(f"{name}_{figure}" for name in NAMES for figure in ("max_abs", "mean_abs")),
    "ok",
]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A file to make: its options, or a profile, and the runtime that plays it."""

    options: dict[str, Any] = field(default_factory=dict)
    profile: str = ""
    runtime: str = "onnxruntime"


ROWS = (
    Row(),
    Row(options={"fixed": SIZE}),
    Row(options={"fixed": Fixed(width=PLAY.width, height=PLAY.height, ratio=1.0)}),
    Row(options={"fixed": Fixed(width=PLAY.width, height=PLAY.height, ratio=PLAY.ratio, batch=2)}),
    *(Row(options={"opset": opset}) for opset in range(13, 22)),
    Row(options={"primitive_activations": True}),
    Row(options={"ceil_free": True}),
    Row(options={"banded": True}),
    Row(options={"fixed": SIZE, "banded": True}),
    Row(options={"outputs": "pha"}),
    Row(options={"outputs": "fgr"}),
    Row(options={"io": "uint8-nhwc"}),
    Row(options={"io": "uint8-nhwc-bgr"}),
    Row(options={"simplify": True}),
    Row(options={"precision": "fp16"}),
    Row(options={"precision": "fp16", "io_dtype": "fp32"}),
    Row(options={"precision": "fp16", "io": "uint8-nhwc"}),
    Row(options={"precision": "fp16", "fixed": SIZE}),
    *(
        Row(options={"precision": "int8", "fixed": fixed, "banded": banded})
        for fixed in (None, SIZE)
        for banded in (False, True)
    ),
    Row(options={"precision": "int8", "opset": 21}),
    Row(options={"precision": "int8", "io": "uint8-nhwc"}),
    *(Row(profile=profile, options={"fixed": SIZE}) for profile in PROFILES),
    *(
        Row(profile=profile, options={"fixed": fixed, "precision": precision}, runtime=runtime)
        for profile, runtime in (("webgpu", "onnxruntime-web"), ("openvino", "openvino"))
        for fixed in (None, SIZE)
        for precision in ("fp32", "fp16")
    ),
    *(Row(runtime=runtime) for runtime in ("onnxruntime-web", "openvino")),
    *(Row(options={"precision": "int8"}, runtime=runtime) for runtime in ("onnxruntime-web", "openvino")),
)


def main() -> None:
    """Measure, write, judge."""
    sys.exit(measure(TABLE, COLUMNS, ROWS, lambda row: [played(row)], judged=["ok"]))


def played(row: Row) -> dict[str, str]:
    """Export and verify one file. Return its line."""
    options = dict(row.options)
    if row.profile:
        precision = options.get("precision", "fp32")
        options |= PROFILES[row.profile].options(row.profile, precision, {}, options.get("fixed"))
    checkpoint = case_checkpoint(PLAY.weights, PLAY.variant, "deep_guided_filter")
    spec = OnnxSpec(**{"variant": PLAY.variant, "refiner": "deep_guided_filter", "precision": "fp32"} | options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / spec.file_name(".onnx", checkpoint.seeded)
        load_exporter("onnx").export(checkpoint, spec, path)
        artifact = load_runtime("onnx").inspect(path)
        ratio = PLAY.ratio if artifact.fixed is None else None
        report = verify(artifact, checkpoint, case_clip(PLAY), ratio, runtime=row.runtime)
        line = {
            "file": path.name,
            "profile": row.profile,
            "runtime": report.runtime,
            "nodes": str(artifact.facts["nodes"]),
            "bytes": str(path.stat().st_size),
            "ok": "yes" if report.ok else "no",
        }
    for name, drift in report.comparison.outputs.items():
        line |= {f"{name}_max_abs": f"{drift.max_abs:.1e}", f"{name}_mean_abs": f"{drift.mean_abs:.1e}"}
    return line


if __name__ == "__main__":
    main()
