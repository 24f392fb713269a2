"""Test the CoreML evaluator: the released files, images, states, functions, and damaged files."""

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from exporters.artifact import ArtifactError
from exporters.coreml.artifact import inspect
from exporters.coreml.evaluator.evaluator import load_program
from exporters.coreml.package import DIGEST, digest
from exporters.support.archive import pack
from exporters.tests.coreml_cases import CASES
from exporters.tests.coreml_made import written
from exporters.tests.coreml_spoiled import (
    SPECIFICATION,
    WEIGHTS,
    block,
    edited,
    flipped,
    operation,
    read,
    spoiled,
    with_half_pixels,
)
from rvm_model import load_checkpoint

pytestmark = pytest.mark.timeout(1800)

RELEASED = {
    "rvm_mobilenetv3_1280x720_s0.375_int8.mlmodel": (1280, 720, 0.375),
    "rvm_mobilenetv3_1920x1080_s0.25_int8.mlmodel": (1920, 1080, 0.25),
}
SMALLER, LARGER = RELEASED
OUTPUTS = ("fgr", "pha", "r1o", "r2o", "r3o", "r4o")
FRAMES = 2


@pytest.fixture(scope="module")
def made(common_folder) -> Path:
    return written(common_folder, "short")


@pytest.fixture(scope="module", params=[SMALLER, pytest.param(LARGER, marks=pytest.mark.long)])
def released(request, shared):
    """Return a released file, two frames of the real clip at its size, and PyTorch's outputs for its weights."""
    path, (width, height, ratio) = shared / "official/coreml" / request.param, RELEASED[request.param]
    frames = [
        np.array(Image.open(frame).convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
        for frame in sorted((shared / "clip/frames").iterdir())[:FRAMES]
    ]
    network = load_checkpoint(shared / "weights/rvm_mobilenetv3_from_coreml.safetensors").network()
    expected, states = [], [None] * 4
    for frame in frames:
        with torch.inference_mode():
            outputs = network(torch.from_numpy(frame).permute(2, 0, 1)[None] / 255, *states, ratio)
        states = outputs[2:]
        expected.append([output.numpy() for output in outputs])
    return path, frames, expected


def play(path, frames):
    """Yield outputs scaled to [0, 1]: a file's images have levels up to 255."""
    program, states = load_program(path), {}
    for frame in frames:
        outputs = program.run({"src": frame, **states}, rounded=False)
        states = {f"r{k}i": outputs[f"r{k}o"] for k in range(1, 5)}
        yield [outputs[name] / (255 if name in OUTPUTS[:2] else 1) for name in OUTPUTS]


def test_the_released_files_run_and_resize_by_aligned_corners(released):
    path, frames, expected = released
    program = load_program(path)
    assert program.operations["resizeBilinear"] == 7
    drift = np.abs(next(play(path, frames[:1]))[1] - expected[0][1])
    assert 2e-4 < drift.mean() < 5e-3
    assert 0.1 < drift.max() < 0.9


def test_the_released_files_with_their_resize_mended_are_pytorch(released, tmp_path):
    path, frames, expected = released
    program = load_program(path)
    resized = [node.inputs[0] for node in program.graph.nodes if node.kind == "resizeBilinear"]
    shapes = replace(program.graph, outputs=resized).try_shapes({each.name: each.shape for each in program.inputs})
    sizes = {name.removesuffix(" scaled"): shape[2:] for name, shape in shapes.items()}
    mended = edited(path, tmp_path / path.name, lambda model: with_half_pixels(model, sizes))
    for found, wanted in zip(play(mended, frames), expected, strict=True):
        for name, one, other in zip(OUTPUTS, found, wanted, strict=True):
            assert np.abs(one - other).max() <= 5e-5, name


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)


def scaled(layout, picture):
    """Return the picture in the program's order of channels: half of it, plus a bias, times a weight per channel."""
    if layout == "G":
        return ((picture[..., :1].astype(np.float32) * 0.5 + 5) * 4).transpose(2, 0, 1)[None]
    planes = picture[..., :: -1 if layout == "BGR" else 1].astype(np.float32)
    return ((planes * 0.5 + [1, 2, 3]) * [1, 2, 4]).transpose(2, 0, 1)[None]


def as_given(layout, picture):
    return picture[..., 0] if layout == "G" else picture


@pytest.mark.parametrize("layout", ["RGB", "BGR", "G"])
def test_a_network_scales_images_in_its_order_of_channels(layout, made, picture):
    found = load_program(made / f"image_{layout}.mlmodel").run({"x0": as_given(layout, picture)})["out"]
    np.testing.assert_allclose(found, scaled(layout, picture), rtol=1e-6)


@pytest.mark.parametrize("layout", ["RGB", "BGR", "G"])
def test_images_go_in_and_come_out_in_the_order_of_a_picture(layout, made, picture):
    program, given = load_program(made / f"image_{layout}.mlpackage"), as_given(layout, picture)
    floats = program.run({"x0": given}, rounded=False)["out"]
    expected = scaled(layout, picture)[:, :: -1 if layout == "BGR" else 1]
    assert expected.max() > 255
    np.testing.assert_allclose(floats, expected, rtol=1e-6)
    rounded = program.run({"x0": given})["out"]
    assert rounded.dtype == np.uint8
    levels = np.rint(expected.clip(0, 255)).astype(np.uint8)[0]
    np.testing.assert_array_equal(rounded, levels[0] if layout == "G" else levels.transpose(1, 2, 0))


def test_an_image_may_be_given_before_it_is_rounded(made, picture):
    program = load_program(made / "image_BGR.mlpackage")
    planes = picture.transpose(2, 0, 1)[None].astype(np.float32)
    for given in (planes, planes + 0.25):
        found = program.run({"x0": given}, rounded=False)["out"]
        expected = program.run({"x0": picture}, rounded=False)["out"]
        difference = (given - planes) * 0.5 * np.array([4, 2, 1]).reshape(3, 1, 1)
        np.testing.assert_allclose(found, expected + difference, rtol=1e-6)


def test_an_image_of_no_numbers_is_not_rounded(made):
    program = load_program(made / "image_RGB.mlpackage")
    planes = np.full((1, 3, 4, 6), np.nan, np.float32)
    assert np.isnan(program.run({"x0": planes}, rounded=False)["out"]).all()
    with pytest.raises(ArtifactError, match="no numbers"):
        program.run({"x0": planes})


def test_states_are_kept_read_and_written(made):
    program = load_program(made / "stateful.mlpackage")
    assert [(each.name, each.shape, each.dtype) for each in program.states] == [("memory", (1, 1, 4, 6), "float16")]
    x = np.random.default_rng(0).random((1, 1, 4, 6)).astype(np.float16)
    state, expected = program.new_state(), np.zeros_like(x)
    for _ in range(3):
        before = state.copy()
        new = expected.astype(np.float32) * 0.5 + x
        outputs = program.run({"x0": x}, state)
        np.testing.assert_array_equal(before.to_numpy()["memory"], expected)
        np.testing.assert_array_equal(outputs["out"], (2 * new).astype(np.float16))
        expected = new.astype(np.float16)
        np.testing.assert_array_equal(state.to_numpy()["memory"], expected)
    np.testing.assert_array_equal(program.run({"x0": x})["out"], 2 * x)


def test_a_function_is_chosen_by_name_or_size(made):
    path = made / "several.mlpackage"
    assert load_program(path).function == "large"
    assert load_program(path).functions == {"large": (12, 8), "small": (6, 4)}
    assert load_program(path, function="small").inputs[0].shape == (1, 3, 4, 6)
    assert load_program(path, size=(6, 4)).function == "small"
    for options in ({"function": "medium"}, {"size": (4, 6)}, {"function": "large", "size": (6, 4)}):
        with pytest.raises(ArtifactError, match=r"it has large \(12x8\), small \(6x4\)|small \(6x4\), large \(12x8\)"):
            load_program(path, **options)


def test_what_is_optional_may_be_left_out(made, tmp_path):
    def with_default(model):
        model.description.input[0].type.isOptional = True
        model.description.input[0].type.multiArrayType.floatDefaultValue = 0.5

    source = made / "conv.mlmodel"
    x = np.full(CASES["conv"].shapes[0], 0.5, np.float32)
    expected = load_program(source).run({"x0": x})["out"]
    program = load_program(edited(source, tmp_path / "optional.mlmodel", with_default))
    np.testing.assert_array_equal(program.run({})["out"], expected)
    with pytest.raises(ValueError, match="x0 is not given"):
        load_program(source).run({})


def test_inputs_that_do_not_fit_are_said(made, picture):
    program = load_program(made / "image_RGB.mlpackage")
    for given, said in (
        ({"frame": picture}, "no input 'frame'"),
        ({"x0": picture[:3]}, "x0 has the shape"),
        ({"x0": picture.astype(np.int64)}, "cannot be made of int64"),
    ):
        with pytest.raises(ValueError, match=said):
            program.run(given)


def test_what_comes_out_belongs_to_the_caller(made):
    program = load_program(made / "stateful.mlpackage")
    x, state = np.ones((1, 1, 4, 6), np.float32), program.new_state()
    program.run({"x0": x}, state)["out"][:] = 9
    state.to_numpy()["memory"][:] = 9
    np.testing.assert_array_equal(program.run({"x0": x}, state)["out"], 3 * x)


def test_a_package_in_a_zip_file_is_the_package(made, tmp_path):
    path = tmp_path / "model.mlpackage.zip"
    pack(made / "conv.mlpackage", path, "model.mlpackage")
    x = np.ones(CASES["conv"].shapes[0], np.float32)
    expected = load_program(made / "conv.mlpackage").run({"x0": x})["out"]
    np.testing.assert_array_equal(load_program(path).run({"x0": x})["out"], expected)


# ---- damaged files


def refused(path, said):
    with pytest.raises(ArtifactError, match=said) as caught:
        load_program(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: b"", "truncated: its 0 bytes"),
        (lambda content: content[:64], "truncated: it ends after 0 of its"),
        (lambda content: content[:100], "truncated: it ends after 0 of its"),
        (lambda content: content[:200], "truncated or damaged: it ends within"),
        (lambda content: content[:-1], "truncated or damaged: it ends within"),
        (lambda content: content + bytes(64), "bytes follow its last entry"),
        (lambda content: bytes([0xFF]) + content[1:], "is truncated|is damaged"),
        (lambda content: flipped(content, 8 * 4), "it says that it is version"),
        (lambda content: flipped(content, 8 * 64), "no header of an entry"),
        (lambda content: flipped(content, 8 * 68 + 1), "where there is FLOAT16|no header|where there is"),
        (lambda content: flipped(content, 8 * 72), "which are not enough or too many|ends within the entry"),
        (lambda content: flipped(content, 8 * 72 + 62), "truncated or damaged"),
        (lambda content: flipped(content, 8 * 80 + 3), "no header of an entry"),
    ],
)
def test_damaged_weights_are_said(change, said, made, tmp_path):
    refused(spoiled(made / "conv.mlpackage", tmp_path / "spoiled.mlpackage", WEIGHTS, change), said)


def test_every_flipped_bit_is_found_where_the_file_says_its_digest(made, tmp_path):
    source = made / "conv.mlpackage"
    weights = (source / WEIGHTS).read_bytes()

    def signed(model):
        model.description.metadata.userDefined[DIGEST] = digest(model, {"weights/weight.bin": weights})

    whole = edited(source, tmp_path / "whole.mlpackage", signed)
    load_program(whole)
    for bit in (*range(8 * 64, 8 * 200, 97), 8 * len(weights) - 1):
        refused(spoiled(whole, tmp_path / f"{bit}.mlpackage", WEIGHTS, lambda c, bit=bit: flipped(c, bit)), ".")


@pytest.mark.parametrize("flips", [100, pytest.param(400, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["conv.mlpackage", "stateful.mlpackage", "image_BGR.mlmodel"])
def test_flipped_bits_of_a_specification_are_survived(name, flips, made, tmp_path):
    path = tmp_path / name
    if (made / name).is_dir():
        shutil.copytree(made / name, path)
    place = path / SPECIFICATION if path.is_dir() else path
    content = (made / name / SPECIFICATION if path.is_dir() else made / name).read_bytes()
    chosen, refusals = random.Random(0), 0
    for _ in range(flips):
        place.write_bytes(flipped(content, chosen.randrange(8 * len(content))))
        try:
            program = load_program(path)
            program.run({each.name: np.zeros(each.shape, np.float32) for each in program.inputs}, rounded=False)
        except ArtifactError as error:
            assert "\n" not in str(error)
            refusals += 1
    assert refusals > flips / 8


@pytest.mark.parametrize("name", ["conv.mlpackage", "conv.mlmodel"])
def test_every_truncated_specification_is_survived(name, made, tmp_path):
    path = tmp_path / name
    if (made / name).is_dir():
        shutil.copytree(made / name, path)
    place = path / SPECIFICATION if path.is_dir() else path
    content = (made / name / SPECIFICATION if path.is_dir() else made / name).read_bytes()
    for length in range(0, len(content), 7):
        place.write_bytes(content[:length])
        with pytest.raises(ArtifactError):
            load_program(path)


MANIFESTS = {
    "no JSON": "truncated, or no JSON",
    "[]": "not as CoreML packages have it",
    "{}": "not as CoreML packages have it",
    '{"itemInfoEntries": {}, "rootModelIdentifier": "x"}': "not as CoreML packages have it",
    '{"itemInfoEntries": {"x": {"path": 3}}, "rootModelIdentifier": "x"}': "lacks 'Data/3'",
    '{"itemInfoEntries": {"x": 3}, "rootModelIdentifier": "x"}': "not as CoreML packages have it",
    "[" * 100_000: "truncated, or no JSON",
}


@pytest.mark.parametrize("content", MANIFESTS, ids=lambda content: content[:20])
def test_a_manifest_that_is_none_is_said(content, made, tmp_path):
    path = spoiled(made / "conv.mlpackage", tmp_path / "spoiled.mlpackage", "Manifest.json", lambda _: content.encode())
    refused(path, MANIFESTS[content])


@pytest.mark.parametrize("which", ["model.mlmodel", "weights"])
@pytest.mark.parametrize(
    "place",
    ["../../outside", "com.apple.CoreML/../../../outside", "/etc/passwd", "..\\outside", "link/outside", "a\0b"],
)
def test_nothing_outside_a_package_is_opened(place, which, made, tmp_path):
    (tmp_path / "outside").write_bytes((made / "conv.mlpackage" / SPECIFICATION).read_bytes())
    path = tmp_path / "spoiled.mlpackage"

    def pointed(content):
        manifest = json.loads(content)
        next(each for each in manifest["itemInfoEntries"].values() if each["name"] == which)["path"] = place
        return json.dumps(manifest).encode()

    spoiled(made / "conv.mlpackage", path, "Manifest.json", pointed)
    (path / "Data/link").symlink_to(tmp_path)
    refused(path, "it points outside itself")


@pytest.mark.parametrize("place", ["Manifest.json", SPECIFICATION, WEIGHTS])
def test_links_out_of_a_package_are_not_followed(place, made, tmp_path):
    path = tmp_path / "linked.mlpackage"
    shutil.copytree(made / "conv.mlpackage", path)
    (path / place).rename(tmp_path / "elsewhere")
    (path / place).symlink_to(tmp_path / "elsewhere")
    refused(path, "it points outside itself")


@pytest.mark.parametrize("place", [SPECIFICATION, WEIGHTS])
def test_pipes_are_not_waited_for(place, made, tmp_path):
    path = tmp_path / "pipe.mlpackage"
    shutil.copytree(made / "conv.mlpackage", path)
    (path / place).unlink()
    os.mkfifo(path / place)
    refused(path, "no regular file")


def test_missing_parts_are_said(made, tmp_path):
    for place, said in ((SPECIFICATION, "lacks"), (WEIGHTS, "does not list"), ("Manifest.json", "without a Manifest")):
        path = tmp_path / f"{Path(place).name}.mlpackage"
        shutil.copytree(made / "conv.mlpackage", path)
        (path / place).unlink()
        refused(path, said)
    refused(tmp_path / "none.mlmodel", "no such file")


def unknown_operation(model):
    operation(model, "conv").type = "fancy_conv"


def out_of_order(model):
    operations = list(block(model).operations)
    del block(model).operations[:]
    block(model).operations.extend(reversed(operations))


def cycle(model):
    conv = operation(model, "conv")
    conv.inputs["x"].arguments[0].name = conv.outputs[0].name


def twice(model):
    block(model).operations.append(operation(model, "conv"))


def unknown_parameter(model):
    operation(model, "conv").inputs["colour"].CopyFrom(operation(model, "conv").inputs["weight"])


def missing_parameter(model):
    del operation(model, "conv").inputs["weight"]


def computed_parameter(model):
    operation(model, "conv").inputs["strides"].arguments[0].name = "x0"


def other_shape(model):
    operation(model, "conv").outputs[0].type.tensorType.dimensions[1].constant.size = 7


def flexible(model):
    operation(model, "conv").outputs[0].type.tensorType.dimensions[1].unknown.variadic = False


def large_input(model):
    """Make a file of some kilobytes require terabytes."""
    for axis in (2, 3):
        model.description.input[0].type.multiArrayType.shape[axis] = 1_000_000
        model.mlProgram.functions["main"].inputs[0].type.tensorType.dimensions[axis].constant.size = 1_000_000


def endless_input(model):
    for axis in range(4):
        model.description.input[0].type.multiArrayType.shape[axis] = 2**62
        model.mlProgram.functions["main"].inputs[0].type.tensorType.dimensions[axis].constant.size = 2**62


def large_constant(model):
    for each in block(model).operations:
        if each.type == "const" and each.attributes["val"].WhichOneof("value") == "blobFileValue":
            each.attributes["val"].type.tensorType.dimensions[0].constant.size = 2**50


def other_file(model):
    for each in block(model).operations:
        if each.type == "const" and each.attributes["val"].WhichOneof("value") == "blobFileValue":
            each.attributes["val"].blobFileValue.fileName = "@model_path/../../../outside"


def other_place(model):
    for each in block(model).operations:
        if each.type == "const" and each.attributes["val"].WhichOneof("value") == "blobFileValue":
            each.attributes["val"].blobFileValue.offset += 1


def no_function(model):
    model.mlProgram.functions["other"].CopyFrom(model.mlProgram.functions["main"])
    del model.mlProgram.functions["main"]


def other_names(model):
    model.description.input[0].name = "frame"


def other_output(model):
    model.description.output[0].name = "matte"


def other_kind(model):
    model.treeEnsembleRegressor.treeEnsemble.numPredictionDimensions = 1


PROGRAMS = {
    unknown_operation: "an operation 'fancy_conv', which is not known here",
    out_of_order: "a cycle, or out of order|computes 'strides' of conv|only a constant is known",
    cycle: "a cycle, or out of order",
    twice: "twice",
    unknown_parameter: "gives conv a 'colour'",
    missing_parameter: "gives conv no 'weight'",
    computed_parameter: "computes 'strides' of conv",
    other_shape: "and not, as it says, FLOAT32",
    flexible: "flexible size",
    large_input: "it asks for .* GB",
    endless_input: "it asks for .* GB",
    large_constant: "more than 100000000 numbers",
    other_file: "outside', which the package does not list",
    other_place: "where none begins",
    no_function: "a function 'main', which its program does not have",
    other_names: "its inputs are not those that its program has",
    other_output: "its program does not give 'matte'",
    other_kind: "of another kind, treeEnsembleRegressor",
}


@pytest.mark.parametrize("edit", PROGRAMS, ids=lambda edit: edit.__name__)
def test_a_program_that_makes_no_sense_is_said(edit, made, tmp_path):
    refused(edited(made / "conv.mlpackage", tmp_path / "spoiled.mlpackage", edit), PROGRAMS[edit])


def layer(model):
    return model.neuralNetwork.layers[0]


def unknown_layer(model):
    layer(model).gelu.mode = 0


def layer_cycle(model):
    layer(model).input[0] = layer(model).output[0]


def old_axes(model):
    model.neuralNetwork.arrayInputShapeMapping = 0


def few_weights(model):
    del layer(model).convolution.weights.floatValue[-1]


def many_pixels(model):
    layer(model).upsample.mode = 1
    layer(model).upsample.scalingFactor[:] = [2**20, 2**20]


def far_padding(model):
    layer(model).convolution.valid.paddingAmounts.borderAmounts[0].startEdgeSize = 2**20


def no_pixels(model):
    layer(model).upsample.mode = 1
    layer(model).upsample.fractionalScalingFactor[:] = [float("nan"), 1]


def much_work(model):
    """Make a file that fits into memory, but needs days of work."""
    layer(model).convolution.kernelSize[:] = [1, 1]
    for axis in (2, 3):
        model.description.input[0].type.multiArrayType.shape[axis] = 8000
    convolution = layer(model).convolution
    convolution.outputChannels, convolution.kernelChannels = 4, 4
    convolution.weights.floatValue[:] = [1.0] * 16
    convolution.bias.floatValue[:] = [1.0] * 4
    first = model.neuralNetwork.layers[0]
    for k in range(9999):
        more = model.neuralNetwork.layers.add()
        more.CopyFrom(first)
        more.input[:], more.output[:] = [first.output[0] if k == 0 else f"more {k - 1}"], [f"more {k}"]


def much_work_without_products(model):
    """Make a file without convolutions, in which each layer fits easily into memory."""
    much_work(model)
    for each in list(model.neuralNetwork.layers)[1:]:
        each.activation.tanh.SetInParent()


NETWORKS = {
    unknown_layer: "a layer 'gelu'",
    layer_cycle: "a cycle, or out of order",
    old_axes: "an older kind",
    few_weights: "weights for the shape",
    many_pixels: "it asks for .* GB",
    far_padding: "reaches farther than the kernel",
    no_pixels: "cannot be computed",
    much_work: "as no matting network does",
    much_work_without_products: "5e.10 values a frame, as no matting network does",
    other_kind: "of another kind, treeEnsembleRegressor",
}


@pytest.mark.parametrize(
    "edit",
    [pytest.param(edit, marks=[pytest.mark.long] if edit is much_work else []) for edit in NETWORKS],
    ids=lambda edit: edit.__name__,
)
def test_a_network_that_makes_no_sense_is_said(edit, made, tmp_path):
    refused(edited(made / "conv.mlmodel", tmp_path / "spoiled.mlmodel", edit), NETWORKS[edit])


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x05", bytes(1000), b"PK\x03\x04broken"])
def test_what_is_no_model_is_said(content, tmp_path):
    (tmp_path / "model.mlmodel").write_bytes(content)
    refused(tmp_path / "model.mlmodel", "is truncated or damaged|is damaged")


@pytest.mark.long
def test_coremltools_itself_is_never_imported(made):
    code = (
        "import sys; from pathlib import Path; from exporters.coreml.evaluator.evaluator import load_program; "
        f"load_program(Path({str(made / 'conv.mlpackage')!r})); sys.exit('coremltools' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=1500).returncode == 0


def test_an_input_without_a_dtype_is_said_with_the_file(made, tmp_path):
    def untyped(model):
        model.description.input[0].type.multiArrayType.dataType = 0

    path = edited(made / "conv.mlpackage", tmp_path / "untyped.mlpackage", untyped)
    with pytest.raises(
        ArtifactError, match=r"untyped\.mlpackage is a CoreML model that cannot be described: its 'x0' is"
    ):
        inspect(path)


def test_metadata_is_told(made):
    program = load_program(made / "conv.mlpackage")
    assert program.metadata == dict(read(made / "conv.mlpackage").description.metadata.userDefined)
    assert program.kind == "mlProgram"
