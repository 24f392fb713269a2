"""Test profiles, and the changes that onnxsim may make to a file."""

from importlib.util import find_spec

import onnx
import pytest

from exporters import load_exporter
from exporters.artifact import ArtifactError
from exporters.onnx import OnnxSpec
from exporters.onnx.graph.simplify import refuse_other_axes, simplified
from exporters.onnx.profiles import PROFILES
from exporters.spec import Fixed, SpecError
from exporters.tests.onnx_files import assert_close, export, operators, play
from rvm_model import load_checkpoint

SIZE = Fixed(width=97, height=61, ratio=0.5)

onnxsim = pytest.mark.skipif(
    find_spec("onnxsim") is None, reason="onnxsim is not installed; the extra onnx-simplify has it"
)

# The operators that TensorRT 8.4's parser supports (its list of operators, opset 13), of those that we write. TensorRT
# itself runs on no machine here: its package loads its libraries from its own place, and needs a GPU even to parse.
TENSORRT = {
    *("Add", "AveragePool", "Clip", "Concat", "Conv", "Div", "GlobalAveragePool", "HardSigmoid", "MatMul", "MaxPool"),
    *("Mul", "Pad", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Split", "Sub", "Tanh"),
}


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_makes_a_file_that_computes_the_same(name, tmp_path):
    (tmp_path / "plain").mkdir()
    options = PROFILES[name].options(name, "fp32", {}, SIZE)
    assert all(choice.why for choice in PROFILES[name].choices)
    path = export(tmp_path, fixed=SIZE, **options)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert_close(play(export(tmp_path / "plain", fixed=SIZE)), play(path), 1e-5)


@pytest.mark.parametrize("refiner", ["deep_guided_filter", "fast_guided_filter"])
@pytest.mark.parametrize("variant", ["mobilenetv3", pytest.param("resnet50", marks=pytest.mark.long)])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrts_parser_has_all_operations(variant, refiner, precision, tmp_path):
    options = PROFILES["tensorrt"].options("tensorrt", precision, {}, SIZE)
    path = export(tmp_path, variant, refiner, precision, fixed=SIZE, **options)
    model = onnx.load(path)
    assert operators(path) <= TENSORRT
    assert [entry.version for entry in model.opset_import] == [13]
    constants = {weight.name: weight for weight in model.graph.initializer}
    integers = {name for name, weight in constants.items() if weight.data_type == onnx.TensorProto.INT64}
    for node in model.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Conv":
            assert node.input[1] in constants
        if node.op_type == "Resize":
            assert attributes["mode"].s == b"linear"
            assert attributes["coordinate_transformation_mode"].s == b"half_pixel"
        if integers & {*node.input}:  # these are shapes, never data
            assert node.op_type in ("Pad", "Reshape", "Resize", "Slice", "Split")
            assert node.input[0] not in integers


def test_npu_files_hold_nothing_but_plain_operations(tmp_path):
    path = export(tmp_path, fixed=SIZE, **PROFILES["npu"].options("npu", "fp32", {}, SIZE))
    assert operators(path) <= TENSORRT - {"HardSigmoid"}
    pools = [node for node in onnx.load(path).graph.node if node.op_type == "AveragePool"]
    assert not any(attribute.name == "ceil_mode" for pool in pools for attribute in pool.attribute)


def test_a_profile_that_needs_a_size_says_so():
    with pytest.raises(SpecError, match="give --resolution"):
        PROFILES["tensorrt"].options("tensorrt", "fp32", {}, None)
    assert PROFILES["ort"].options("ort", "fp32", {}, None) == {"banded": True}
    assert PROFILES["ort"].options("ort", "fp32", {}, Fixed(width=97, height=61, ratio=1.0)) == {}


def test_an_option_that_a_profile_sets_otherwise_is_refused():
    with pytest.raises(SpecError, match="profile tensorrt sets --opset to 13; leave --opset or the profile out"):
        PROFILES["tensorrt"].options("tensorrt", "fp32", {"opset": 12}, SIZE)
    assert PROFILES["tensorrt"].options("tensorrt", "fp32", {"opset": 13}, SIZE)["opset"] == 13
    for given in ({"io": "uint8-nhwc"}, {"banded": True}):
        with pytest.raises(SpecError, match="profile npu sets"):
            PROFILES["npu"].options("npu", "fp32", given, SIZE)


@onnxsim
@pytest.mark.parametrize(
    "options",
    [
        {"fixed": SIZE},
        {"ceil_free": True},
        *(pytest.param(each, marks=pytest.mark.long) for each in ({}, {"precision": "fp16"}, {"opset": 17})),
    ],
    ids=str,
)
def test_simplified_files_keep_their_axes_and_results(options, tmp_path):
    for name in ("plain", "again"):
        (tmp_path / name).mkdir()
    plain, simple = export(tmp_path / "plain", **options), export(tmp_path, simplify=True, **options)
    before, after = onnx.load(plain).graph, onnx.load(simple).graph
    assert [*before.input, *before.output] == [*after.input, *after.output]
    assert len(after.node) <= len(before.node)
    for expected, given in zip(play(plain), play(simple), strict=True):
        assert (expected == given).all()
    assert "onnxsim_version" in {entry.key for entry in onnx.load(simple).metadata_props}
    if "ceil_free" in options:
        pools = [
            {attribute.name for attribute in node.attribute} for node in after.node if node.op_type == "AveragePool"
        ]
        assert [{*pool} & {"ceil_mode", "pads"} for pool in pools] == [set()] * 3
    assert export(tmp_path / "again", simplify=True, **options).read_bytes() == simple.read_bytes()


@onnxsim
def test_a_simplifier_that_changes_an_axis_is_refused(tmp_path, monkeypatch):
    model = onnx.load(export(tmp_path))

    def fix_a_state(model, **_):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        changed.graph.input[4].type.tensor_type.shape.dim[1].dim_value = 64
        return changed, True

    monkeypatch.setattr("onnxsim.simplify", fix_a_state)  # a stand-in for onnxslim 0.1.98, which does this
    with pytest.raises(ArtifactError, match="changed the axes of r4i; leave --simplify out"):
        simplified(model)
    spec = OnnxSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", simplify=True)
    with pytest.raises(ArtifactError):
        load_exporter("onnx").export(load_checkpoint("seeded"), spec, tmp_path / "never.onnx")
    assert not (tmp_path / "never.onnx").exists()


def test_a_lost_output_is_refused(tmp_path):
    model = onnx.load(export(tmp_path))
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[-1]
    with pytest.raises(ArtifactError, match="inputs or outputs"):
        refuse_other_axes(model, changed)
