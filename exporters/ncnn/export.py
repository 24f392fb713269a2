"""Export the lowered program as an ncnn model, in a zip file or a folder, with metadata in a file beside the graph."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from exporters.artifact import INPUTS, OUTPUTS
from exporters.lowering.folding import divided_convs
from exporters.lowering.program import program
from exporters.ncnn import GRAPH, METADATA, WEIGHTS, NcnnSpec
from exporters.ncnn.layer import Layer, fused, to_text, with_splits
from exporters.ncnn.load import content_sha256
from exporters.ncnn.ops import NcnnOps, Size
from exporters.support.archive import pack
from exporters.support.metadata import identity
from rvm_model.state import STATE_CHANNELS, state_shapes
from rvm_model.weights.checkpoint import Checkpoint


def export(checkpoint: Checkpoint, spec: NcnnSpec, path: Path) -> None:
    """Write the file or folder. See `exporters.runtime.Exporter`."""
    layers = _layers(checkpoint, spec)
    graph, weights = to_text(layers).encode(), b"".join(layer.content() for layer in layers)
    with TemporaryDirectory() as desk:
        folder = Path(desk) / "model" if spec.zip else path
        folder.mkdir()
        (folder / GRAPH).write_bytes(graph)
        (folder / WEIGHTS).write_bytes(weights)
        metadata = _metadata(checkpoint, spec, content_sha256(graph, weights))
        (folder / METADATA).write_text(json.dumps(metadata, indent=2) + "\n")
        if spec.zip:
            pack(folder, path, spec.file_name(".ncnn", checkpoint.seeded))


def _layers(checkpoint: Checkpoint, spec: NcnnSpec) -> list[Layer]:
    fixed = spec.fixed
    ops = NcnnOps(spec.precision == "fp16", fixed)
    channels = (3, *STATE_CHANNELS[spec.variant])
    sizes: list[Size | None] = [None] * 5
    if fixed is not None:
        shapes = state_shapes(spec.variant, fixed.height, fixed.width, fixed.ratio)
        sizes = [(fixed.height, fixed.width), *((shape[2], shape[3]) for shape in shapes)]
    src, *states = (ops.input(*each) for each in zip(INPUTS[:5], channels, sizes, strict=True))
    r1, r2, r3, r4 = states
    convs = divided_convs(checkpoint.network())
    matte = program(ops, convs, src, (r1, r2, r3, r4), float(spec.baked_ratio), at_ratio_one="skip")
    outputs = dict(zip((matte.fgr, matte.pha, *matte.states), OUTPUTS, strict=True))
    return with_splits(fused(ops.layers), outputs)


def _metadata(checkpoint: Checkpoint, spec: NcnnSpec, content_hash: str) -> dict[str, str]:
    size = {"downsample_ratio": repr(spec.baked_ratio)} if spec.fixed is None else spec.fixed.metadata()
    return identity(checkpoint, spec, **{**size, "batch": "1", "layout": "CHW", "content_sha256": content_hash})
