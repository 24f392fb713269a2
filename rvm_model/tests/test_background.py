"""Backgrounds of a composition."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from rvm_model.tests.clips import write_clip
from rvm_model.video.background import GREEN, open_background
from rvm_model.video.colour import VideoError

SRC = np.zeros((3, 48, 64), np.float32)
PHA = np.zeros((1, 48, 64), np.float32)


@pytest.mark.parametrize(
    ("name", "rgb"),
    [("red", (255, 0, 0)), ("#0080ff", (0, 128, 255)), ("rgb(1,2,3)", (1, 2, 3)), (GREEN, (120, 255, 155))],
)
def test_a_colour(name, rgb):
    behind = open_background(name, 64, 48)(SRC, PHA, 0)
    np.testing.assert_allclose(np.broadcast_to(behind, SRC.shape)[:, 5, 7] * 255, rgb, atol=1e-4)


@pytest.mark.parametrize("name", ["nowhere.png", "grean"])
def test_what_is_none(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VideoError, match=r"no such background: .*; give a colour"):
        open_background(name, 64, 48)


def test_a_picture_fills_the_frame_and_keeps_its_proportions(tmp_path):
    """Crop the red quarters on both sides, for which a frame of other proportions has no room."""
    pixels = np.zeros((48, 128, 3), np.uint8)
    pixels[:, :32] = pixels[:, -32:] = (255, 0, 0)
    pixels[:, 32:-32] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    background = open_background(str(tmp_path / "wide.png"), 64, 48)
    for seconds in (0, 100):
        behind = background(SRC, PHA, seconds)
        assert behind.shape == SRC.shape
        np.testing.assert_allclose(behind[:, 24, 2:-2].T, [[0, 0, 1]] * 60, atol=0.02)


def test_a_video_plays_at_its_own_speed_and_begins_again(tmp_path):
    """Loop four grey frames at five per second, 0.8 s in all."""
    levels = [10, 80, 150, 220]
    path = write_clip(tmp_path / "grey.mkv", [np.full((48, 64, 3), level, np.uint8) for level in levels], rate=5)
    background = open_background(str(path), 64, 48)
    times = [Fraction(k, 10) for k in range(40)]
    shown = [float(background(SRC, PHA, float(time) + 0.01).mean() * 255) for time in times]
    assert np.abs(np.array(shown) - [levels[int(time * 5) % 4] for time in times]).max() <= 2


def test_blur_has_nothing_of_the_figure_in_it():
    src = np.full((3, 360, 640), 0.4, np.float32)
    pha = np.zeros((1, 360, 640), np.float32)
    src[:, 100:250, 200:400] = [[[1.0]], [[0.0]], [[0.0]]]
    pha[:, 100:250, 200:400] = 1
    behind = open_background("blur", 640, 360)(src, pha, 0)
    np.testing.assert_allclose(behind[:, pha[0] == 0], 0.4, atol=0.01)


def test_blur_takes_away_what_could_be_read_and_keeps_what_is_large():
    stripes = np.zeros((3, 360, 640), np.float32)
    stripes[:, :, ::4] = stripes[:, :, 1::4] = 1  # as letters
    stripes[:, :, :320] *= 0.5
    blurred = open_background("blur", 640, 360)(stripes, np.zeros((1, 360, 640), np.float32), 0)
    assert blurred[:, :, 50:250].std() < 0.01
    assert abs(blurred[:, :, 50:250].mean() - 0.25) < 0.01
    assert abs(blurred[:, :, 390:590].mean() - 0.5) < 0.01
