"""Export the lowered program as an ncnn model, in a zip file or a folder, with metadata in a file beside the graph."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from exporters.layers import SEGMENTATION
from exporters.lowering.folding import Conv, divided_convs
from exporters.lowering.program import apply_line, fitted_line, network, program
from exporters.ncnn import GRAPH, METADATA, WEIGHTS, NcnnSpec
from exporters.ncnn.contract import CONTRACTS
from exporters.ncnn.layer import Layer, fused, to_text, with_splits
from exporters.ncnn.load import content_sha256
from exporters.ncnn.ops import NcnnOps, Size
from exporters.support.archive import pack
from exporters.support.metadata import BY_THE_CALLER, identity
from exporters.support.own_metadata import HASH
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
    fixed, contract = spec.fixed, CONTRACTS[spec.contract]
    ops = NcnnOps(spec.precision == "fp16", fixed, contract.src)
    channels = (3, *STATE_CHANNELS[spec.variant], 3)
    sizes: list[Size | None] = [None] * 6
    if fixed is not None:
        shapes = state_shapes(spec.variant, fixed.height, fixed.width, fixed.ratio)
        inside = contract.inside(fixed.height, fixed.width, fixed.ratio)
        sizes = [(fixed.height, fixed.width), *((shape[2], shape[3]) for shape in shapes), inside]
    src, r1, r2, r3, r4, *small = (ops.input(*each) for each in zip(contract.inputs, channels, sizes, strict=False))
    convs = divided_convs(checkpoint.network())
    if contract.reads_small:
        fast = divided_convs(checkpoint.with_fast_guided_filter().network())
        values = _all_mattes(ops, convs, fast, src, small[0], (r1, r2, r3, r4))
    else:
        matte = program(ops, convs, src, (r1, r2, r3, r4), float(spec.baked_ratio), at_ratio_one="skip")
        values = (matte.fgr, matte.pha, *matte.states)
    outputs = dict(zip(values, (*contract.outputs, *contract.others), strict=True))
    return with_splits(fused(ops.layers), outputs)


def _all_mattes(
    ops: NcnnOps,
    convs: Mapping[str, Conv],
    fast: Mapping[str, Conv],
    src: str,
    small: str,
    states: tuple[str, str, str, str],
) -> tuple[str, ...]:
    """Write nihui's network. Return its outputs in the order of the contract.

    They are the matte by the deep guided filter, the states, the matte at the internal size, the matte by the fast
    guided filter, and the segmentation.
    """
    with ops.scope("downsample"):
        wide = ops.append_ones(small)
    mat, hid, after = network(ops, convs, wide, states)
    with ops.scope("refiner"):
        deep_fgr, deep_pha = apply_line(ops, *fitted_line(ops, convs, small, mat, hid), src)
    with ops.scope("fast_refiner"):
        fast_fgr, fast_pha = apply_line(ops, *fitted_line(ops, fast, small, mat, hid), src)
    with ops.scope("output"):
        residual, pha = ops.split(mat, 3, 1)
        fgr, pha = ops.clamp(ops.add(residual, small)), ops.clamp(pha)
        segmentation = ops.conv(hid, convs[SEGMENTATION])
    return deep_fgr, deep_pha, *after, fgr, pha, fast_fgr, fast_pha, segmentation


def _metadata(checkpoint: Checkpoint, spec: NcnnSpec, content_hash: str) -> dict[str, str]:
    if spec.fixed is not None:
        size = spec.fixed.metadata()
    else:
        size = {"downsample_ratio": BY_THE_CALLER if spec.ratio is None else repr(spec.baked_ratio)}
    return identity(checkpoint, spec, **{**size, "batch": "1", "layout": "CHW", HASH: content_hash})
