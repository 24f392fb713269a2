"""Bisect names the first module behind a broken place, and finds nothing in good files."""

from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from exporters import load_exporter, load_runtime
from exporters.artifact import ArtifactError
from exporters.layers import STATES
from exporters.lowering.folding import conv_modules
from exporters.onnx import OnnxSpec
from exporters.onnx.traced import export_traced
from exporters.spec import Fixed
from exporters.support.calibration import load_calibration
from parity_tests.bisect import bisect
from parity_tests.clips import builtin_clip, held_clip
from parity_tests.verify import ParityError
from rvm_model import load_checkpoint

# Internal sizes are 66x50, then 33x25, 17x13, 9x7: the second and third pool meet odd edges.
CLIP = builtin_clip(3, 132, 100)
FIXED = Fixed(width=132, height=100, ratio=0.5)
FIRST = "backbone.features.0.0"


seeded = lru_cache(partial(load_checkpoint, "seeded"))


@lru_cache(maxsize=8)
def content(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", traced=False, **options):
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.onnx")
        if traced:
            export_traced(seeded(variant, refiner).network("always"), path)
        else:
            spec = OnnxSpec(variant=variant, refiner=refiner, precision=precision, **options)
            load_exporter("onnx").export(seeded(variant, refiner), spec, path)
        return path.read_bytes()


def export(path, **options):
    path.write_bytes(content(**options))
    return path


def run(path, against=None, ratio=0.5, clip=CLIP, **options):
    inspect = load_runtime("onnx").inspect
    artifact = inspect(path)
    checkpoint = seeded(artifact.variant, artifact.refiner)
    return bisect(artifact, against and inspect(against), checkpoint, clip, ratio, **options)


def edit(path: Path, change) -> Path:
    """Change a file and remove its checksum, as the error message asks."""
    model = onnx.load(path)
    change(model.graph)
    for entry in [entry for entry in model.metadata_props if entry.key == "graph_sha256"]:
        model.metadata_props.remove(entry)
    onnx.save(model, path)
    return path


def node(graph, name):
    return next(node for node in graph.node if node.name == name)


def set_attribute(node, name, value):
    for old in [attribute for attribute in node.attribute if attribute.name == name]:
        node.attribute.remove(old)
    node.attribute.append(helper.make_attribute(name, value))


def scale_weights(name, factor, where=...):
    def change(graph):
        weight = next(weight for weight in graph.initializer if weight.name == name)
        array = numpy_helper.to_array(weight).copy()
        array[where] *= factor
        weight.CopyFrom(numpy_helper.from_array(array, name))

    return change


def put_operator(name, operator):
    def change(graph):
        broken = node(graph, name)
        broken.op_type = operator
        del broken.attribute[:]

    return change


def align_corners(name):
    return lambda graph: set_attribute(node(graph, name), "coordinate_transformation_mode", "align_corners")


def count_padding(graph):
    """Make the overhang of odd edges count as padding. onnxruntime ignores the flag if only ceil_mode overhangs."""
    for k, pool in enumerate(each for each in graph.node if each.op_type == "AveragePool"):
        set_attribute(pool, "count_include_pad", 1)
        if k > 0:
            set_attribute(pool, "pads", [0, 0, 1, 1])
            set_attribute(pool, "ceil_mode", 0)


def assert_first(report, name):
    assert report.first is not None
    assert report.points[report.first].name == name
    assert not any(point.drifts for point in report.points[: report.first])


BREAKS = {
    "one weight": (
        scale_weights("backbone.features.3.block.1.0.weight", 2, (0, 0, 0, 0)),
        "backbone.features.3.block.1.0",
    ),
    "first conv": (scale_weights(f"{FIRST}.weight", 1.1), FIRST),
    "a gate's bias": (scale_weights("backbone.features.5.block.2.fc2.bias", 2), "backbone.features.5.block.2.fc2"),
    "gru conv": (scale_weights("decoder.decode2.gru.ih.0.h.weight", 1.1), "decoder.decode2.gru.ih.0"),
    "box filter": (scale_weights("refiner.box_filter.weight", 1.1), "refiner.box_filter"),
    "joined conv": (scale_weights("decoder.decode0.conv.0.src.weight", 1.1), "decoder.decode0.conv.0"),
    "last conv": (scale_weights("refiner.conv.6.weight", 1.1), "refiner.conv.6"),
    "HardSwish": (put_operator("backbone.features.0/HardSwish", "Relu"), "backbone.features.1.block.0.0"),
    "last HardSwish": (put_operator("backbone.features.16/HardSwish", "Relu"), "aspp.aspp1.0"),
    "pool": (count_padding, "decoder.decode3.conv.0"),
    "first resize": (align_corners("downsample/Resize"), FIRST),
    "upsampling": (align_corners("decoder.decode2/Resize"), "decoder.decode2.conv.0"),
    "last resize": (align_corners("refiner/Resize"), "pha"),  # its rows are resized to full size first
    "first gru": (put_operator("decoder.decode4.gru/Tanh", "Sigmoid"), "decoder.decode4.gru"),
    "last gru": (put_operator("decoder.decode1.gru/Tanh", "Sigmoid"), "decoder.decode1.gru"),
}


SHORT_BREAKS = ("gru conv", "HardSwish", "pool", "last resize")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        pytest.param(*each, id=fault, marks=[] if fault in SHORT_BREAKS else [pytest.mark.long])
        for fault, each in BREAKS.items()
    ],
)
def test_the_first_module_behind_a_fault_is_named(change, name, tmp_path):
    report = run(edit(export(tmp_path / "broken.onnx", opset=17), change))
    assert_first(report, name)
    assert not report.ok


@pytest.mark.parametrize(
    "options",
    [
        {"fixed": FIXED},
        *(pytest.param(each, marks=pytest.mark.long) for each in ({"precision": "fp16"}, {"variant": "resnet50"})),
    ],
    ids=str,
)
def test_in_other_files_of_ours(options, tmp_path):
    path = edit(export(tmp_path / "broken.onnx", **options), scale_weights("decoder.decode3.conv.0.weight", 1.5))
    assert_first(run(path), "decoder.decode3.conv.0")


def test_frames_that_a_file_was_calibrated_with_are_refused(tmp_path):
    path = export(tmp_path / "a.onnx", precision="int8", fixed=FIXED)
    drawn = load_calibration("builtin", FIXED).pixels[:, None]
    with pytest.raises(ParityError, match="was calibrated with frames of drawn, on which nothing can be said of it"):
        run(path, ratio=None, clip=held_clip("drawn", drawn))


@pytest.mark.long
def test_in_a_file_in_eight_bits(tmp_path):
    """Double a convolution's scale. Its weights are identified by the values that the eight bits stand for."""
    change = scale_weights("decoder.decode2.gru.ih.0.h.weight.scale", 2)
    assert_first(run(edit(export(tmp_path / "broken.onnx", precision="int8"), change)), "decoder.decode2.gru.ih.0")


FOREIGN = (
    (FIRST, "/backbone/features.0/features.0.0/Conv"),
    ("backbone.features.9.block.0.0", "/backbone/features.9/block/block.0/block.0.0/Conv"),
    ("decoder.decode3.conv.0", "/decoder/decode3/conv/conv.0/Conv"),
)


@pytest.mark.parametrize(
    ("module", "node_name", "factor"),
    [
        pytest.param(*names, factor, marks=[] if (names, factor) == (FOREIGN[1], 1.5) else [pytest.mark.long])
        for names in FOREIGN
        for factor in (1.5, np.nan)
    ],
)
def test_in_a_foreign_file_whose_weights_have_no_names(module, node_name, factor, tmp_path):
    """Change one of two convolutions of equal shapes (blocks 9 and 10); bisect still names the right one."""
    path = export(tmp_path / "traced.onnx", traced=True)
    weight = node(onnx.load(path).graph, node_name).input[1]
    assert weight.startswith("onnx::")
    assert_first(run(edit(path, scale_weights(weight, factor))), module)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"traced": True},
        *(
            pytest.param(options, marks=pytest.mark.long)
            for options in (
                {"precision": "fp16"},
                {"fixed": FIXED},
                {"refiner": "fast_guided_filter"},
                {"refiner": "fast_guided_filter", "precision": "fp16"},
                {"refiner": "fast_guided_filter", "traced": True},
                {"precision": "fp16", "io_dtype": "fp32"},
                {"precision": "int8"},
                {"io": "uint8-nhwc-bgr"},
                {"fixed": FIXED, "banded": True, "simplify": True},
                {"opset": 17},
                {"ceil_free": True, "primitive_activations": True},
                {"variant": "resnet50"},
                {"variant": "resnet50", "traced": True},
            )
        ),
    ],
    ids=str,
)
def test_good_files_do_not_drift(options, tmp_path):
    report = run(export(tmp_path / "good.onnx", **options))
    assert report.ok, report.points[report.first]
    # All points of the network, in its order, states behind their convolutions and the outputs last.
    names = [point.name for point in report.points]
    assert names[-2:] == ["fgr", "pha"]
    assert set(STATES) < set(names)
    for k in (4, 3, 2, 1):
        gru = f"decoder.decode{k}.gru"
        assert names[names.index(gru) - 2 : names.index(gru)] == [f"{gru}.ih.0", f"{gru}.hh.0"]
    deep = report.refiner == "deep_guided_filter"
    convs = [
        name
        for name, _, _ in conv_modules(seeded(report.variant, report.refiner).network())
        if "project_seg" not in name
    ]
    assert [name for name in names if "#" not in name and name not in (*STATES, "fgr", "pha")] == convs
    assert ("refiner.box_filter#4" in names) == deep
    assert (report.not_in["PyTorch"] == ()) == deep, "the fast guided filter's means have no module"
    assert report.not_in[str(report.artifact)] == ()


@pytest.mark.parametrize("outputs", ["fgr", "pha"])
def test_an_output_that_a_file_does_not_have_is_listed(outputs, tmp_path):
    report = run(export(tmp_path / "part.onnx", outputs=outputs))
    assert report.ok
    assert report.points[-1].name == outputs
    assert report.not_in[str(tmp_path / "part.onnx")] == ({"fgr": "pha", "pha": "fgr"}[outputs],)


def test_a_file_of_ratio_1_has_no_refiner_and_pytorch_runs_none(tmp_path):
    report = run(export(tmp_path / "one.onnx", fixed=Fixed(width=64, height=50, ratio=1.0)), ratio=None)
    assert (report.ok, report.size, report.ratio) == (True, (50, 64), 1)
    assert not [point for point in report.points if point.name.startswith("refiner")]


def test_against_another_file(tmp_path):
    ours, traced = export(tmp_path / "ours.onnx"), export(tmp_path / "traced.onnx", traced=True)
    assert run(ours, ours).points[-1].max_error == 0
    broken = edit(export(tmp_path / "broken.onnx"), scale_weights("aspp.aspp2.1.weight", 2))
    assert_first(run(broken, traced), "aspp.aspp2.1")


@pytest.mark.long
def test_against_another_file_of_another_kind(tmp_path):
    ours, traced = export(tmp_path / "ours.onnx"), export(tmp_path / "traced.onnx", traced=True)
    half = export(tmp_path / "half.onnx", precision="fp16")
    fixed = export(tmp_path / "fixed.onnx", fixed=FIXED)
    assert [point.name for point in run(ours, traced).points] == [point.name for point in run(ours).points]
    assert run(ours, half).ok
    assert run(half, ours).ok
    assert run(ours, fixed, ratio=None).ok
    broken = edit(export(tmp_path / "broken.onnx"), scale_weights("aspp.aspp2.1.weight", 2))
    assert_first(run(traced, broken), "aspp.aspp2.1")


def split_gate(graph):
    """Split one of a GRU's convolutions in two, for the halves of its channels, under new names."""
    whole = next(each for each in graph.node if "decoder.decode3.gru.ih.0.x.weight" in each.input)
    weight, bias = (next(each for each in graph.initializer if each.name == name) for name in whole.input[1:])
    parts = []
    for k, (rows, column) in enumerate(
        zip(np.split(numpy_helper.to_array(weight), 2), np.split(numpy_helper.to_array(bias), 2), strict=True)
    ):
        names = [f"decoder.decode3.gru.ih.0.part{k}.weight", f"decoder.decode3.gru.ih.0.part{k}.bias"]
        graph.initializer.extend(map(numpy_helper.from_array, (rows, column), names))
        part = onnx.NodeProto()
        part.CopyFrom(whole)
        part.name, part.input[1:], part.output[0] = f"part{k}", names, f"part{k}"
        parts.append(part)
    parts.append(helper.make_node("Concat", ["part0", "part1"], whole.output, axis=1))
    replace_node(graph, whole, parts)


def replace_node(graph, old, new):
    nodes = [each for old_node in graph.node for each in (new if old_node.name == old.name else [old_node])]
    copies = [onnx.NodeProto.FromString(each.SerializeToString()) for each in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def test_parts_of_a_gru_are_listed_not_compared(tmp_path):
    path = edit(export(tmp_path / "parts.onnx"), split_gate)
    report = run(path)
    assert report.ok
    gate = "decoder.decode3.gru.ih.0"
    assert report.not_in == {str(path): (gate,), "PyTorch": (f"{gate}.part0", f"{gate}.part1", f"{gate}.h")}
    names = [point.name for point in report.points]
    assert {"decoder.decode3.gru", "decoder.decode3.gru.hh.0", "refiner.conv.0"} <= {*names}
    assert_first(run(edit(path, scale_weights(f"{gate}.part1.weight", 2))), "decoder.decode3.gru")


def test_states_are_the_references_so_that_drift_is_not_carried_over(tmp_path):
    """Break decode4, which sees the encoder and its own state. With its own states it would drift from frame 2 on."""
    report = run(edit(export(tmp_path / "broken.onnx"), put_operator("decoder.decode4.gru/Tanh", "Sigmoid")))
    errors = {point.name: point.mean_error for point in report.points}
    assert errors["decoder.decode4.gru"] > 0.1
    assert max(errors[f"decoder.decode4.gru.{gate}.0"] for gate in ("ih", "hh")) < 1e-5


def test_another_shape_is_drift(tmp_path):
    """Remove the global mean from LR-ASPP's gate, which still broadcasts, so that the file runs."""
    report = run(edit(export(tmp_path / "broken.onnx"), put_operator("aspp/GlobalAveragePool", "Identity")))
    assert_first(report, "aspp.aspp2.1")
    assert report.points[report.first].shapes == "[1, 128, 4, 5] instead of [1, 128, 1, 1]"


def test_what_is_not_finite_is_drift(tmp_path):
    report = run(edit(export(tmp_path / "nan.onnx"), scale_weights("backbone.features.16.0.bias", np.inf)))
    assert_first(report, "backbone.features.16.0")
    assert not np.isfinite(report.points[report.first].mean_error)


def test_the_threshold_is_the_users_if_given(tmp_path):
    path = edit(export(tmp_path / "broken.onnx"), scale_weights("project_mat.conv.weight", 1.01))
    assert_first(run(path), "project_mat.conv")
    assert run(path, threshold=0.5).ok
    assert_first(run(path, threshold=0.0), FIRST)


def drop_conv(graph):
    """Take project_mat's result from elsewhere, so that its convolution is missing."""
    conv = node(graph, "project_mat/Conv")
    wide = helper.make_node("Split", [conv.input[0]], [conv.output[0], "rest"], axis=1, split=[4, 12])
    replace_node(graph, conv, [wide])


def add_conv(graph):
    conv = node(graph, "project_mat/Conv")
    weight = np.eye(4, dtype=np.float32)[:, :, None, None]
    graph.initializer.append(numpy_helper.from_array(weight, "extra.weight"))
    again = helper.make_node("Conv", ["before", "extra.weight"], [conv.output[0]], name="extra")
    conv.output[0] = "before"
    copy = onnx.NodeProto.FromString(conv.SerializeToString())
    replace_node(graph, conv, [copy, again])


@pytest.mark.parametrize(
    ("change", "message"),
    [(drop_conv, "it has none for project_mat.conv"), (add_conv, "it has one too many, extra")],
)
def test_convolutions_that_are_not_the_networks_are_refused(change, message, tmp_path):
    with pytest.raises(ArtifactError, match=message):
        run(edit(export(tmp_path / "odd.onnx"), change))


def test_other_weights_are_refused(tmp_path):
    network = seeded("mobilenetv3", "deep_guided_filter").network("always")
    for parameter in network.parameters():
        parameter.mul_(1.5)
    export_traced(network, tmp_path / "other.onnx")
    with pytest.raises(ArtifactError, match="holds other weights than the checkpoint"):
        run(tmp_path / "other.onnx")
    path = export(tmp_path / "ours.onnx")
    model = onnx.load(path)
    next(entry for entry in model.metadata_props if entry.key == "weights_sha256").value = "0" * 64
    onnx.save(model, path)
    with pytest.raises(ParityError, match="made from other weights"):
        run(path)


@pytest.mark.parametrize(
    ("ours", "theirs", "ratio", "message"),
    [
        pytest.param(
            *({}, {"variant": "resnet50"}, 0.5, "of variant mobilenetv3 and .* of resnet50"), marks=pytest.mark.long
        ),
        ({}, {"refiner": "fast_guided_filter"}, 0.5, "of refiner deep_guided_filter and .* of fast_guided_filter"),
        ({"fixed": FIXED}, {"fixed": Fixed(width=64, height=64, ratio=0.5)}, None, "132x100, .* and .* of 64x64"),
        ({"fixed": FIXED}, {}, 0.25, "ratio 0.5 baked in"),
        ({}, {"fixed": Fixed(width=64, height=64, ratio=1.0)}, None, "at ratio 1 only one of"),
    ],
)
def test_files_that_do_not_go_together_are_refused(ours, theirs, ratio, message, tmp_path):
    with pytest.raises(ParityError, match=message):
        run(export(tmp_path / "a.onnx", **ours), export(tmp_path / "b.onnx", **theirs), ratio)
