"""CoreML files of seeded weights, for tests. A conversion takes seconds: make few, and small ones."""

from pathlib import Path
from typing import Any

from exporters import FORMATS, load_exporter
from exporters.coreml import CoremlSpec
from exporters.spec import Fixed
from rvm_model import load_checkpoint

SIZE, OTHER = Fixed(width=96, height=64, ratio=0.5), Fixed(width=64, height=128, ratio=0.25)


def spec_of(**options: Any) -> CoremlSpec:
    defaults = {"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "fp16", "fixed": SIZE}
    return CoremlSpec(**defaults | options)


def export(folder: Path, **options: Any) -> Path:
    spec = spec_of(**options)
    path = folder / spec.file_name(spec.suffix(FORMATS["coreml"].suffix), seeded=True)
    load_exporter("coreml").export(load_checkpoint("seeded", spec.variant, spec.refiner), spec, path)
    return path
