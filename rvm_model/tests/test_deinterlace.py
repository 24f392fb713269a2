"""Interlaced video is noticed, and deinterlaced without a change of timestamps."""

from fractions import Fraction

import av
import numpy as np
import pytest

from rvm_model.tests.clips import drawn, encode_clip
from rvm_model.tests.test_source import read
from rvm_model.video.source import open_source

FIELDS = drawn(24, 128, 96)
WOVEN = [np.where(np.arange(96)[:, None, None] % 2 == 0, FIELDS[2 * k + 1], FIELDS[2 * k]) for k in range(12)]
"""Interlaced frames, the bottom field first: odd lines of one moment, even ones of the next."""

INTERLACED = {"x264-params": "interlaced=1", "crf": "4"}
"""Options of x264, which declares the bottom field to be first."""


def combing(pixels):
    """Return how much neighbouring lines differ beyond lines of the same field."""
    image = pixels.astype(float)
    return np.abs(image[:, 1:] - image[:, :-1]).mean() - np.abs(image[:, 2:] - image[:, :-2]).mean() / 2


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Return an interlaced clip, the same without the flag, and a progressive one."""
    folder = tmp_path_factory.mktemp("clips")
    options = {"pixel_format": "yuv422p", "colorspace": 6, "color_range": 1}
    return {
        "interlaced": encode_clip(folder / "i.mkv", WOVEN, options=INTERLACED, **options),
        "unflagged": encode_clip(folder / "u.mkv", WOVEN, **options),
        "progressive": encode_clip(folder / "p.mkv", FIELDS[::2], **options),
    }


@pytest.mark.parametrize(
    ("name", "mode", "smooth"),
    [
        ("interlaced", "auto", True),
        ("interlaced", "bwdif", True),
        ("interlaced", "off", False),
        ("unflagged", "auto", False),
        ("unflagged", "bwdif", True),
    ],
)
def test_what_is_deinterlaced(name, mode, smooth, clips):
    with open_source(clips[name], deinterlace=mode) as source:
        frames = [*source]
        assert source.interlaced == (name == "interlaced")
        assert source.loss is None
        colour = source.properties.colour
    assert [frame.pts * source.properties.time_base for frame in frames] == [Fraction(k, 25) for k in range(12)]
    pixels = np.array([frame.pixels for frame in frames])
    assert (combing(pixels) < 0.3 * combing(np.array(WOVEN))) == smooth
    assert (colour.matrix, colour.full_range) == (6, False)
    if smooth:
        # Each frame is that of its first field, in all its lines, with its colours. Undeclared, the top one is first.
        first, second = (FIELDS[::2], FIELDS[1::2]) if name == "interlaced" else (FIELDS[1::2], FIELDS[::2])
        error = np.abs(pixels.astype(int) - first).mean()
        assert error < 1.5
        assert error < 0.7 * np.abs(pixels.astype(int) - second).mean()


def test_a_progressive_clip_is_as_without_a_filter(clips):
    given = read(clips["progressive"], deinterlace="auto")
    np.testing.assert_array_equal(given[0], read(clips["progressive"], deinterlace="off")[0])


@pytest.mark.parametrize("window", [{"start": 0.2}, {"max_frames": 1}, {"start": 0.44}, {"start": 0.2, "end": 0.4}])
def test_a_part_is_that_of_the_whole(window, clips):
    whole = read(clips["interlaced"])[0]
    first = round(window.get("start", 0) * 25)
    part = read(clips["interlaced"], **window)
    np.testing.assert_array_equal(part[0], whole[first : first + len(part[0])])
    assert part[1][0] == 0


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_few_frames_are_as_many(frames, tmp_path):
    path = encode_clip(tmp_path / "clip.mkv", WOVEN[:frames], options=INTERLACED)
    assert len(read(path)[0]) == frames
    assert len(read(path, deinterlace="bwdif")[0]) == frames


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (2, 16), (16, 2)])
def test_tiny_frames_do_not_fail(size, tmp_path):
    path = encode_clip(tmp_path / "clip.mkv", drawn(3, *size), codec="ffv1", pixel_format="yuv444p")
    assert len(read(path, deinterlace="bwdif")[0]) == 3


@pytest.mark.parametrize(("suffix", "codec", "pixel_format"), [("avi", "rawvideo", "uyvy422"), ("mkv", "ffv1", "bgr0")])
def test_packed_pixels_keep_their_colours(suffix, codec, pixel_format, tmp_path):
    path = encode_clip(tmp_path / f"clip.{suffix}", [FIELDS[0]] * 4, codec=codec, pixel_format=pixel_format)
    plain, filtered = read(path), read(path, deinterlace="bwdif")
    assert filtered[1] == plain[1]
    assert np.abs(filtered[0].astype(int) - plain[0]).mean() < 2


def test_timestamps_of_variable_rate_are_exact(tmp_path):
    times = [0, 40, 50, 55, 300, 301, 900, 1000]
    path = encode_clip(tmp_path / "clip.mkv", WOVEN[:8], pts=times, time_base=Fraction(1, 1000), options=INTERLACED)
    with av.open(str(path)) as file:
        assert next(file.decode(video=0)).interlaced_frame
    assert read(path)[1] == times
