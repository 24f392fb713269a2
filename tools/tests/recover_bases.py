"""Good files of every kind for `recover_mutations.py`."""

from collections.abc import Mapping
from pathlib import Path

from exporters import FORMATS, load_exporter
from exporters.coreml import CoremlSpec
from exporters.spec import Fixed
from rvm_model import load_checkpoint


def write_bases(artifacts: Mapping[str, Path], home: Path) -> None:
    """Write `<kind>.base` into `home`: one file of each format, and a CoreML neural network."""
    kinds = {
        "onnx": "onnx",
        "tfjs": "tfjs",
        "tensorflow": "tensorflow",
        "coreml": "mlpackage",
        "torchscript": "torchscript",
    }
    for name, kind in kinds.items():
        (home / f"{kind}.base").write_bytes(artifacts[name].read_bytes())
    size = Fixed(width=96, height=64, ratio=0.5)
    spec = CoremlSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="int8", fixed=size, target="ios14")
    load_exporter("coreml").export(load_checkpoint("seeded"), spec, home / "mlmodel.base")


def export_all_formats(folder: Path) -> dict[str, Path]:
    """Export one file of seeded weights for each format, CoreML's as a zip file."""
    paths = {}
    for name, description in FORMATS.items():
        more = {"fixed": Fixed(width=96, height=64, ratio=0.5), "zip": True} if description.one_size else {}
        spec = description.spec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", **more)
        paths[name] = folder / spec.file_name(spec.suffix(description.suffix), seeded=True)
        load_exporter(name).export(load_checkpoint("seeded"), spec, paths[name])
    return paths
