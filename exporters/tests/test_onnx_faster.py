"""Compare each faster form in our ONNX files with the plain form."""

import platform

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, shape_inference
from torch.nn import functional as F

from exporters.lowering.folding import divided_convs, lowered_convs
from exporters.onnx import OnnxSpec
from exporters.onnx.graph.banded import bands
from exporters.onnx.graph.ops import OnnxOps
from exporters.tests.onnx_files import assert_close, export, export_fixed, operators, play
from rvm_model import load_checkpoint


def run(write, *images, opset=12):
    """Run one operation of the vocabulary and return its output. `write(ops, *names)` returns the output's name."""
    spec = OnnxSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", opset=opset)
    ops = OnnxOps(np.float32, spec)
    names = [f"image{k}" for k in range(len(images))]
    ops.finish({"output": write(ops, *names)})
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in names]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [None] * 4)
    graph = helper.make_graph(ops.nodes, "one", inputs, [output], [*ops.initializers.values()])
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, images, strict=True)))[0]


@pytest.mark.parametrize("opset", [12, 18])
def test_the_channel_mean_is_a_product(opset):
    image = np.random.default_rng(0).random((2, 3, 31, 17), np.float32)
    mean = run(lambda ops, x: ops.channel_mean(x), image, opset=opset)
    assert mean.shape == (2, 1, 31, 17)
    np.testing.assert_allclose(mean, image.mean(1, keepdims=True), atol=2e-7)


@pytest.mark.parametrize(
    ("height", "to_height"),
    [(270, 1080), (270, 720), (81, 217), (1, 7), (2, 9), (64, 100), (179, 179), (90, 2160), (13, 479), (479, 480)],
)
def test_bands_are_the_bilinear_resize_of_rows(height, to_height):
    image = torch.rand(1, 1, height, 5, generator=torch.Generator().manual_seed(0))
    banded = bands(height, to_height)
    blocks, block_rows, reads = banded.weight.shape
    assert 8 <= block_rows <= 32
    assert (blocks - 1) * block_rows < to_height <= blocks * block_rows
    rows = image.numpy()[0, 0][banded.rows].reshape(blocks, reads, 5)
    tall = np.matmul(banded.weight, rows).reshape(-1, 5)[:to_height]
    expected = F.interpolate(image, (to_height, 5), mode="bilinear")[0, 0].numpy()
    np.testing.assert_allclose(tall, expected, atol=1e-5)


@pytest.mark.parametrize(("height", "to_height"), [(270, 1080), (81, 217), (13, 479)])
def test_bands_of_some_rows_are_those_of_all(height, to_height):
    image = np.random.default_rng(0).random((height, 5), np.float32)

    def tall(rows):
        banded = bands(height, to_height, rows)
        blocks, _, reads = banded.weight.shape
        return np.matmul(banded.weight, image[banded.rows].reshape(blocks, reads, 5)).reshape(-1, 5)[: len(rows)]

    parts = [tall(range(start, min(start + 64, to_height))) for start in range(0, to_height, 64)]
    np.testing.assert_allclose(np.concatenate(parts), tall(range(to_height)), atol=1e-6)


@pytest.mark.parametrize(
    ("width", "height", "batch", "strips"),
    [pytest.param(96, 96, 1, [32, 32, 32], marks=pytest.mark.long), (97, 79, 2, [64, 15])],
)
def test_a_large_frame_is_finished_in_strips(width, height, batch, strips, tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    whole = export_fixed(tmp_path / "whole", width, height, 0.5, batch, banded=True)
    monkeypatch.setattr("exporters.onnx.graph.fixed.STRIP_PIXELS", -(-width * height // len(strips)))
    cut = export_fixed(tmp_path, width, height, 0.5, batch, banded=True)
    onnx.checker.check_model(onnx.load(cut), full_check=True)
    (stacked,) = [node for node in onnx.load(cut).graph.node if list(node.output) == ["fgr"]]
    values = shape_inference.infer_shapes(onnx.load(cut)).graph.value_info
    heights = {
        value.name: value.type.tensor_type.shape.dim[2].dim_value for value in values if value.name in stacked.input
    }
    assert [heights[name] for name in stacked.input] == strips
    assert_close(play(whole, height, width, batch=batch), play(cut, height, width, batch=batch), 1e-6)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("fp16", marks=pytest.mark.long)])
@pytest.mark.parametrize(("width", "height", "batch"), [pytest.param(96, 64, 1, marks=pytest.mark.long), (97, 61, 2)])
def test_a_banded_file_computes_the_same(width, height, batch, precision, tmp_path):
    (tmp_path / "plain").mkdir()
    plain = export_fixed(tmp_path / "plain", width, height, 0.5, batch, precision=precision)
    banded = export_fixed(tmp_path, width, height, 0.5, batch, precision=precision, banded=True)
    onnx.checker.check_model(onnx.load(banded), full_check=True)
    assert operators(banded) - operators(plain) == {"Gather"}
    limit = {"fp32": 1e-5, "fp16": 5e-3}[precision]
    assert_close(play(plain, height, width, batch=batch), play(banded, height, width, batch=batch), limit)


@pytest.mark.parametrize(
    ("width", "height", "batch", "options"),
    [
        (96, 64, 1, {}),
        (97, 61, 2, {"opset": 13}),  # 61 is prime: blocks of one row
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (
                (64, 720, 1, {"opset": 21}),
                (97, 95, 1, {"precision": "fp16", "io": "uint8-nhwc"}),
                (331, 217, 1, {"refiner": "fast_guided_filter"}),
            )
        ),
    ],
    ids=str,
)
def test_a_banded_file_of_any_size_computes_the_same(width, height, batch, options, tmp_path):
    (tmp_path / "plain").mkdir()
    plain = export(tmp_path / "plain", **options)
    banded = export(tmp_path, banded=True, **options)
    onnx.checker.check_model(onnx.load(banded), full_check=True)
    assert "MatMul" in operators(banded)
    assert sum(node.op_type == "Range" for node in onnx.load(banded).graph.node) == 2  # computed once, used four times
    limit = 2e-5 if "precision" not in options else 1 / 255 + 1e-6
    expected, given = (play(path, height, width, batch=batch) for path in (plain, banded))
    assert_close(expected, given, limit)


def test_what_grows_stays_in_blocks_of_channels(tmp_path):
    """onnxruntime must run its own kernel for blocks, if the processor has blocks."""
    path = export(tmp_path)
    pools = [node for node in onnx.load(path).graph.node if node.op_type == "MaxPool"]
    assert [node.name.partition("/")[0] for node in pools] == [f"decoder.decode{k}" for k in (3, 2, 0)]
    assert all(helper.get_node_attr_value(node, "kernel_shape") == [1, 1] for node in pools)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    blocked = [node for node in nodes if node.domain == "com.microsoft.nchwc"]
    if platform.machine() != "x86_64":
        pytest.skip("onnxruntime has no blocks of channels on this processor")
    assert [node.op_type for node in blocked].count("Upsample") == 3


def test_the_refiners_first_convolution_is_a_sum():
    network = load_checkpoint("seeded").network()
    convs = divided_convs(network)
    parts = [convs[f"refiner.conv.0.{part}"] for part in ("statistics", "hid")]
    joined = np.concatenate([part.weight for part in parts], axis=1)
    np.testing.assert_array_equal(joined, lowered_convs(network)["refiner.conv.0"].weight)
    assert convs.keys() - lowered_convs(network).keys() == {part.name for part in parts}
    other = load_checkpoint("seeded", refiner="fast_guided_filter").network()
    assert divided_convs(other).keys() == lowered_convs(other).keys()


def test_convolutions_of_joined_images_are_sums():
    """The joined parts must equal the network's own weights."""
    network = load_checkpoint("seeded").network()
    convs = lowered_convs(network)
    for name in ("decoder.decode1.gru.ih.0", "decoder.decode4.gru.hh.0"):
        weight = network.get_submodule(name).weight.detach().numpy()
        parts = [convs[f"{name}.{part}"] for part in ("x", "h")]
        np.testing.assert_array_equal(np.concatenate([part.weight for part in parts], axis=1), weight)
        assert [part.bias is None for part in parts] == [False, True]
