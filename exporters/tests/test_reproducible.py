"""Test that the same weights give the same bytes, on any checkout and in any environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exporters import FORMATS

pytestmark = pytest.mark.timeout(1800)

ROOT = Path(__file__).resolve().parents[2]
EXPORT = """
import sys
from pathlib import Path
from exporters import FORMATS, load_exporter
from exporters.spec import Fixed
from rvm_model import load_checkpoint
options = {"fixed": Fixed(width=96, height=64, ratio=0.5)} if FORMATS[sys.argv[1]].one_size else {}
options |= {"zip": True} if sys.argv[1] in ("coreml", "ncnn", "openvino") else {}
spec = FORMATS[sys.argv[1]].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision=sys.argv[3], **options)
load_exporter(sys.argv[1]).export(load_checkpoint("seeded"), spec, Path(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("onnx", "fp32"),
        *(pytest.param(name, each.precisions[-1], marks=pytest.mark.long) for name, each in FORMATS.items()),
    ],
)
def test_two_processes_from_two_checkouts_write_the_same_bytes(name, precision, tmp_path):
    """The two differ in checkout, hash seed, time zone, thread count, user and file name."""
    contents = []
    for k, zone in ((1, "UTC"), (2, "Asia/Tokyo")):
        checkout = tmp_path / f"checkout{k}"
        for package in ("rvm_model", "exporters"):
            shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("node_modules"))
        environment = os.environ | {
            "PYTHONPATH": str(checkout),
            "PYTHONHASHSEED": str(k),
            "TZ": zone,
            "OMP_NUM_THREADS": str(k),
            "USER": f"user{k}",
        }
        code = f"import exporters; assert exporters.__file__.startswith({str(checkout)!r}){EXPORT}"
        subprocess.run(
            [sys.executable, "-c", code, name, f"file{k}", precision],
            cwd=checkout,
            env=environment,
            check=True,
            timeout=600,
        )
        contents.append((checkout / f"file{k}").read_bytes())
    assert contents[0] == contents[1]
