"""Drawn frames: identical on any machine, a story with a known alpha, and layers that compose to the image."""

import hashlib

import numpy as np
import pytest
from scipy import ndimage

from rvm_model.video.synthetic.clip import CUT, STORY, draw_frame, draw_frames
from rvm_model.video.synthetic.scenery import scenery

HASHES = {
    (320, 180): "3725a3c7a836cc5c9a1646aebd9a6303875681e9ea56a44a239f4d40aadefd5a",
    (331, 217): "ce2b5f2b058053d37dd0c98cdd55cc0e35f867a2d745833380c1a988a3d346df",
}


@pytest.fixture(scope="module")
def story():
    return [draw_frame(t, 320, 180) for t in range(STORY)]


def persons(pha):
    """Count the parts of more than a hundred pixels."""
    labels, _ = ndimage.label(pha > 0.9)
    return int((np.bincount(labels.ravel())[1:] > 100).sum())


@pytest.mark.parametrize("size", HASHES, ids=str)
def test_frames_and_truth_are_the_same_bytes_on_any_machine(size):
    digest = hashlib.sha256()
    for t in range(24):
        frame = draw_frame(t, *size)
        for array in (frame.image, frame.pha, frame.fgr):
            digest.update(array.tobytes())
    assert digest.hexdigest() == HASHES[size]


def test_shapes_dtypes_and_ranges(story):
    for frame in story:
        assert (frame.image.shape, frame.image.dtype) == ((180, 320, 3), np.uint8)
        assert (frame.pha.shape, frame.pha.dtype) == ((180, 320), np.float32)
        assert (frame.fgr.shape, frame.fgr.dtype) == ((3, 180, 320), np.float32)
        assert frame.pha.min() == 0
        assert frame.pha.max() in {0, 1}
        assert frame.fgr.min() == 0
        assert frame.fgr.max() <= 1
        assert not frame.fgr[:, frame.pha == 0].any()


@pytest.mark.parametrize("t", [3, 8, 15, 30])
def test_the_truth_composes_to_the_image(t):
    frame = draw_frame(t, 321, 181)
    unit = np.float32(min(321 / 320, 181 / 180))
    x, y = (
        (np.arange(321, dtype=np.float32)[None] + 0.5) / unit,
        (np.arange(181, dtype=np.float32)[:, None] + 0.5) / unit,
    )
    background = scenery("net" if t % STORY < CUT else "bricks", t, x, y)
    composed = 255 * (frame.fgr * frame.pha + background * (1 - frame.pha))
    assert np.abs(frame.image.transpose(2, 0, 1) - composed).max() <= 7.5 + 0.5 + 1e-3
    assert 3 < (frame.image.transpose(2, 0, 1) - composed).std() < 6, "noise"


def test_the_story_has_one_person_two_and_nobody(story):
    counts = [persons(frame.pha) for frame in story]
    assert counts[CUT] == 0
    assert [t for t, frame in enumerate(story) if not frame.pha.any()] == [CUT]
    assert sum(count == 2 for count in counts) >= 4
    assert counts[CUT + 1 :] == [1] * (STORY - CUT - 1)


def test_every_frame_moves_and_the_cut_moves_most(story):
    steps = [np.abs(story[t].image.astype(int) - story[t - 1].image).mean() for t in range(1, STORY)]
    assert min(steps) > 5
    assert int(np.argmax(steps)) == CUT - 1


def test_edges_are_soft_and_hair_is_fine(story):
    soft = (story[5].pha > 0) & (story[5].pha < 1)
    assert 400 < soft.sum() < 6000
    large = draw_frame(5, 1920, 1080).pha
    strands = (large > 0.1) & ~ndimage.binary_dilation(
        ndimage.binary_opening(large > 0.1, np.ones((7, 7))), iterations=4
    )
    assert strands.sum() > 500


def test_proportions_are_kept_and_noise_is_of_single_pixels(story):
    small, large = story[5], draw_frame(5, 1280, 720)
    assert np.abs(large.pha.reshape(180, 4, 320, 4).mean((1, 3)) - small.pha).mean() < 0.004
    again = large.image.reshape(180, 4, 320, 4, 3).mean((1, 3))
    assert np.abs(again - small.image).mean() < 8
    assert np.abs(np.diff(large.image[:40, :, 0].astype(int), axis=1)).mean() > 4
    tall = draw_frame(5, 180, 320)
    assert not tall.pha[:200].any(), "on the lower edge"
    assert tall.pha[-1].any()


@pytest.mark.parametrize("size", [(1, 1), (1200, 1), (3, 50), (17, 13)])
def test_any_size_can_be_drawn(size):
    for t in (2, 10, 14):
        assert draw_frame(t, *size).image.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("step", [43, pytest.param(7, marks=pytest.mark.long)])
def test_a_person_is_in_the_picture_in_long_clips(step):
    for t in range(0, 1000, step):
        if t % STORY not in (CUT, CUT + 1):
            assert draw_frame(t, 64, 36).pha.mean() > 0.12, t


def test_frames_between_frames_have_other_noise_and_seeds_matter():
    one, between, other = draw_frame(3, 64, 36), draw_frame(3.5, 64, 36), draw_frame(3, 64, 36, seed=7)
    assert (one.image != between.image).mean() > 0.5
    assert (one.image != other.image).mean() > 0.5
    np.testing.assert_array_equal(one.pha, other.pha)
    np.testing.assert_array_equal(draw_frames(2, 64, 36, begin=2)[1], one.image)
