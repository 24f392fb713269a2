"""Export our ONNX graph as an IR, in a zip file or a folder, with metadata in its `rt_info`."""

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from exporters.onnx import OnnxSpec
from exporters.onnx.export import export as export_onnx
from exporters.openvino import GRAPH, WEIGHTS, OpenvinoSpec
from exporters.openvino.load import METADATA, content_sha256, parse
from exporters.support.archive import pack
from exporters.support.fresh_process import run_module
from exporters.support.metadata import identity, release
from exporters.support.own_metadata import HASH
from rvm_model.weights.checkpoint import Checkpoint

_OPSET = 14
"""HardSwish is one node from this on, as it is in OpenVINO."""


def export(checkpoint: Checkpoint, spec: OpenvinoSpec, path: Path) -> None:
    """Write the file or folder. See `exporters.runtime.Exporter`."""
    with TemporaryDirectory() as desk:
        folder = Path(desk) / "model" if spec.zip else path
        folder.mkdir()
        _convert(checkpoint, spec, Path(desk) / "model.onnx", folder)
        _add_metadata(checkpoint, spec, folder)
        if spec.zip:
            pack(folder, path, spec.file_name(".openvino", checkpoint.seeded))


def _convert(checkpoint: Checkpoint, spec: OpenvinoSpec, source: Path, folder: Path) -> None:
    fixed = spec.fixed
    onnx = OnnxSpec(
        variant=spec.variant,
        refiner=spec.refiner,
        precision="fp32",
        opset=_OPSET,
        fixed=fixed,
        banded=fixed is None or fixed.ratio < 1,
    )
    export_onnx(checkpoint, onnx, source, cut=False)
    kind = spec.contract or ("stateful" if spec.stateful else "stateless")
    run_module("exporters.openvino.convert", source, folder, spec.precision, kind, failure="OpenVINO could not convert")


def _add_metadata(checkpoint: Checkpoint, spec: OpenvinoSpec, folder: Path) -> None:
    """Write our metadata into the graph, in place of the converter's."""
    root = parse((folder / GRAPH).read_bytes())
    weights = (folder / WEIGHTS).read_bytes()
    more = {} if spec.fixed is None else spec.fixed.metadata()
    if spec.contract:
        more |= {
            "channel_order": "src BGR, fgr RGB",
            "contract": "Open Model Zoo, robust-video-matting-mobilenetv3",
            "value_range": "src: levels, 0 to 255; fgr, pha: RGB and opacity in [0, 1], fgr not premultiplied",
        }
    metadata = identity(
        checkpoint,
        spec,
        **more,
        stateful="yes" if spec.stateful else "no",
        openvino_version=release(version("openvino")),
        **{HASH: content_sha256(root, weights)},
    )
    for theirs in root.findall("rt_info"):
        root.remove(theirs)
    section = ElementTree.SubElement(ElementTree.SubElement(root, "rt_info"), METADATA)
    for key, value in metadata.items():
        ElementTree.SubElement(section, key, value=value)
    (folder / GRAPH).write_bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True))
