"""ncnn models for two published Android apps, called as their source calls them, against PyTorch in float64."""

import ncnn
import numpy as np
import pytest
import torch

from exporters import describe
from exporters.ncnn import GRAPH, WEIGHTS, NcnnSpec
from exporters.recover import recover
from exporters.spec import Fixed, SpecError
from parity_tests.clips import builtin_clip
from parity_tests.verify import verify
from rvm_model import load_checkpoint
from rvm_model.full_size import finished, fitted
from rvm_model.video.synthetic.clip import draw_frames

FEIGE = Fixed(width=480, height=640, ratio=0.5)
RGB = ncnn.Mat.PixelType.PIXEL_RGB
UNIT = [1 / 255] * 3
FRAMES = 2
LIMIT = 1e-5


@pytest.fixture(scope="module")
def nihui(exported):
    return exported("ncnn", contract="nihui")


@pytest.fixture(scope="module")
def feige(exported):
    return exported("ncnn", contract="feige", fixed=FEIGE)


@pytest.fixture(scope="module")
def network():
    return load_checkpoint("seeded").network("always").double()


def opened(folder):
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(folder / GRAPH)) == 0
    assert net.load_model(str(folder / WEIGHTS)) == 0
    return net


def extracted(extractor, names):
    results = {name: extractor.extract(name) for name in names}
    assert {code for code, _ in results.values()} == {0}
    return {name: np.array(mat) for name, (_, mat) in results.items()}


def tensor(mat):
    return torch.from_numpy(np.array(mat)[None]).double()


def assert_close(given, expected):
    assert given.shape == expected.shape[1:]
    assert np.abs(given - expected[0].numpy()).max() < LIMIT


def test_nihuis_app_gets_every_matte(nihui, network):
    """Feed a source and a smaller one, sides of multiples of 16, and fetch each output that the app can show."""
    net, fast = opened(nihui), load_checkpoint("seeded", refiner="fast_guided_filter").network("always").double()
    shapes = [(channels, 64 >> k, 96 >> k) for k, channels in enumerate((16, 20, 40, 64), start=1)]
    states, theirs = [np.zeros(shape, np.float32) for shape in shapes], [None] * 4
    for pixels in draw_frames(FRAMES, 192, 128):
        src = ncnn.Mat.from_pixels(pixels, RGB, 192, 128)
        small = ncnn.Mat.from_pixels_resize(pixels, RGB, 192, 128, 96, 64)
        for mat in (src, small):
            mat.substract_mean_normalize([], UNIT)
        extractor = net.create_extractor()
        fed = {"in0": src, "in1": small, **{f"in{k}": ncnn.Mat(each).clone() for k, each in enumerate(states, start=2)}}
        for name, mat in fed.items():
            assert extractor.input(name, mat) == 0
        given = extracted(extractor, [f"out{k}" for k in range(11)])
        with torch.inference_mode():
            features = network.backbone(tensor(small))
            hid, *_ = network.decoder(tensor(small), *features[:3], network.aspp(features[3]), *theirs, 1)
            lines = [fitted(each, tensor(small), theirs, True) for each in (network, fast)]
            unrefined = fitted(network, tensor(small), theirs, False)
            expected = {"out6": network.project_seg(hid)}
            for names, (A, b, *_), frame in (
                (("out0", "out1"), unrefined, small),
                (("out2", "out3"), lines[0], src),
                (("out4", "out5"), lines[1], src),
            ):
                expected |= dict(zip(names, finished(A, b, tensor(frame)), strict=True))
            theirs = lines[0][2:]
        expected |= {f"out{k}": state for k, state in enumerate(theirs, start=7)}
        for name in given.keys() - {"out4", "out5"}:
            assert_close(given[name], expected[name])
        for name in ("out4", "out5"):  # the fast guided filter divides by small variances
            assert np.abs(given[name] - expected[name][0].numpy()).max() < 6e-4
        states = [given[f"out{k}"] for k in range(7, 11)]


def test_feiges_app_gets_its_matte(feige, network):
    """Feed the normalised half and the whole, the states by their sizes, and fetch the outputs in the app's order."""
    net = opened(feige)
    shapes = ((16, 160, 120), (20, 80, 60), (40, 40, 30), (64, 20, 15))
    states, theirs = [np.zeros(shape, np.float32) for shape in shapes], [None] * 4
    for pixels in draw_frames(FRAMES, 300, 400):
        whole = ncnn.Mat.from_pixels_resize(pixels, RGB, 300, 400, 480, 640)
        half = ncnn.Mat.from_pixels_resize(pixels, RGB, 300, 400, 240, 320)
        whole.substract_mean_normalize([0, 0, 0], UNIT)
        half.substract_mean_normalize([123.675, 116.28, 103.53], [0.01712475, 0.0175070, 0.01742919])
        extractor = net.create_extractor()
        fed = {"src1": half, "src2": whole}
        fed |= {f"r{k}i": ncnn.Mat(each).clone() for k, each in enumerate(states, start=1)}
        for name, mat in fed.items():
            assert extractor.input(name, mat) == 0
        given = extracted(extractor, ("r4o", "r3o", "r2o", "r1o", "pha", "fgr"))
        with torch.inference_mode():
            fgr, pha, *theirs = network(tensor(whole), *theirs, 0.5)
        for name, expected in {
            "fgr": fgr,
            "pha": pha,
            **dict(zip(("r1o", "r2o", "r3o", "r4o"), theirs, strict=True)),
        }.items():
            assert_close(given[name], expected)
        states = [given[f"r{k}o"] for k in range(1, 5)]


@pytest.mark.parametrize("name", ["nihui", pytest.param("feige", marks=pytest.mark.long)])
def test_they_are_proved_and_recovered_like_any_other(name, request):
    artifact = describe(request.getfixturevalue(name))
    assert artifact.facts["contract"] == name
    ratio = "in (0, 1]: the caller reduces the source" if name == "nihui" else "0.5"
    assert artifact.metadata["downsample_ratio"] == ratio
    assert artifact.mattes == {"fgr", "pha"}
    assert (artifact.fixed, artifact.baked_ratio) == ((None, None) if name == "nihui" else (FEIGE, 0.5))
    size, ratio = ((97, 64), 0.375) if name == "nihui" else ((480, 640), None)
    report = verify(artifact, load_checkpoint("seeded"), builtin_clip(12, *size), ratio)
    assert report.ok, report.comparison.failures
    assert recover([artifact]).weights[artifact.path] is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contract": "nihui2"}, "contract 'nihui2' is not nihui or feige; leave --contract out for our own names"),
        ({"contract": "nihui", "ratio": 0.5}, "leave --resolution, --downsample-ratio and --refiner out"),
        (
            {"contract": "nihui", "refiner": "fast_guided_filter"},
            "leave --resolution, --downsample-ratio and --refiner",
        ),
        ({"contract": "feige", "ratio": 0.5}, "give --resolution 512x512 or --resolution 480x640, and"),
        ({"contract": "feige", "fixed": Fixed(width=640, height=480, ratio=0.5)}, "takes MobileNetV3 of two sizes"),
    ],
)
def test_options_that_no_app_takes_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        NcnnSpec(**{"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "fp32"} | options)
