"""Test ONNX files whose decoder computes in eight bits: their content, their calibration, and refused options."""

import os
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from exporters import load_runtime
from exporters.format import MissingPackage
from exporters.lowering.folding import divided_convs
from exporters.onnx import OnnxSpec
from exporters.onnx.graph import quantise
from exporters.onnx.graph.quantise import IN_EIGHT_BITS
from exporters.spec import Fixed, SpecError
from exporters.support.calibration import FRAMES, CalibrationError, calibrated_with, load_calibration
from exporters.tests.onnx_files import assert_close, export, play
from rvm_model import load_checkpoint
from rvm_model.state import REFINERS
from rvm_model.video.colour import VideoError
from rvm_model.video.synthetic.clip import draw_frames

SIZE = Fixed(width=320, height=180, ratio=0.5)
INT8 = {"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "int8"}


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def unread(graph):
    return {name for node in graph.node for name in node.output} - {name for node in graph.node for name in node.input}


def frames_folder(folder, frames):
    folder.mkdir()
    for k, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return one network for one size, in float32 and in eight bits. Tests must not change it."""
    folder = tmp_path_factory.mktemp("int8")
    return {precision: export(folder, precision=precision, fixed=SIZE) for precision in ("fp32", "int8")}


@pytest.mark.parametrize(
    ("variant", "refiner", "options"),
    [
        ("mobilenetv3", REFINERS[0], {"fixed": SIZE, "banded": True}),
        ("mobilenetv3", REFINERS[0], {"fixed": Fixed(width=64, height=48, ratio=1, batch=2)}),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (
                *(("mobilenetv3", refiner, {}) for refiner in REFINERS),
                ("resnet50", REFINERS[0], {"fixed": SIZE, "banded": True}),
                ("mobilenetv3", REFINERS[0], {"opset": 21, "ceil_free": True, "banded": True}),
                ("mobilenetv3", REFINERS[0], {"io": "uint8-nhwc-bgr", "outputs": "pha"}),
            )
        ),
    ],
    ids=str,
)
def test_the_contract_is_that_of_the_fp32_file(variant, refiner, options, tmp_path):
    plain = onnx.load(export(tmp_path, variant, refiner, **options)).graph
    path = export(tmp_path, variant, refiner, "int8", **options)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [*model.graph.input] == [*plain.input]
    assert [*model.graph.output] == [*plain.output]
    assert [entry.version for entry in model.opset_import] == [options.get("opset", 13)]
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)
    assert {tensor.name for tensor in model.graph.initializer} <= {
        name for node in model.graph.node for name in node.input
    }
    assert unread(model.graph) == unread(plain)
    artifact = load_runtime("onnx").inspect(path)
    assert (artifact.variant, artifact.refiner, artifact.precision) == (variant, refiner, "int8")


def test_convolutions_of_the_decoder_are_in_eight_bits_and_no_others(files):
    graph = onnx.load(files["int8"]).graph
    makers = {value: node for node in graph.node for value in node.output}
    readers = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for conv in (node for node in graph.node if node.op_type == "Conv"):
        sources = [makers[name].op_type for name in conv.input if name in makers]
        if not conv.input[1].startswith(IN_EIGHT_BITS):
            assert "DequantizeLinear" not in [makers[name].op_type for name in conv.input[1:] if name in makers]
            continue
        assert sources == ["DequantizeLinear"] * len(conv.input)
        behind = readers[conv.output[0]]
        if behind[0].op_type == "Relu":
            behind = readers[behind[0].output[0]]
        assert [node.op_type for node in behind] == ["QuantizeLinear"]


def test_every_weight_is_within_half_a_step_of_its_channel(files):
    lowered = divided_convs(load_checkpoint("seeded").network())
    tensors = {each.name: numpy_helper.to_array(each) for each in onnx.load(files["int8"]).graph.initializer}
    quantised = [name for name in lowered if name.startswith(IN_EIGHT_BITS)]
    assert len(quantised) == 3 * 5
    for name in quantised:
        stored, scale = tensors[f"{name}.weight.stored"], tensors[f"{name}.weight.scale"]
        assert (stored.dtype, scale.shape) == (np.int8, (len(stored),))
        assert not tensors[f"{name}.weight.zero"].any()
        again = stored * scale[:, None, None, None]
        assert (np.abs(again - lowered[name].weight) <= scale[:, None, None, None] * 0.5001).all()
        assert np.abs(stored).max() == 63  # so that two products fit into 16 bits, on processors that add them so
        if lowered[name].bias is not None:
            bias = tensors[f"{name}.bias.stored"] * tensors[f"{name}.bias.scale"]
            assert np.abs(bias - lowered[name].bias).max() <= tensors[f"{name}.bias.scale"].max()


@pytest.mark.parametrize(("least", "greatest"), [(0, 6.3), (-1, 1), (-2.7, 0.4), (-5, -1), (3, 4), (0, 0)])
def test_steps_reach_both_ends_and_zero_which_images_are_padded_with(least, greatest):
    step = quantise._step(least, greatest)
    levels = (np.arange(256) - int(step.zero)) * np.float64(step.scale)
    assert 0 in levels
    assert all(np.abs(levels - end).min() <= step.scale for end in (least, greatest))
    assert np.frexp(step.scale)[0] * 256 % 1 == 0  # few bits, so that differences between processors do not show


def test_it_computes_nearly_the_same(files):
    expected, given = (play(files[precision], height=180, width=320) for precision in ("fp32", "int8"))
    assert_close(expected, given, 0.1)
    assert max(np.abs(a - b).max() for a, b in zip(expected, given, strict=True)) > 1e-4
    zeros = [numpy_helper.to_array(each) for each in onnx.load(files["int8"]).graph.initializer]
    assert {str(array.dtype) for array in zeros} == {"float32", "int8", "uint8", "int32", "int64"}


def test_it_is_made_again_byte_for_byte_and_says_no_path(files, tmp_path):
    again = export(tmp_path, precision="int8", fixed=SIZE)
    assert again.read_bytes() == files["int8"].read_bytes()
    folder = frames_folder(tmp_path / "my clip", draw_frames(FRAMES, 96, 64, seed=5))
    given = metadata(export(tmp_path, precision="int8", fixed=SIZE, calibration=str(folder)))
    assert (given["precision"], given["calibration"]) == ("int8", "my clip")
    assert len(given["calibration_frames"].split()) == FRAMES
    assert metadata(files["int8"])["calibration"] == "built-in"
    assert str(tmp_path) not in str(given)
    odd = folder.rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    assert load_calibration(str(odd), None).metadata()["calibration"] == "caf\N{REPLACEMENT CHARACTER}"


def test_another_clip_gives_other_steps_and_the_same_weights(files, tmp_path):
    dark = frames_folder(tmp_path / "dark", draw_frames(FRAMES, 128, 96) // 4)
    path = export(tmp_path, precision="int8", fixed=SIZE, calibration=str(dark))
    one, two = (
        {each.name: numpy_helper.to_array(each) for each in onnx.load(each).graph.initializer}
        for each in (files["int8"], path)
    )
    assert one.keys() == two.keys()
    others = {name for name in one if not np.array_equal(one[name], two[name])}
    assert others
    assert all(name.endswith((":scale", ":zero", ".bias.scale", ".bias.stored")) for name in others)


def test_bytes_are_the_same_frames(files, tmp_path):
    """Calibration uses the file's own inputs, so the steps equal those of the file with float inputs."""
    path = export(tmp_path, precision="int8", fixed=SIZE, io="uint8-nhwc-bgr")
    one, two = (
        {each.name: numpy_helper.to_array(each) for each in onnx.load(each).graph.initializer}
        for each in (files["int8"], path)
    )
    assert all(np.array_equal(one[name], two[name]) for name in one if name.endswith((":scale", ":zero")))


def test_frames_of_one_colour_are_in_many_clips(tmp_path):
    moving = draw_frames(FRAMES, 64, 48)
    one, other = (np.concatenate([np.zeros_like(moving[:4]), part]) for part in (moving[:12], moving[4:] // 2))
    calibration = load_calibration(str(frames_folder(tmp_path / "one", one)), None)
    assert len(calibration.metadata()["calibration_frames"].split()) == 12
    assert not calibrated_with(calibration.metadata(), other)
    assert calibrated_with(calibration.metadata(), one)


# Refused options.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 12}, "int8 needs opset 13 or later; leave --opset 12 out"),
        ({"io_dtype": "fp32"}, "a file of precision int8 has fp32 inputs and outputs by itself"),
        ({"precision": "fp16", "calibration": "builtin"}, "precision fp16 takes no calibration"),
        ({"simplify": True}, "leave --simplify out"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(SpecError, match=message) as caught:
        OnnxSpec(**{**INT8, **options})
    assert "\n" not in str(caught.value)


def test_names_tell_what_is_not_usual():
    assert OnnxSpec(**INT8).file_name(".onnx", seeded=False) == "rvm_mobilenetv3_int8.onnx"
    assert OnnxSpec(**INT8, opset=17).file_name(".onnx", seeded=False) == "rvm_mobilenetv3_opset17_int8.onnx"
    fp32 = OnnxSpec(**{**INT8, "precision": "fp32"})
    assert (fp32.opset, fp32.file_name(".onnx", seeded=False)) == (12, "rvm_mobilenetv3_fp32.onnx")


def test_clips_that_cannot_be_calibrated_with(tmp_path):
    with pytest.raises(VideoError, match="no such file"):
        load_calibration(str(tmp_path / "none.mp4"), None)
    few = frames_folder(tmp_path / "few", draw_frames(3, 32, 24))
    with pytest.raises(CalibrationError, match="few has 3 frames, and calibration takes 16; give a longer clip"):
        load_calibration(str(few), None)
    still = frames_folder(tmp_path / "still", np.repeat(draw_frames(1, 32, 24), FRAMES, 0))
    with pytest.raises(CalibrationError, match=r"frames of .*still are all alike; give a clip that moves, or builtin"):
        load_calibration(str(still), None)
    with pytest.raises(SpecError, match="--calibration is empty"):
        OnnxSpec(**INT8, calibration="")
    thin = frames_folder(tmp_path / "thin", draw_frames(FRAMES, 1200, 1))
    with pytest.raises(CalibrationError, match="1200x1 are too narrow"):
        export(tmp_path, precision="int8", calibration=str(thin))
    assert not [*tmp_path.glob("*.onnx")]


def test_without_onnxruntime_nothing_is_calibrated(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackage, match=r"int8 is calibrated in onnxruntime.*pip install 'rvm-export\[onnx\]'$"):
        export(tmp_path, precision="int8", fixed=SIZE)
