"""The fused full-size steps against the reference, over drawn sizes, ratios, depths and threads."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvm_model.full_size import finished, reduced
from rvm_model.fused import FusedStage

SIDES = st.integers(2, 70)


@st.composite
def scenes(draw):
    """Return a stage, a frame, A and b."""
    height, width = draw(SIDES), draw(SIDES)
    ratio = draw(st.floats(1 / min(height, width), 1, exclude_min=True))
    stage = FusedStage(height, width, ratio, draw(st.integers(1, 3)))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    frame = random.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True)
    A, b = (random.uniform(-1, 1, (4, *stage.internal)).astype(np.float32) for _ in range(2))
    return stage, ratio, frame, A, b


def images(frame):
    """Return the frame as PyTorch takes it, in float64: in float32, PyTorch rounds the places where it samples."""
    return torch.from_numpy(frame.transpose(2, 0, 1) / np.iinfo(frame.dtype).max)[None]


@settings(max_examples=150, deadline=None)
@given(scenes())
def test_floats_are_those_of_the_reference(scene):
    stage, ratio, frame, A, b = scene
    src = images(frame)
    assert np.abs(stage.reduce(frame) - reduced(src, ratio)[0].numpy()).max() < 2e-6
    fgr, pha = finished(*(torch.from_numpy(each)[None].double() for each in (A, b)), src)
    matte = stage.finish("matte", frame, A, b)
    assert np.abs(matte - torch.cat([fgr, pha], 1)[0].numpy()).max() < 2e-6


@settings(max_examples=100, deadline=None)
@given(scenes(), st.sampled_from(["composition", "cutout", "premultiplied", "alpha", "foreground"]), st.booleans())
def test_pixels_are_the_nearest_levels(scene, output, picture):
    stage, _, frame, A, b = scene
    height, width = stage.size
    matte = stage.finish("matte", frame, A, b)
    fgr, pha = matte[:3], matte[3:]
    behind = np.random.default_rng(3).random((3, height, width) if picture else (3, 1, 1), np.float32)
    expected = {
        "composition": behind + (fgr - behind) * pha,
        "cutout": np.concatenate([fgr * (pha > 0), pha]),
        "premultiplied": np.concatenate([fgr * pha, pha]),
        "alpha": pha,
        "foreground": fgr,
    }[output]
    pixels = stage.finish(output, frame, A, b, behind if output == "composition" else None)
    given = pixels[None] if output == "alpha" else pixels.transpose(2, 0, 1)
    assert pixels.dtype == frame.dtype
    most = np.iinfo(frame.dtype).max
    assert np.abs(given - expected * np.float32(most)).max() < (0.51 if most == 255 else 1)


def test_rows_may_lie_apart_in_memory():
    stage = FusedStage(16, 24, 0.5)
    wide = np.random.default_rng(1).integers(0, 256, (16, 40, 3), np.uint8)
    line = np.full((4, 8, 12), 0.5, np.float32)
    np.testing.assert_array_equal(stage.reduce(wide[:, :24]), stage.reduce(wide[:, :24].copy()))
    given, expected = (stage.finish("alpha", frame, line, line) for frame in (wide[:, :24], wide[:, :24].copy()))
    np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("ratio", [0.0, 1.5, 0.01])
def test_a_ratio_that_leaves_nothing_is_refused(ratio):
    with pytest.raises(ValueError, match="downsample ratio"):
        FusedStage(16, 24, ratio)
