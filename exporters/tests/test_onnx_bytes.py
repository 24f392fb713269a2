"""Test files with byte images as a camera loop runs them: plain onnxruntime, without our code."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from exporters.artifact import INPUTS, OUTPUTS
from exporters.tests.onnx_files import export

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 1, 61, 97, 3), np.uint8)


def loop(path, frames):
    """Return fgr, pha and r1..r4 of every frame."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    ratio, states, played = np.array([0.5], np.float32), [np.zeros((1, 1, 1, 1), np.float32)] * 4, []
    for frame in frames:
        fgr, pha, *states = session.run(list(OUTPUTS), dict(zip(INPUTS, (frame, *states, ratio), strict=True)))
        played.append((fgr, pha, *states))
    return played


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bytes")
    paths = {}
    for io in ("nchw", "uint8-nhwc", "uint8-nhwc-bgr"):
        (folder / io).mkdir()
        paths[io] = export(folder / io, io=io)
    return paths


def test_bytes_in_and_out_are_the_same_frames_in_other_clothes(files):
    onnx.checker.check_model(onnx.load(files["uint8-nhwc"]), full_check=True)
    floats = (frame.transpose(0, 3, 1, 2).astype(np.float32) / 255 for frame in FRAMES)
    for expected, given in zip(loop(files["nchw"], floats), loop(files["uint8-nhwc"], FRAMES), strict=True):
        for a, b in zip(expected[:2], given[:2], strict=True):
            assert b.dtype == np.uint8
            np.testing.assert_array_equal(np.rint(a * 255).transpose(0, 2, 3, 1), b)
        for a, b in zip(expected[2:], given[2:], strict=True):
            np.testing.assert_array_equal(a, b)


def test_bgr_is_rgb_the_other_way_round(files):
    rgb, bgr = loop(files["uint8-nhwc"], FRAMES), loop(files["uint8-nhwc-bgr"], FRAMES[..., ::-1])
    for (fgr, *others), (fgr_in_bgr, *same) in zip(rgb, bgr, strict=True):
        assert (fgr != fgr[..., ::-1]).any()
        np.testing.assert_array_equal(fgr, fgr_in_bgr[..., ::-1])
        for a, b in zip(others, same, strict=True):
            np.testing.assert_array_equal(a, b)
