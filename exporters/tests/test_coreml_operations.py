"""Compare each operation of the CoreML evaluator with PyTorch, in files that coremltools wrote."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from exporters.coreml.evaluator.evaluator import load_program
from exporters.coreml.evaluator.mil_constants import CONSTANTS
from exporters.coreml.evaluator.mil_ops import OPERATIONS
from exporters.coreml.evaluator.nn_layers import LAYERS, weights
from exporters.coreml.evaluator.sampling import RULES, resize_by_rule
from exporters.coreml.protobufs import protobuf_module
from exporters.tests.coreml_cases import CASES
from exporters.tests.coreml_made import MODES, SHORT, SIZES, written

pytestmark = pytest.mark.timeout(1800)

RULE_OF_LAYER = {
    "STRICT_ALIGN_ENDPOINTS_MODE": "STRICT_ALIGN_CORNERS",
    "ALIGN_ENDPOINTS_MODE": "ALIGN_CORNERS",
    "UPSAMPLE_MODE": "DEFAULT",
    "ROI_ALIGN_MODE": "OFFSET_CORNERS",
}
IMAGE = (1, 3, 9, 13)
OTHER = torch.tensor([1.0, 2, 4]).reshape(3, 1, 1)


@pytest.fixture
def made(request, common_folder) -> Path:
    """Return the folder of files: for a test that is not long, of the few that are written for such tests."""
    return written(common_folder, "all" if request.node.get_closest_marker("long") else "short")


def short_first(names):
    """Return parameters, of which those that are not in SHORT are long."""
    return [pytest.param(name, marks=[] if name in SHORT else [pytest.mark.long]) for name in names]


def image():
    return torch.randn(IMAGE, generator=torch.Generator().manual_seed(1))


def run(path, *given, **options):
    """Return the only output, for inputs in their order."""
    program = load_program(path)
    inputs = {each.name: value.numpy() for each, value in zip(program.inputs, given, strict=True)}
    (output,) = program.run(inputs, **options).values()
    return output


def operations_in(paths):
    return set().union(*(load_program(path).operations for path in paths))


@pytest.mark.parametrize("kind", ["ios14.mlmodel", "ios16.mlpackage"])
@pytest.mark.parametrize("name", short_first(CASES))
def test_it_computes_what_pytorch_does(name, kind, made):
    given = CASES[name].inputs()
    expected = CASES[name](*given).numpy()
    assert np.std(expected) > 0
    np.testing.assert_allclose(run(made / f"{name}_{kind}", *given), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("target", ["ios15", "ios18"])
def test_programs_for_other_systems_are_the_same(target, made):
    given = CASES["conv"].inputs()
    found = run(made / f"conv_{target}.mlpackage", *given)
    np.testing.assert_array_equal(found, run(made / "conv_ios16.mlpackage", *given))


def places(rule, before, after):
    """Return the sampling positions by coremltools' documentation, in float64."""
    index, strict = np.arange(after), (before - 1) / max(after - 1, 1)
    place = {
        "STRICT_ALIGN_CORNERS": index * strict,
        "ALIGN_CORNERS": index * strict if after > 1 else np.array([(before - 1) / 2]),
        "UNALIGN_CORNERS": index * before / after + 0.5 * before / after - 0.5,
        "DEFAULT": index * before / after,
        "OFFSET_CORNERS": 0.5 * max(1, before - 1) / after + index * max(1, before - 1) / after,
    }[rule]
    return place.clip(0, before - 1)


def resized(x, size, rule):
    """Interpolate along one axis after the other, by NumPy."""
    for axis, length in ((2, size[0]), (3, size[1])):
        place = places(rule, x.shape[axis], length)
        x = np.apply_along_axis(lambda line, at: np.interp(at, np.arange(len(line)), line), axis, x, place)
    return x


@pytest.mark.parametrize(
    ("height", "width"), [SIZES[0], *(pytest.param(*s, marks=pytest.mark.long) for s in SIZES[1:])]
)
@pytest.mark.parametrize("mode", MODES)
def test_a_program_resizes_by_every_rule(mode, height, width, made):
    x = image()
    found = run(made / f"resize_{mode}_{height}x{width}.mlpackage", x)
    np.testing.assert_allclose(found, resized(x.numpy(), (height, width), mode), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("mode", RULE_OF_LAYER)
def test_a_layer_resizes_by_every_rule(mode, height, width, made):
    x = image()
    found = run(made / f"resize_{mode}_{height}x{width}.mlmodel", x)
    np.testing.assert_allclose(found, resized(x.numpy(), (height, width), RULE_OF_LAYER[mode]), atol=1e-5)


@pytest.mark.parametrize(
    ("file", "size", "rule"),
    [
        ("upsample_True_False.mlpackage", (18, 22), "STRICT_ALIGN_CORNERS"),
        ("upsample_False_True.mlpackage", (18, 22), "UNALIGN_CORNERS"),
        ("upsample_False_False.mlpackage", (18, 22), "DEFAULT"),
        ("upsample_DEFAULT.mlmodel", (18, 39), "DEFAULT"),
        ("upsample_ALIGN_CORNERS_TRUE.mlmodel", (18, 39), "STRICT_ALIGN_CORNERS"),
        ("upsample_ALIGN_CORNERS_FALSE.mlmodel", (18, 39), "UNALIGN_CORNERS"),
    ],
)
def test_it_upsamples_by_every_rule(file, size, rule, made):
    x = image()
    np.testing.assert_allclose(run(made / file, x), resized(x.numpy(), size, rule), atol=1e-5)


@pytest.mark.parametrize(("rule", "aligned"), [("STRICT_ALIGN_CORNERS", True), ("UNALIGN_CORNERS", False)])
def test_what_is_left_to_pytorch_follows_the_same_rule(rule, aligned):
    x = image()
    expected = F.interpolate(x, (20, 31), mode="bilinear", align_corners=aligned)
    torch.testing.assert_close(resize_by_rule(x, (20, 31), RULES[rule]), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "sides", "options"),
    [
        ("same", (1, 1, 1, 2), {"stride": 2}),  # left, right, top, bottom
        ("same_lower", (1, 1, 2, 1), {"stride": 2}),
        ("custom", (2, 1, 0, 1), {"stride": (1, 2), "dilation": (2, 1)}),
    ],
)
def test_it_pads_each_side_by_itself(name, sides, options, made):
    x, weight = image(), torch.from_numpy(np.load(made / "conv_weight.npy"))
    expected = F.conv2d(F.pad(x, sides), weight, **options)
    np.testing.assert_allclose(run(made / f"conv_{name}.mlpackage", x), expected, atol=5e-6)


def test_it_splits_into_equal_parts(made):
    x = image()
    np.testing.assert_array_equal(run(made / "split_in_three.mlpackage", x), x.flip(1))


def test_masks_of_a_slice(made):
    x = image()
    np.testing.assert_array_equal(run(made / "slice_masks.mlpackage", x), x[0:1, 1, :-1:3, -8::2])


def test_a_slice_is_updated(made):
    x = image()
    x_after = x.clone()
    x_after[:, :, 1:9:2] = 1
    np.testing.assert_array_equal(run(made / "slice_update.mlpackage", x), x_after)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("slice_negative", lambda x: x[:, :, 2:-1:3]),
        ("linear", lambda x: -2 * x + 0.5),
        ("add_alpha", lambda x: x + 0.25),
        ("add_three", lambda x: x + x + x),
        ("add_broadcastable", lambda x: x + OTHER),
        ("subtract_broadcastable", lambda x: x - OTHER),
        ("multiply_broadcastable", lambda x: x * OTHER),
        ("divide_broadcastable", lambda x: x / OTHER),
    ],
)
def test_layers_that_no_module_becomes(name, function, made):
    x = image()
    np.testing.assert_allclose(run(made / f"{name}.mlmodel", x), function(x), rtol=1e-6)


PALETTES = [f"palette_{bits}_{target}" for bits in (1, 2, 4, 6, 8) for target in ("ios16", "ios18")]
BLOCKS = [f"blocks_{dtype}{more}" for dtype in ("int8", "uint8", "int4", "uint4") for more in ("", "_offset")]
AFFINE = ["affine_int8", "affine_uint8", "affine_all"]


@pytest.mark.parametrize("name", short_first([*AFFINE, *PALETTES, *BLOCKS]))
def test_weights_are_what_coremltools_makes_of_them(name, made):
    expected = np.load(made / f"{name}.npy").astype(np.float32)
    assert np.std(expected) > 0
    found = run(made / f"{name}.mlpackage", torch.zeros(expected.shape))
    np.testing.assert_allclose(found, expected, rtol=1e-3)  # coremltools multiplies in float16
    np.testing.assert_array_equal(found, found.astype(np.float16))


@pytest.mark.parametrize("channels", [1, 4])
def test_weights_of_a_layer_in_every_width(channels):
    rng = np.random.default_rng(0)
    values, shape = rng.standard_normal((4, 3, 2, 2)).astype(np.float32), (4, 3, 2, 2)
    integers, scale, bias = rng.integers(0, 256, shape).astype(np.uint8), rng.random(channels), rng.random(channels)
    message = protobuf_module("NeuralNetwork").WeightParams()
    message.floatValue[:] = values.ravel()
    np.testing.assert_array_equal(weights(message, shape), values)
    message.ClearField("floatValue")
    message.float16Value = values.astype(np.float16).tobytes()
    np.testing.assert_array_equal(weights(message, shape), values.astype(np.float16))
    message.ClearField("float16Value")
    message.rawValue = integers.tobytes()
    with pytest.raises(ValueError, match="weights of 0 bits"):
        weights(message, shape)
    message.quantization.numberOfBits = 8
    message.quantization.linearQuantization.scale[:] = scale
    message.quantization.linearQuantization.bias[:] = bias
    expected = integers * scale.reshape(-1, 1, 1, 1) + bias.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(weights(message, shape), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="48 weights for the shape"):
        weights(message, (4, 3, 2, 3))
    message.int8RawValue = integers.tobytes()
    with pytest.raises(ValueError, match="are not known here"):
        weights(message, shape)


def test_every_intermediate_is_rounded_only_when_it_is_asked_for(made):
    x = image()
    exact, half = run(made / "fp16.mlpackage", x), run(made / "fp16.mlpackage", x, half=True)
    tenth, three = torch.tensor(0.1).half(), torch.tensor(3.0).half()
    np.testing.assert_array_equal(exact, (x + tenth.float()) * 3)
    np.testing.assert_array_equal(half, (x.half() + tenth) * three)
    assert np.abs(exact - half).max() > 1e-4


@pytest.mark.long
def test_every_operation_has_been_here(made):
    assert operations_in(made.glob("*.mlpackage")) == OPERATIONS.keys()
    assert operations_in(made.glob("*.mlmodel")) - {"scaler"} == LAYERS.keys()
    content = b"".join(path.read_bytes() for path in made.rglob("model.mlmodel"))
    assert all(name.encode() in content for name in CONSTANTS)
