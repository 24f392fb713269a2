"""Test CoreML files from the consumer's side: features, descriptions, layers, states, and parity with the network."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from exporters import load_runtime, recognise
from exporters.artifact import INPUTS, OUTPUTS, ArtifactError
from exporters.coreml import convert, function_name
from exporters.coreml.evaluator.evaluator import load_program
from exporters.coreml.protobufs import protobuf_module
from exporters.coreml.runtime_apple import inspect as inspect_in_bytes
from exporters.coreml.runtime_apple import make_step
from exporters.coreml.runtime_apple import to_numpy as apple_to_numpy
from exporters.spec import Fixed
from exporters.tests.coreml_files import OTHER, SIZE, StandIn, export
from exporters.tests.coreml_spoiled import (
    edited,
    factor_of_text,
    factor_of_two_numbers,
    none_written,
    two_sources,
    two_written,
    unsigned,
)
from rvm_model import load_checkpoint
from rvm_model.state import state_shapes
from rvm_model.tests.clips import drawn_inputs

pytestmark = pytest.mark.timeout(1800)

SHARED = Fixed(width=160, height=96, ratio=0.5)
LONG = ("half", "network_file", "keeping", "tensors")
"""Files whose tests are long: each takes as long to export as the package that other modules' tests also use."""
TOLD = {
    "package": ("mobilenetv3", "deep_guided_filter", "fp32", "ML program", "in and out", 5, 6),
    "half": ("mobilenetv3", "deep_guided_filter", "fp16", "ML program", "in and out", 5, 6),
    "network_file": ("mobilenetv3", "deep_guided_filter", "int8", "neural network", "in and out", 5, 6),
    "keeping": ("mobilenetv3", "deep_guided_filter", "int8", "ML program", "kept by the model", 1, 2),
    "tensors": ("resnet50", "fast_guided_filter", "fp16", "ML program", "in and out", 5, 6),
}


def of(kind, *values):
    """Return parameters of a test of a file, which is long if the file is."""
    return pytest.param(kind, *values, marks=[pytest.mark.long] if kind in LONG else [])


def model_of(path):
    file = path if path.is_file() else path / "Data" / "com.apple.CoreML" / "model.mlmodel"
    return protobuf_module("Model").Model.FromString(file.read_bytes())


@pytest.fixture(scope="session")
def package(exported, tmp_path_factory) -> Path:
    """Return an ML program, fp32. Tests must not change it."""
    folder = tmp_path_factory.mktemp("coreml")
    with zipfile.ZipFile(exported("coreml", fixed=SHARED, zip=True)) as archive:
        archive.extractall(folder)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="session")
def half(exported) -> Path:
    """Return an ML program, fp16. Tests must not change it."""
    return exported("coreml", precision="fp16", fixed=SIZE)


@pytest.fixture(scope="session")
def network_file(exported) -> Path:
    """Return a neural network, int8. Tests must not change it."""
    return exported("coreml", precision="int8", fixed=SIZE, target="ios14")


@pytest.fixture(scope="session")
def keeping(exported) -> Path:
    """Return a stateful package of two sizes, int8. Tests must not change it."""
    return exported("coreml", precision="int8", fixed=SIZE, stateful=True, multifunction=True, others=(OTHER,))


@pytest.fixture(scope="session")
def tensors(exported) -> Path:
    """Return ResNet50 with the other refiner, images as tensors, fp32 up to the first convolution.

    Tests must not change it.
    """
    options = {"variant": "resnet50", "refiner": "fast_guided_filter", "precision": "fp16", "fixed": SIZE}
    return exported("coreml", **options, tensor_io=True, preprocess_fp32=True)


def errors(artifact, runtime="evaluator", frames=3):
    """Return the largest error of each output, compared with PyTorch."""
    checkpoint = load_checkpoint("seeded", artifact.variant, artifact.refiner)
    network, states, state = checkpoint.network(), [None] * 4, None
    fixed, player = artifact.fixed, load_runtime("coreml", runtime)
    worst = dict.fromkeys(OUTPUTS, 0.0)
    with player.load(artifact, "cpu", fixed.ratio) as step:
        for frame in drawn_inputs(frames, fixed.width, fixed.height):
            with torch.inference_mode():
                fgr, pha, *states = network(torch.from_numpy(frame), *states, fixed.ratio)
            matte, state = step(frame, state)
            given = (matte.fgr, matte.pha, *player.to_numpy(state))
            for name, expected, each in zip(OUTPUTS, (fgr, pha, *states), given, strict=True):
                assert each.shape == expected.shape
                worst[name] = max(worst[name], float(np.abs(expected.numpy() - each).max()))
    return worst


def test_an_ml_program_takes_and_gives_images(package):
    model = model_of(package)
    assert model.specificationVersion == 7  # iOS 16
    (src, *states), (fgr, pha, *after) = model.description.input, model.description.output
    colour = src.type.imageType.ColorSpace.Value
    for image, name, space in ((src, "src", "RGB"), (fgr, "fgr", "RGB"), (pha, "pha", "GRAYSCALE")):
        assert image.name == name
        assert (image.type.imageType.width, image.type.imageType.height) == (SHARED.width, SHARED.height)
        assert image.type.imageType.colorSpace == colour(space)
    shapes = state_shapes("mobilenetv3", SHARED.height, SHARED.width, SHARED.ratio)
    for names, tensors in ((INPUTS[1:5], states), (OUTPUTS[2:], after)):
        assert [tensor.name for tensor in tensors] == [*names]
        assert [tuple(tensor.type.multiArrayType.shape) for tensor in tensors] == [*shapes]
        assert not any(tensor.type.isOptional for tensor in tensors)


@pytest.mark.parametrize(
    ("kind", "sizes", "ratios"),
    [
        of("package", "160x96", "0.5"),
        of("network_file", "96x64", "0.5"),
        of("keeping", "96x64, 64x128", "0.5, 0.25"),
    ],
)
def test_it_says_what_it_is_and_not_when_it_was_made(kind, sizes, ratios, request):
    model = model_of(request.getfixturevalue(kind))
    words = model.description.metadata
    assert words.license == "GPL-3.0-or-later"
    assert words.author
    assert words.versionString
    assert "2108.11515" in words.shortDescription
    features = [model.description, *model.description.functions]
    for feature in [each for one in features for each in (*one.input, *one.output, *one.state)]:
        assert feature.shortDescription, feature.name
    metadata = dict(words.userDefined)
    assert metadata["weights_sha256"] == load_checkpoint("seeded").weights_sha256
    assert metadata["com.github.apple.coremltools.source"] == f"torch=={metadata['torch_version']}"
    assert not [key for key in metadata if "date" in key]
    content = model.SerializeToString()
    assert not re.search(rb"2\.\d+\.\d+\+|/tmp/|20\d\d-\d\d-\d\d", content)  # a build, a path, a date
    assert (metadata["resolution"], metadata["downsample_ratio"]) == (sizes, ratios)


def test_the_manifest_is_as_apples_library_leaves_it(package):
    assert (package / "Manifest.json").read_text() == (
        "{\n"
        '    "fileFormatVersion": "1.0.0",\n'
        '    "itemInfoEntries": {\n'
        '        "AA794B57-6179-5AD2-8C64-3B8D10B76FAC": {\n'
        '            "author": "com.apple.CoreML",\n'
        '            "description": "CoreML Model Weights",\n'
        '            "name": "weights",\n'
        '            "path": "com.apple.CoreML/weights"\n'
        "        },\n"
        '        "B7B312DC-4C52-5F9E-A2C1-08A40D60BF43": {\n'
        '            "author": "com.apple.CoreML",\n'
        '            "description": "CoreML Model Specification",\n'
        '            "name": "model.mlmodel",\n'
        '            "path": "com.apple.CoreML/model.mlmodel"\n'
        "        }\n"
        "    },\n"
        '    "rootModelIdentifier": "B7B312DC-4C52-5F9E-A2C1-08A40D60BF43"\n'
        "}\n"
    )


@pytest.mark.long
def test_opening_a_package_with_apples_library_changes_nothing(package, tmp_path):
    path = shutil.copytree(package, tmp_path / "copy.mlpackage")
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'sklearn'): sys.modules[name] = None\n"
        "import coremltools\n"
        "coremltools.models.MLModel(sys.argv[1], skip_model_load=True)\n"
        "from coremltools.libmodelpackage import ModelPackage\n"
        "assert ModelPackage(sys.argv[1]).getRootModel().name() == 'model.mlmodel'"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, timeout=300)
    assert (path / "Manifest.json").read_bytes() == (package / "Manifest.json").read_bytes()


@pytest.mark.long
def test_a_neural_network_resizes_by_half_pixels_and_its_states_may_be_left_out(network_file):
    model = model_of(network_file)
    assert model.specificationVersion == 5  # iOS 14
    upsamples = [layer.upsample for layer in model.neuralNetwork.layers if layer.WhichOneof("layer") == "upsample"]
    assert len(upsamples) == 7
    assert {each.LinearUpsampleMode.Name(each.linearUpsampleMode) for each in upsamples} == {"ALIGN_CORNERS_FALSE"}
    assert not [layer for layer in model.neuralNetwork.layers if layer.WhichOneof("layer") == "resizeBilinear"]
    assert [feature.type.isOptional for feature in model.description.input] == [False, True, True, True, True]
    assert [feature.type.WhichOneof("Type") for feature in model.description.output][:3] == [
        *("imageType", "imageType", "multiArrayType")
    ]
    program = load_program(network_file)
    src = np.full((64, 96, 3), 99, np.uint8)
    zeros = {each.name: np.zeros(each.shape, np.float32) for each in program.inputs[1:]}
    np.testing.assert_array_equal(program.run({"src": src})["pha"], program.run({"src": src, **zeros})["pha"])


@pytest.mark.long
def test_large_convolutions_are_stored_in_eight_bits_and_nothing_else(network_file):
    for layer in model_of(network_file).neuralNetwork.layers:
        if layer.WhichOneof("layer") == "convolution":
            each = layer.convolution
            large = each.outputChannels * each.kernelChannels * np.prod(each.kernelSize) > 512
            assert bool(each.weights.rawValue) == large
            assert not each.bias.rawValue
            if large:
                assert len(each.weights.quantization.linearQuantization.scale) == each.outputChannels
        if layer.WhichOneof("layer") == "loadConstantND":
            assert not layer.loadConstantND.data.rawValue


@pytest.mark.long
def test_states_are_kept_and_every_size_has_its_function(keeping):
    model = model_of(keeping)
    assert model.specificationVersion == 9  # iOS 18
    functions = model.description.functions
    assert (
        [each.name for each in functions]
        == ["rvm_96x64_s0_5", "rvm_64x128_s0_25"]
        == [*map(function_name, (SIZE, OTHER))]
    )
    assert model.description.defaultFunctionName == "rvm_96x64_s0_5"
    for each, size in zip(functions, (SIZE, OTHER), strict=True):
        assert [feature.name for feature in each.input] == ["src"]
        assert [feature.name for feature in each.output] == ["fgr", "pha"]
        shapes = [tuple(feature.type.stateType.arrayType.shape) for feature in each.state]
        assert shapes == [*state_shapes("mobilenetv3", size.height, size.width, size.ratio)]
    weights = (keeping / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size
    assert weights < 4_200_000, "the two sizes share their weights"


@pytest.mark.parametrize(("kind", "told"), [of(kind, TOLD[kind]) for kind in TOLD])
def test_it_is_told_from_itself(kind, told, request):
    path = request.getfixturevalue(kind)
    assert recognise(path) == "coreml"
    artifact = load_runtime("coreml", "evaluator").inspect(path)
    facts = artifact.facts["kind"], artifact.facts["states"], len(artifact.inputs), len(artifact.outputs)
    assert (artifact.variant, artifact.refiner, artifact.precision, *facts) == told
    assert artifact.fixed == (SHARED if kind == "package" else SIZE)
    assert artifact.metadata["precision"] == artifact.precision
    assert not artifact.image_bytes
    others = [(other.fixed, other.function) for other in artifact.others]
    assert others == ([(OTHER, "rvm_64x128_s0_25")] if kind == "keeping" else [])


@pytest.mark.parametrize("runtime", ["evaluator", "evaluator-fp16"])
@pytest.mark.parametrize(
    ("kind", "matte", "states"),
    [
        of("package", 1e-2, 1e-2),
        of("half", 1e-2, 1e-2),
        of("network_file", 6e-2, 1e-1),
        of("keeping", 6e-2, 1e-1),
        of("tensors", None, 2e-2),  # the fast guided filter divides by little more than 1e-5
    ],
)
def test_it_is_the_network(kind, matte, states, runtime, request):
    artifact = load_runtime("coreml", runtime).inspect(request.getfixturevalue(kind))
    for each in (artifact, *artifact.others):
        worst = errors(each, runtime)
        assert all(0 < worst[name] <= states for name in OUTPUTS[2:]), (each.path, worst)
        assert matte is None or all(0 < worst[name] <= matte for name in OUTPUTS[:2]), (each.path, worst)


@pytest.mark.long
def test_up_to_the_first_convolution_it_is_fp32_if_asked_for(tensors, half):
    def dtypes(path):
        function = model_of(path).mlProgram.functions["main"]
        operations = function.block_specializations[function.opset].operations
        (resize, *_), (first, *_) = (
            [each for each in operations if each.type == kind] for kind in ("upsample_bilinear", "conv")
        )
        names = protobuf_module("MIL").DataType.Name
        return [names(each.outputs[0].type.tensorType.dataType) for each in (resize, first)]

    assert dtypes(tensors) == ["FLOAT32", "FLOAT16"]
    assert dtypes(half) == ["FLOAT16", "FLOAT16"]


@pytest.mark.long
def test_tensors_go_in_and_out_if_asked_for(tensors):
    description = model_of(tensors).description
    features = {each.name: each.type.multiArrayType for each in (*description.input, *description.output)}
    assert [tuple(features[name].shape) for name in ("src", "fgr", "pha")] == [
        *((1, 3, 64, 96), (1, 3, 64, 96), (1, 1, 64, 96))
    ]


@pytest.mark.parametrize("kind", [of("package"), of("keeping"), of("tensors")])
def test_on_a_mac_the_same_frames_go_through_apples_interface(kind, request):
    """Test all but CoreML itself: frames become pictures, states are passed on, and pictures become a matte."""
    artifact = inspect_in_bytes(request.getfixturevalue(kind))
    artifact = artifact.others[0] if artifact.others else artifact
    bytes_io = kind != "tensors"
    assert artifact.image_bytes == bytes_io
    fixed, player = artifact.fixed, load_runtime("coreml", "evaluator")
    step, state, expected_state = make_step(artifact, StandIn(artifact.path, artifact.function or None)), None, None
    with player.load(artifact, "cpu", fixed.ratio) as expected_step:
        for frame in drawn_inputs(2, fixed.width, fixed.height):
            matte, state = step(frame, state)
            expected, expected_state = expected_step(frame, expected_state)
            for name in ("fgr", "pha"):
                drift = np.abs(getattr(matte, name) - getattr(expected, name)).max()
                assert drift <= (0.51 / 255 if bytes_io else 0), name
            assert (matte.fgr.shape, matte.pha.shape) == (expected.fgr.shape, expected.pha.shape)
            for ours, theirs in zip(apple_to_numpy(state), player.to_numpy(expected_state), strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_what_coremltools_refuses_is_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(convert.sys, "executable", "/bin/false")
    with pytest.raises(ArtifactError, match=r"^coremltools could not convert: exit code 1$"):
        export(tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_damaged_package_is_refused(package, tmp_path):
    inspect = load_runtime("coreml", "evaluator").inspect
    for name, size in (("Manifest.json", 100), ("model.mlmodel", 10_000), ("weight.bin", 1_000_000)):
        copy = shutil.copytree(package, tmp_path / f"{name}.mlpackage")
        (file,) = copy.rglob(name)
        file.write_bytes(file.read_bytes()[:size])
        with pytest.raises(ArtifactError) as caught:
            inspect(copy)
        assert str(copy) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.long
def test_models_of_other_kinds_are_refused(network_file, tmp_path):
    def lose_an_output(model):
        del model.description.output[0]

    def be_another_network(model):
        del model.neuralNetwork.layers[40:]

    def be_a_pipeline(model):
        model.pipeline.names.append("one")

    for spoil in (lose_an_output, be_another_network, be_a_pipeline):
        model = model_of(network_file)
        model.description.metadata.userDefined.clear()
        spoil(model)
        path = tmp_path / f"{spoil.__name__}.mlmodel"
        path.write_bytes(model.SerializeToString())
        assert recognise(path) == "coreml"
        with pytest.raises(ArtifactError, match="a CoreML model, but not of a matting network") as caught:
            load_runtime("coreml", "evaluator").inspect(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "spoil", "told", "loaded"),
    [
        of("package", two_sources, "not of a matting network", "two of its inputs"),
        of("network_file", two_sources, "not of a matting network", "two of its inputs"),
        of("keeping", two_sources, "not of a matting network", "two of its inputs"),
        of("package", factor_of_text, "no number", "makes no sense"),
        of("package", factor_of_two_numbers, "no number", "makes no sense"),
        of("keeping", two_written, None, "gives 2 values for its state"),
        of("keeping", none_written, None, "gives 0 values for its state"),
    ],
)
def test_what_is_there_twice_or_of_another_kind_is_refused(kind, spoil, told, loaded, request, tmp_path):
    """Test both readers: `inspect`, which does not read all of the file, and the evaluator."""
    source = request.getfixturevalue(kind)

    def edit(model):
        unsigned(model)
        spoil(model)

    path = edited(source, tmp_path / source.name, edit)
    for reads, message in ((load_runtime("coreml", "evaluator").inspect, told), (load_program, loaded)):
        if message is None:
            reads(path)
            continue
        with pytest.raises(ArtifactError, match=message) as caught:
            reads(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
