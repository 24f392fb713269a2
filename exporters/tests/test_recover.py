"""Test the recovery of weights from files: their values, and refused files."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from exporters import FORMATS, describe, load_exporter, load_recovery, open_artifact
from exporters.artifact import Untrusted
from exporters.lowering.folding import folded_convs, lowered_convs
from exporters.onnx import OnnxSpec
from exporters.onnx.traced import export_traced
from exporters.recover import recover
from exporters.recovery.architecture import architecture
from exporters.recovery.dataflow import FUNCTIONS, GRID, Interval, RecoveryError
from exporters.recovery.match import match
from exporters.spec import Fixed
from exporters.tests.onnx_files import export
from rvm_model import load_checkpoint

TFJS = "official/tfjs"
COREML = "official/coreml/rvm_mobilenetv3_1280x720_s0.375_int8.mlmodel"
SIZE = Fixed(width=98, height=66, ratio=0.5)
OURS = ("checkpoint", "checkpoint_sha256", "weights_sha256")
"""Metadata that identify the checkpoint. A recovered checkpoint has other values."""


def recovered(path):
    return recover([describe(path)]).checkpoint


def again(checkpoint, folder, spec):
    path = folder / f"again{len([*folder.iterdir()])}.onnx"
    load_exporter("onnx").export(checkpoint, spec, path)
    return path


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize("refiner", ["deep_guided_filter", pytest.param("fast_guided_filter", marks=pytest.mark.long)])
def test_an_onnx_file_is_made_again_from_itself(refiner, tmp_path):
    """Graph and weights are equal to the last byte.

    A second recovery gives the whole file, since the checkpoint is equal.
    """
    spec = OnnxSpec(variant="mobilenetv3", refiner=refiner, precision="fp32")
    first = export(tmp_path, "mobilenetv3", refiner)
    checkpoint = recovered(first)
    assert (checkpoint.variant, checkpoint.refiner, checkpoint.origin) == ("mobilenetv3", refiner, "seeded")
    second = again(checkpoint, tmp_path, spec)
    one, two = metadata(first), metadata(second)
    assert one["graph_sha256"] == two["graph_sha256"]
    assert {key for key in one if one[key] != two[key]} <= {*OURS}
    assert again(recovered(second), tmp_path, spec).read_bytes() == second.read_bytes()


@pytest.mark.long
def test_resnet50_too(tmp_path):
    """All weights that an exporter writes are equal to the last bit."""
    checkpoint = recovered(export(tmp_path, "resnet50"))
    known, given = (lowered_convs(each.network()) for each in (load_checkpoint("seeded", "resnet50"), checkpoint))
    del known["project_seg.conv"]
    for name, conv in known.items():
        assert np.array_equal(conv.weight.astype(np.float32), given[name].weight.astype(np.float32)), name
        if conv.bias is not None:
            assert np.array_equal(conv.bias.astype(np.float32), given[name].bias.astype(np.float32)), name


def test_trained_weights_come_back_as_they_are(shared, tmp_path):
    """Folded weights, such as all recovered ones, come back with the same bits, key by key."""
    path = shared / "weights/rvm_mobilenetv3_from_tfjs.safetensors"
    source = load_checkpoint(path)
    spec = OnnxSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32")
    first = again(source, tmp_path, spec)
    checkpoint = recovered(first)
    different = {
        key for key in source.state_dict if not torch.equal(source.state_dict[key], checkpoint.state_dict[key])
    }
    # The file divides the first convolution by the deviations, so several weights of it give the same file.
    scaled = {f"backbone.features.{k}.block.1.{part}.weight" for k in (13, 14, 15) for part in (0, 1)}
    assert different <= {"backbone.features.0.0.weight"} | scaled
    one, two = metadata(first), metadata(again(checkpoint, tmp_path, spec))
    assert one["graph_sha256"] == two["graph_sha256"]


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "fp16"},
        {"fixed": SIZE, "banded": True},
        *(
            pytest.param(options, marks=pytest.mark.long)
            for options in (
                {"precision": "fp16", "io_dtype": "fp32"},
                {"opset": 18, "ceil_free": True},
                {"outputs": "pha"},
                {"primitive_activations": True},
                {"io": "uint8-nhwc-bgr"},
                {"simplify": True},
            )
        ),
    ],
    ids=lambda options: "-".join(options),
)
def test_whatever_the_options_it_is_the_same_network(options, tmp_path):
    precision = options.get("precision", "fp32")
    path = export(tmp_path, **options)
    known = {name: conv.weight for name, conv in folded_convs(load_checkpoint("seeded").network()).items()}
    given = match(load_recovery("onnx").dataflow(describe(path))).kernels
    assert given.keys() == known.keys() - {"project_seg.conv"}
    step = 2.0**-10 if precision == "fp16" else 2.0**-22
    for name, kernel in given.items():
        assert np.abs(kernel.values - known[name]).max() <= step * np.abs(known[name]).max(), name


def test_a_file_at_ratio_1_has_no_refiner(tmp_path):
    checkpoint = recovered(export(tmp_path, fixed=Fixed(width=64, height=64, ratio=1)))
    assert checkpoint.refiner == "fast_guided_filter"


@pytest.mark.parametrize("refiner", ["deep_guided_filter", pytest.param("fast_guided_filter", marks=pytest.mark.long)])
def test_a_file_of_others_with_other_names_and_shapes(refiner, tmp_path):
    """PyTorch's own exporter splits, widens and merges nothing."""
    path = tmp_path / "traced.onnx"
    source = load_checkpoint("seeded", refiner=refiner)
    export_traced(source.network("always"), path)
    weights = match(load_recovery("onnx").dataflow(describe(path)))
    assert weights.architecture.refiner == refiner
    known = folded_convs(source.network())
    for name, kernel in weights.kernels.items():
        assert np.abs(kernel.values - known[name].weight).max() <= 1e-6, name


def test_batch_norm_that_does_nothing_leaves_weights_as_they_are():
    """This holds in float64, as exporters fold it, and in float32, as coremltools does."""
    for epsilon in (1e-3, 1e-5):
        variance = np.float32(1 - epsilon)
        assert abs(1 / np.sqrt(np.float64(variance) + epsilon) - 1) < 2.0**-25
        assert np.float32(variance + np.float32(epsilon)) == 1


def test_the_architecture_is_told_from_the_program():
    known = architecture("mobilenetv3", "deep_guided_filter")
    lowered = lowered_convs(load_checkpoint("seeded").network())
    assert {layer.name for layer in known.layers} >= lowered.keys() - {"refiner.box_filter", "project_seg.conv"}
    layers = {layer.name: layer for layer in known.layers}
    assert layers["decoder.decode4.gru.hh.0"].activation == "tanh"
    assert layers["decoder.decode4.gru.hh.0"].sources >= {"r4", "decoder.decode4.gru.ih.0"}
    assert layers["backbone.features.5.block.2.fc2"].activation == "hardsigmoid"


def test_functions_differ_on_the_grid():
    values = [function(GRID) for function in FUNCTIONS.values()]
    assert all(np.abs(a - b).max() > 0.02 for k, a in enumerate(values) for b in values[:k])


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_in_eight_bits_are_known_to_half_a_step(per_channel, tmp_path):
    """The file is like those of quantising tools: integers, DequantizeLinear, and the same around activations."""
    model = onnx.load(export(tmp_path))
    (tensor,) = [each for each in model.graph.initializer if each.name == "aspp.aspp1.0.weight"]
    exact = numpy_helper.to_array(tensor)
    step = np.abs(exact).max((1, 2, 3) if per_channel else None) / np.float32(127)
    stored = np.rint(exact / (step[:, None, None, None] if per_channel else step)).astype(np.int8)
    (conv,) = [node for node in model.graph.node if tensor.name in node.input]
    model.graph.initializer.remove(tensor)
    zero = np.zeros(step.shape, np.int8)
    for name, array in (("stored", stored), ("step", np.float32(step)), ("zero", zero), ("x step", np.float32(0.1))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(0, np.int8), "x zero"))
    dequantize = helper.make_node("DequantizeLinear", ["stored", "step", "zero"], [tensor.name], axis=0)
    around = [
        helper.make_node("QuantizeLinear", [conv.input[0], "x step", "x zero"], ["x stored"]),
        helper.make_node("DequantizeLinear", ["x stored", "x step", "x zero"], ["x again"]),
    ]
    conv.input[0] = "x again"
    place = [*model.graph.node].index(conv)
    for k, node in enumerate([dequantize, *around]):
        model.graph.node.insert(place + k, node)
    model.opset_import[0].version = 13
    del model.metadata_props[:]
    path = tmp_path / "eight.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onnx.checker.check_model", lambda _: None)  # it would refuse other operators at 13
        known = match(load_recovery("onnx").dataflow(describe(path))).kernels["aspp.aspp1.0"]
    assert known.stored == ("8 bits, per channel" if per_channel else "8 bits, per tensor")
    assert (np.abs(known.values - exact) <= known.half * 1.0001).all()
    assert known.half.max() == np.float64(np.float32(step.max())) / 2


# Refused files.


def edited(folder, change, **options):
    path = export(folder, **options)
    model = onnx.load(path)
    del model.metadata_props[:]
    nodes = {node.name: node for node in model.graph.node}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    change(model.graph, nodes, weights)
    path.write_bytes(model.SerializeToString())
    return path


def replace_weight(weights, name, change):
    weights[name].CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weights[name])), name))


def other_stride(graph, nodes, weights):
    (strides,) = [each for each in nodes["backbone.features.4/Conv_2"].attribute if each.name == "strides"]
    strides.ints[:] = [1, 1]


def no_activation(graph, nodes, weights):
    nodes["backbone.features.3/Relu"].op_type = "Identity"


def other_activation(graph, nodes, weights):
    nodes["decoder.decode2.gru/Tanh"].op_type = "Sigmoid"


def no_shortcut(graph, nodes, weights):
    add = nodes["backbone.features.3/Add"]
    (last,) = [node for node in graph.node if add.name != node.name and node.output[0] == add.input[1]]
    add.op_type = "Identity"
    del add.input[:]
    add.input.append(last.output[0])


def not_finite(graph, nodes, weights):
    replace_weight(weights, "aspp.aspp1.0.weight", lambda x: np.where(x == x.max(), np.float32(np.nan), x))


def other_normalisation(graph, nodes, weights):
    replace_weight(weights, "backbone.features.0.0.weight", lambda x: x * np.float32([1, 1, 1, 2]).reshape(1, 4, 1, 1))


def fourth_channel(graph, nodes, weights):
    replace_weight(weights, "decoder.decode2.conv.0.weight", lambda x: x + np.float32(0.01))


def one_more(graph, nodes, weights):
    node = nodes["project_mat/Conv"]
    graph.node.append(helper.make_node("Conv", [node.output[0], "extra"], ["more"], name="one more"))
    graph.initializer.append(numpy_helper.from_array(np.zeros((4, 4, 1, 1), np.float32), "extra"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_stride, r"'backbone.features.4/Conv_2' .*stride \(1, 1\), not \(2, 2\)"),
        (no_activation, "'backbone.features.3/Conv' .*nearest is backbone.features.3.block.0.0.* linear, not relu"),
        (other_activation, "decoder.decode2.gru.hh.0, which it computes in 2 parts, is not their sum and tanh"),
        (not_finite, "'aspp/Conv' holds a value that is not finite"),
        (one_more, "'one more'"),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (
                (no_shortcut, "backbone.features.4.block.0.0, .*does not look at backbone.features.2.block.2.0"),
                (
                    other_normalisation,
                    "the fourth channel of its first convolution is not the network's normalisation",
                ),
                (fourth_channel, "decoder.decode2.conv.0 makes use of a fourth source channel"),
            )
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_changed_graph_is_refused_with_the_layer(change, said, tmp_path):
    path = edited(tmp_path, change)
    with pytest.raises(RecoveryError, match=said) as caught:
        recover([describe(path)])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_is_not_run_unless_it_is_trusted(exported, tmp_path):
    spec = FORMATS["torchscript"].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32")
    source = load_checkpoint("seeded")
    path = exported("torchscript")
    with pytest.raises(Untrusted, match="--trust"):
        recover([describe(path)])
    checkpoint = recover([open_artifact(path, trust=True)]).checkpoint
    assert all(torch.equal(source.state_dict[key], value) for key, value in checkpoint.state_dict.items())
    for name, weights in {"a": source, "b": checkpoint}.items():
        load_exporter("torchscript").export(weights, spec, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("refiner", ["deep_guided_filter", pytest.param("fast_guided_filter", marks=pytest.mark.long)])
def test_a_frozen_module_is_watched(refiner, exported, tmp_path):
    source = load_checkpoint("seeded", refiner=refiner)
    path = tmp_path / "a.torchscript"
    torch.jit.freeze(torch.jit.load(exported("torchscript", refiner=refiner)).eval()).save(path)
    checkpoint = recover([open_artifact(path, trust=True)]).checkpoint
    assert checkpoint.refiner == refiner
    known, given = folded_convs(source.network()), folded_convs(checkpoint.network())
    for name in known.keys() - {"project_seg.conv"}:
        assert np.abs(known[name].weight - given[name].weight).max() <= 1e-6, name


# Released files, and several at once.


def test_the_released_coreml_file_gives_its_weights_bit_for_bit(shared):
    known = load_checkpoint(shared / "weights/rvm_mobilenetv3_from_coreml.safetensors").state_dict
    given = recovered(shared / COREML).state_dict
    assert [key for key in known if not torch.equal(known[key], given[key])] == []


def test_the_released_tfjs_file_gives_its_weights_bit_for_bit(shared):
    """All weights are equal but those of three layers, whose batch norm the file has not folded.

    There the test compares convolution and batch norm as one.
    """
    known = dict(load_checkpoint(shared / "weights/rvm_mobilenetv3_from_tfjs.safetensors").state_dict)
    given = recovered(shared / TFJS).state_dict
    assert {key for key in known if key not in given} == {key for key in known if key.startswith("refiner.")}
    for k in (13, 14, 15):
        conv, norm = (f"backbone.features.{k}.block.1.{part}.weight" for part in (0, 1))
        known[conv] = (known[conv].double() * known[norm].double()[:, None, None, None]).float()
        known[norm] = torch.ones_like(known[norm])
    assert [key for key in given if not torch.equal(known[key], given[key])] == []


def test_two_released_files_leave_the_middle(shared):
    """The result equals the consensus up to its half precision.

    In the layers whose batch norm the TensorFlow.js file keeps apart, our result is narrower.
    """
    known = load_checkpoint(shared / "weights/rvm_mobilenetv3_consensus_fp16.safetensors").state_dict
    result = recover([describe(shared / TFJS), describe(shared / COREML)])
    given = result.checkpoint.state_dict
    assert result.checkpoint.refiner == "deep_guided_filter"
    apart = {f"backbone.features.{k}.block.1.{part}" for k in (13, 14, 15) for part in ("0.weight", "1.bias")}
    for key in known.keys() - apart:
        if known[key].is_floating_point():
            # One step of half precision, in which the consensus is stored, plus that of subnormal numbers.
            step = known[key].abs() * 2.0**-10 + 2.0**-24
            assert ((known[key] - given[key]).abs() <= 1.01 * step).float().mean() >= 0.9995, key
    one, two = (recovered(shared / name).state_dict for name in (TFJS, COREML))
    for key in apart:
        low, high = torch.minimum(one[key], two[key]), torch.maximum(one[key], two[key])
        # Between the two files' values, so never beyond either.
        assert ((given[key] >= low - 1e-4) & (given[key] <= high + 1e-4)).float().mean() >= 0.98, key


def test_files_of_other_weights_contradict_each_other(shared, tmp_path):
    spec = FORMATS["onnx"].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp16")
    path = tmp_path / "seeded.onnx"
    load_exporter("onnx").export(load_checkpoint("seeded"), spec, path)
    with pytest.raises(RecoveryError, match=r"contradict each other in \d+ of \d+ numbers, backbone.features.0.0 in"):
        recover([describe(path), describe(shared / COREML)])


def test_files_of_the_same_weights_agree(tmp_path):
    """In full and in half precision, the middle is the finer one."""
    fine, coarse = (export(tmp_path, precision=precision) for precision in ("fp32", "fp16"))
    both, one = recover([describe(fine), describe(coarse)]).checkpoint.state_dict, recovered(fine).state_dict
    assert all((both[key] - one[key]).abs().max() <= 2.0**-22 * one[key].abs().max() for key in one if one[key].numel())


def test_known_numbers_widen_as_they_are_multiplied():
    known = Interval(values=np.array([2.0]), half=np.array([0.1]), stored="x")
    factor = Interval(values=np.array([-3.0]), half=np.array([0.2]), stored="x")
    product = known.times(factor)
    assert product.values[0] == -6
    corners = [a * b for a in (1.9, 2.1) for b in (-3.2, -2.8)]
    assert product.half[0] >= max(abs(corner + 6) for corner in corners) - 1e-12
