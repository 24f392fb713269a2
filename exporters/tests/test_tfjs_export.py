"""Test exported TensorFlow.js models: the contract of model.json, stored weights, and the converter's pitfalls."""

import base64
import json
import random
import sys
import zipfile
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters import load_exporter
from exporters.artifact import INPUTS, OUTPUTS, ArtifactError
from exporters.format import MissingPackage
from exporters.support.archive import unpacked
from exporters.tfjs import MODEL, TfjsSpec, convert, recognise
from exporters.tfjs import export as tfjs_export
from exporters.tfjs.graph import GraphModel, Stored, tidy
from exporters.tfjs.quantise import HALF_SHARE, STORES, restored
from exporters.tfjs.rewrite import clipped, dilated, direct, merged, sizes_on_cpu, unfused
from rvm_model import load_checkpoint
from rvm_model.state import STATE_CHANNELS

ABSENT = {
    *("Switch", "Merge", "If", "StatelessIf", "While", "StatelessWhile", "Enter", "Exit", "LoopCond", "NextIteration"),
    *("PartitionedCall", "StatefulPartitionedCall", "NoOp"),
    *("_FusedHardSwish", "SpaceToBatchND", "BatchToSpaceND"),  # some backends lack these
}
FUSED = {"_FusedConv2D", "FusedDepthwiseConv2dNative"}


@dataclass(frozen=True, kw_only=True)
class File:
    spec: TfjsSpec
    path: Path
    model: dict[str, Any]
    shards: dict[str, int]

    @property
    def nodes(self) -> dict[str, Any]:
        return {node["name"]: node for node in self.model["modelTopology"]["node"]}

    @property
    def weights(self) -> list[Any]:
        (group,) = self.model["weightsManifest"]
        return group["weights"]

    @property
    def kernels(self) -> list[Any]:
        return [weight for weight in self.weights if len(weight["shape"]) == 4]


@pytest.fixture(scope="module")
def files(exported, tmp_path_factory):
    """Return a function that makes a file when it is first used, or takes that which all tests share.

    The file of the fast guided filter is from a network whose biases are all zero.
    """
    specs = {
        "fp32": TfjsSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32"),
        "int8": TfjsSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="int8"),
        "zero biases": TfjsSpec(variant="mobilenetv3", refiner="fast_guided_filter", precision="fp32"),
        "resnet50": TfjsSpec(variant="resnet50", refiner="deep_guided_filter", precision="fp16"),
    }
    made: dict[str, File] = {}

    def file(name: str) -> File:
        if name == "fp32":
            return _read(specs[name], exported("tfjs"))
        if name not in made:
            path = tmp_path_factory.mktemp("tfjs") / "model.zip"
            with pytest.MonkeyPatch.context() as patch:
                if name == "zero biases":
                    patch.setattr(tfjs_export, "separate_convs", _without_biases)
                made[name] = _export(specs[name], "seeded", path)
        return made[name]

    return file


separate_convs = tfjs_export.separate_convs


def _without_biases(network):
    convs = separate_convs(network)
    zero = {name: None if conv.bias is None else np.zeros_like(conv.bias) for name, conv in convs.items()}
    return {name: replace(conv, bias=zero[name]) for name, conv in convs.items()}


def _export(spec: TfjsSpec, checkpoint: str, path: Path) -> File:
    load_exporter("tfjs").export(load_checkpoint(checkpoint, spec.variant, spec.refiner), spec, path)
    return _read(spec, path)


def _read(spec: TfjsSpec, path: Path) -> File:
    with unpacked(path, MODEL) as folder:
        model = json.loads((folder / MODEL).read_text())
        shards = {each.name: each.stat().st_size for each in folder.glob("*.bin")}
    return File(spec=spec, path=path, model=model, shards=shards)


@pytest.fixture(
    params=["fp32", *(pytest.param(name, marks=pytest.mark.long) for name in ("int8", "zero biases", "resnet50"))]
)
def file(request, files) -> File:
    return files(request.param)


def test_inputs_and_outputs_have_their_names_in_our_order(file):
    """Called with a list, TF.js uses the signature's order, and it names tensors by the signature's keys."""
    signature = file.model["signature"]
    assert [*signature["inputs"]] == [*INPUTS]
    assert [*signature["outputs"]] == [*OUTPUTS]
    for name, tensor in (signature["inputs"] | signature["outputs"]).items():
        assert tensor["name"] == f"{name}:0"
        assert name in file.nodes
        assert tensor["dtype"] == "DT_FLOAT"
    placeholders = {name for name, node in file.nodes.items() if node["op"] == "Placeholder"}
    assert placeholders == {*INPUTS}
    channels = dict(zip(OUTPUTS, (3, 1, *STATE_CHANNELS[file.spec.variant]), strict=True))
    for name, tensor in signature["outputs"].items():
        assert [int(axis["size"]) for axis in tensor["tensorShape"]["dim"]] == [-1, -1, -1, channels[name]]


def test_every_backend_can_run_it_without_control_flow(file):
    assert {node["op"] for node in file.nodes.values()}.isdisjoint(ABSENT)
    assert not any(name.startswith("^") for node in file.nodes.values() for name in node.get("input", []))
    assert not file.model["modelTopology"]["library"]


def test_whatever_is_fused_with_a_convolution_as_its_bias_is_one(file):
    """The converter drops a bias of zeros, and then takes the next added value for the bias."""
    shapes = {weight["name"]: weight["shape"] for weight in file.weights}
    fused = [node for node in file.nodes.values() if node["op"] in FUSED]
    assert len(fused) > 50
    for node in fused:
        assert base64.b64decode(node["attr"]["fused_ops"]["list"]["s"][0]) == b"BiasAdd"
        assert len(shapes[node["input"][2]]) == 1, node["name"]


def test_images_are_not_joined_for_the_refiners_means_nor_gathered_value_by_value(file):
    kinds = Counter(node["op"] for node in file.nodes.values())
    assert kinds["GatherV2"] == 0
    assert kinds["GatherNd"] == 4  # two rows and two columns around each
    means = [
        node for name, node in file.nodes.items() if name.startswith("refiner/depthwise") and node["op"] != "Const"
    ]
    kernels = {node["input"][1] for node in means if "Depthwise" in node["op"]}
    shapes = {weight["name"]: weight["shape"] for weight in file.weights}
    assert {shapes[kernel][2] for kernel in kernels} == {4}


def test_nodes_come_after_what_they_read(file):
    seen = set()
    for name, node in file.nodes.items():
        assert {each.partition(":")[0] for each in node.get("input", [])} <= seen
        seen.add(name)


def test_kernels_are_dilated_not_stuffed_with_zeros(file):
    attributes = [node["attr"].get("dilations") for node in file.nodes.values()]
    two = [each for each in attributes if each == {"list": {"i": ["1", "2", "2", "1"]}}]
    assert len(two) == {"mobilenetv3": 3, "resnet50": 2}[file.spec.variant]
    largest = max(max(kernel["shape"][:2]) for kernel in file.kernels)
    assert largest == {"mobilenetv3": 5, "resnet50": 7}[file.spec.variant]


def test_it_says_what_it_is(file):
    metadata = file.model["userDefinedMetadata"]
    assert metadata["layout"] == "NHWC"
    assert metadata["tensorflowjs_version"] == "4.22.0"
    assert metadata["tensorflow_version"] == file.model["generatedBy"]
    assert (metadata["variant"], metadata["refiner"], metadata["precision"]) == (
        file.spec.variant,
        file.spec.refiner,
        file.spec.precision,
    )
    channels = STATE_CHANNELS[file.spec.variant][0]
    assert metadata["state_shapes"].startswith(f"r1 (batch, ceil(h / 2), ceil(w / 2), {channels});")


def test_a_precision_is_that_of_the_kernels(file):
    stored = {kernel.get("quantization", {"dtype": "float32"})["dtype"] for kernel in file.kernels}
    assert stored == {"int8": {"uint8", "float16"}, "fp16": {"float16"}, "fp32": {"float32"}}[file.spec.precision]
    others = [weight for weight in file.weights if weight not in file.kernels]
    assert not any("quantization" in weight for weight in others)


def test_shards_hold_the_weights_and_nothing_more(file):
    sizes = {"uint8": 1, "float16": 2, "float32": 4, "int32": 4}
    needed = sum(
        np.prod(weight["shape"], dtype=int) * sizes[weight.get("quantization", weight)["dtype"]]
        for weight in file.weights
    )
    (group,) = file.model["weightsManifest"]
    assert {*group["paths"]} == {*file.shards} != set()
    assert sum(file.shards.values()) == needed
    assert max(file.shards.values()) <= 4 * 2**20


def test_the_archive_is_a_plain_one_that_is_recognised(file):
    assert recognise(file.path)
    with zipfile.ZipFile(file.path) as archive:
        entries = archive.infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {str(Path(entry.filename).parent) for entry in entries} == {file.spec.file_name("", seeded=False)}


def test_names_of_files():
    spec = TfjsSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="int8")
    assert spec.file_name(".zip", seeded=False) == "rvm_mobilenetv3_tfjs_int8.zip"
    spec = replace(spec, refiner="fast_guided_filter", precision="fp16")
    assert spec.file_name(".zip", seeded=True) == "rvm_mobilenetv3_fgf_tfjs_fp16_seeded.zip"


@pytest.mark.long
def test_eight_bits_of_trained_weights_are_small(shared, tmp_path):
    spec = TfjsSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="int8")
    file = _export(spec, str(shared / "weights/rvm_mobilenetv3_consensus_fp16.safetensors"), tmp_path / "model.zip")
    text = len(json.dumps(file.model, separators=(",", ":")))
    assert text + sum(file.shards.values()) <= 4.3e6
    assert file.path.stat().st_size <= 3.2e6


def _some_weights() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "large": rng.normal(size=(1, 1, 100, 100)).astype(np.float32),
        "outlier": np.append(rng.normal(size=511), 50).reshape(2, 2, 16, 8).astype(np.float32),
        "positive": rng.uniform(1, 2, size=(3, 3, 8, 8)).astype(np.float32),
        "bias": rng.normal(size=100).astype(np.float32),
        "axis": np.array([1], np.int32),
    }


def test_eight_bits_are_within_half_a_step_and_keep_zero():
    weights = _some_weights()
    stored = STORES["int8"](weights)
    assert [*stored] == [*weights]
    for name in ("large", "positive"):
        quantization = stored[name].quantization
        assert quantization["dtype"] == "uint8"
        assert np.abs(restored(stored[name]) - weights[name]).max() <= quantization["scale"] * 0.5001
        zero = round(-quantization["min"] / quantization["scale"])
        assert zero * quantization["scale"] + quantization["min"] == 0
    for name in ("bias", "axis"):
        assert stored[name].quantization is None
        assert stored[name].values is weights[name]


def test_a_kernel_of_zeros_stays_one():
    (stored,) = STORES["int8"]({"zeros": np.zeros((1, 1, 4, 4), np.float32)}).values()
    assert stored.values.dtype == np.uint8
    assert not restored(stored).any()


def test_what_eight_bits_would_cost_most_stays_in_half_up_to_its_share():
    weights = _some_weights()
    stored = STORES["int8"](weights)
    assert stored["outlier"].quantization == {"dtype": "float16"}
    half = sum(each.values.size for each in stored.values() if each.values.dtype == np.float16)
    assert half <= HALF_SHARE * sum(values.size for values in weights.values())


def test_half_precision_rounds_kernels_only():
    weights = _some_weights()
    stored = STORES["fp16"](weights)
    for name, values in weights.items():
        assert stored[name].values.dtype == (np.float16 if values.ndim == 4 else values.dtype)
        assert np.abs(restored(stored[name]) - values).max() <= np.abs(values).max() * 2**-11


def _converted() -> GraphModel:
    """Return a small graph as the converter writes it: equal constants, a call's prefix, control inputs, unsorted."""
    prefix = "StatefulPartitionedCall/StatefulPartitionedCall/"

    def constant(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
        dim = [{"size": str(length)} for length in shape]
        value = {"tensor": {"dtype": "DT_FLOAT", "tensorShape": {"dim": dim}}}
        return {"name": prefix + name, "op": "Const", "attr": {"value": value, "dtype": {"type": "DT_FLOAT"}}}

    one = [{"list": {"i": ["1", "1", "1", "1"]}}] * 2
    nodes = [
        *({"name": name, "op": "Placeholder", "attr": {"_input_shapes": {}, "dtype": {}}} for name in INPUTS),
        constant("kernel", (5, 5, 1, 1)),
        *(constant(name, ()) for name in ("zero", "zero_1", "one", "one_1", "unused")),
        {
            "name": f"{prefix}conv",
            "op": "Conv2D",
            "device": "/device:CPU:0",
            "input": ["src", f"{prefix}kernel"],
            "attr": dict(zip(("strides", "dilations"), one, strict=True)),
        },
    ]
    for k, name in enumerate(OUTPUTS):
        number = f"_{k % 2}" if k % 2 else ""
        low, inner = f"{prefix}{name}/Minimum", f"{prefix}{name}/clip"
        nodes += [
            {"name": low, "op": "Minimum", "input": [f"{prefix}conv:0", f"{prefix}one{number}"], "attr": {}},
            {"name": inner, "op": "Maximum", "input": [low, f"{prefix}zero{number}"], "attr": {}},
            {"name": f"Identity_{k}", "op": "Identity", "input": [inner, f"^{prefix}NoOp"], "attr": {"T": {}}},
        ]
    stuffed = np.zeros((5, 5, 1, 1), np.float32)
    stuffed[::2, ::2] = np.arange(1, 10).reshape(3, 3, 1, 1)
    zero, first = np.zeros((), np.float32), np.ones((), np.float32)
    scalars = {"zero": zero, "zero_1": zero, "one": first, "one_1": first, "unused": first}
    signature = {
        "inputs": {f"{name}:0": {"name": f"{name}:0"} for name in INPUTS},
        "outputs": {name: {"name": f"Identity_{k}:0"} for k, name in enumerate(OUTPUTS)},
    }
    return GraphModel(
        header={"signature": signature},
        nodes=tuple(nodes),
        weights={prefix + name: values for name, values in {"kernel": stuffed, **scalars}.items()},
    )


def _shuffled(model: GraphModel, seed: int) -> GraphModel:
    def mixed(items):
        items = [*items]
        return dict(random.Random(seed).sample(items, len(items)))

    nodes = [node | {"attr": mixed(node["attr"].items())} for node in deepcopy(model.nodes)]
    signature = {side: mixed(tensors.items()) for side, tensors in model.header["signature"].items()}
    order = {node["name"]: node for node in nodes}
    return GraphModel(
        header={"signature": signature},
        nodes=tuple(mixed(order.items()).values()),
        weights=mixed(model.weights.items()),
    )


@pytest.mark.parametrize("seed", range(3))
def test_whatever_order_a_graph_comes_in_it_is_written_in_one(seed):
    expected, given = tidy(_converted()), tidy(_shuffled(_converted(), seed))
    assert json.dumps([given.header, given.nodes]) == json.dumps([expected.header, expected.nodes])
    assert [*given.weights] == [*expected.weights]


def test_unused_constants_are_gone_and_equal_ones_are_one():
    model = merged(tidy(_converted()))
    assert [*model.weights] == ["kernel", "one", "zero"]
    assert [node["name"] for node in model.nodes if node["op"] == "Const"] == ["kernel", "one", "zero"]
    assert not any({"device", "_input_shapes"} & {*node, *node["attr"]} for node in model.nodes)


def test_a_constant_that_is_read_as_a_number_is_no_images():
    model = tidy(_converted())
    add = {"name": "sum", "op": "AddV2", "input": ["conv", "one_1"], "attr": {}}
    model = merged(replace(model, nodes=(*model.nodes, add)))
    nodes = {node["name"]: node for node in model.nodes}
    assert nodes["sum"]["input"][1] == "one_1"
    assert nodes["fgr/Minimum"]["input"][1] == "one"


def test_only_outputs_are_copies():
    model = tidy(_converted())
    copies = [
        {"name": f"copy{k}", "op": "Identity", "input": [of], "attr": {}} for k, of in ((1, "conv"), (2, "copy1"))
    ]
    reader = {"name": "reader", "op": "Relu", "input": ["copy2"], "attr": {}}
    nodes = {node["name"]: node for node in direct(replace(model, nodes=(*model.nodes, *copies, reader))).nodes}
    assert nodes["reader"]["input"] == ["conv"]
    assert {name for name, node in nodes.items() if node["op"] == "Identity"} == {*OUTPUTS}


def test_the_ratio_that_sizes_come_from_is_used_for_nothing_else():
    model = tidy(_converted())
    size = {"name": "size", "op": "Mul", "input": ["downsample_ratio", "one"], "attr": {}}
    step = {"name": "step", "op": "RealDiv", "input": ["one", "downsample_ratio"], "attr": {}}
    nodes = {node["name"]: node for node in sizes_on_cpu(replace(model, nodes=(*model.nodes, size, step))).nodes}
    assert nodes["size"]["input"] == ["downsample_ratio", "one"]
    assert nodes["step"]["input"] == ["one", "downsample_ratio/copy"]


def test_a_stuffed_kernel_is_dilated_and_its_constant_says_so():
    model = dilated(tidy(_converted()))
    nodes = {node["name"]: node for node in model.nodes}
    assert model.weights["kernel"].ravel().tolist() == [*range(1, 10)]
    dim = nodes["kernel"]["attr"]["value"]["tensor"]["tensorShape"]["dim"]
    assert [axis["size"] for axis in dim] == ["3", "3", "1", "1"]
    assert nodes["conv"]["attr"]["dilations"]["list"]["i"] == ["1", "2", "2", "1"]


@pytest.mark.parametrize("change", ["one more weight", "stride 2"])
def test_other_kernels_are_left_alone(change):
    model = tidy(_converted())
    conv = next(node for node in model.nodes if node["name"] == "conv")
    if change == "stride 2":
        conv["attr"]["strides"] = {"list": {"i": ["1", "2", "2", "1"]}}
    else:
        model.weights["kernel"][1, 2] = 1
    assert dilated(model).weights["kernel"].shape == (5, 5, 1, 1)


def test_minimum_and_maximum_are_a_clip_where_nothing_else_reads_the_minimum():
    model = tidy(_converted())
    nodes = {node["name"]: node for node in clipped(model).nodes}
    assert nodes["fgr/clip"] == {
        "name": "fgr/clip",
        "op": "ClipByValue",
        "input": ["conv:0", "zero", "one"],
        "attr": {},
    }
    assert "fgr/Minimum" not in nodes
    read_twice = replace(model, nodes=(*model.nodes, {"name": "other", "op": "Relu", "input": ["fgr/Minimum"]}))
    nodes = {node["name"]: node for node in clipped(read_twice).nodes}
    assert (nodes["fgr/clip"]["op"], nodes["pha/clip"]["op"]) == ("Maximum", "ClipByValue")


def test_an_image_added_by_a_convolution_is_added_by_itself_and_nothing_is_lost():
    def fused(*operations):
        names = [base64.b64encode(each).decode() for each in operations]
        attributes = {"T": {"type": "DT_FLOAT"}, "fused_ops": {"list": {"s": names}}, "num_args": {"i": "1"}}
        node = {"name": "sum", "op": "_FusedConv2D", "input": ["x", "kernel", "image"], "attr": attributes}
        return replace(tidy(_converted()), nodes=(node,))

    one, two = unfused(fused(b"BiasAdd")).nodes
    assert (one["op"], one["input"], one["attr"]) == ("Conv2D", ["x", "kernel"], {"T": {"type": "DT_FLOAT"}})
    assert (two["name"], two["op"], two["input"]) == ("sum", "AddV2", [one["name"], "image"])
    with pytest.raises(ValueError, match="sum: an image is added to a convolution that does more than that"):
        unfused(fused(b"BiasAdd", b"Relu"))


@pytest.mark.parametrize("package", ["tensorflow", "tensorflowjs"])
def test_a_missing_package_is_said_with_both_commands(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage) as error:
        load_exporter("tfjs")
    commands = "pip install 'rvm-export[tfjs]' && pip install --no-deps tensorflowjs==4.22.0"
    assert str(error.value) == f"tfjs needs {package}; run: {commands}"


def test_another_release_of_the_converter_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(convert, "version", lambda package: "4.21.0")
    message = r"^tfjs needs tensorflowjs 4\.22\.0, not 4\.21\.0; run: pip install --no-deps tensorflowjs==4\.22\.0$"
    with pytest.raises(MissingPackage, match=message):
        convert.convert(tmp_path, tmp_path / "out")


@pytest.mark.long
def test_what_the_converter_says_last_is_said(tmp_path):
    with pytest.raises(ArtifactError, match=r"^tensorflowjs could not convert: .*SavedModel.*$") as error:
        convert.convert(tmp_path, tmp_path / "out")
    assert "\n" not in str(error.value)


def test_stored_weights_are_what_the_manifest_says():
    """The expected values follow the arithmetic of TF.js: a double's product and sum, then float32."""
    stored = Stored(values=np.array([0, 3, 255], np.uint8), quantization={"dtype": "uint8", "scale": 0.1, "min": -0.3})
    assert restored(stored).tolist() == [np.float32(0 * 0.1 - 0.3), np.float32(3 * 0.1 - 0.3), np.float32(25.5 - 0.3)]
