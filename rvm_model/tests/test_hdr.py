"""High dynamic range is noticed, and survives with its metadata."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from rvm_model.tests.test_sink import HDR, LIKE, read, save, stream_of
from rvm_model.video.colour import VideoError
from rvm_model.video.hdr import HdrMetadata, hdr_metadata
from rvm_model.video.tone import ToneMap, pq_code

# The DCI-P3 primaries, D65, 0.005 to 1000 cd/m2.
PRIMARIES = tuple(Fraction(each, 50_000) for each in (34_000, 16_000, 13_250, 34_500, 7_500, 3_000, 15_635, 16_450))
METADATA = HdrMetadata(primaries=PRIMARIES, nits=(Fraction(1, 200), Fraction(1000)), content=(1000, 400))
FRAMES = [np.tile(np.linspace(10_000, 40_000, 64).astype(np.uint16)[:, None], (48, 1, 3))] * 3
SDR = LIKE.colour
HLG = replace(HDR.colour, transfer=18)


def near(one, other):
    return all(abs(float(a) - float(b)) < 1e-4 for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        *((suffix, None) for suffix in ("mp4", "mov", "mkv")),
        ("webm", "libsvtav1"),
        ("mp4", "libsvtav1"),
        ("mp4", "libx264"),
    ],
)
@pytest.mark.parametrize("metadata", [METADATA, replace(METADATA, content=None), HdrMetadata(content=(600, 90)), None])
def test_hdr_keeps_its_depth_colours_and_metadata(suffix, codec, metadata, tmp_path):
    like = replace(HDR, hdr=metadata)
    path = save(tmp_path / f"clip.{suffix}", FRAMES, like, codec=codec, bits=10)
    name, pixel_format, tag, fields = stream_of(path)
    assert pixel_format == "yuv420p10le"
    assert fields == (9, 1, 9, 16)
    if codec is None:
        assert name == "hevc"
        assert tag == "hvc1" or suffix == "mkv"
        with av.open(str(path)) as file:
            assert file.streams.video[0].codec_context.profile == "Main 10"
    found = read(path)[2].hdr
    if metadata is None:
        assert found is None
        return
    assert found.content == metadata.content
    if metadata.primaries is None:
        assert found.primaries is None
    else:
        assert near(found.primaries, metadata.primaries)
        assert near(found.nits, metadata.nits)


def test_hlg_is_hdr_too(tmp_path):
    path = save(tmp_path / "clip.mp4", FRAMES, replace(HDR, colour=HLG))
    assert stream_of(path)[3] == (9, 1, 9, 18)


def test_a_codec_that_cannot_hold_the_metadata_says_so(tmp_path):
    with pytest.warns(UserWarning, match=r"clip\.mov cannot hold the mastering metadata of HDR in prores_ks"):
        save(tmp_path / "clip.mov", FRAMES, replace(HDR, hdr=METADATA), codec="prores_ks")


def test_alpha_is_no_light(tmp_path):
    path = save(tmp_path / "clip.mp4", [each[..., 0] for each in FRAMES], replace(HDR, hdr=METADATA), grey=True)
    assert stream_of(path)[3] == (1, 1, 1, 1)
    assert read(path)[2].hdr is None


def test_8_bits_of_hdr_are_taken_when_asked_for(tmp_path):
    path = save(tmp_path / "clip.webm", FRAMES, HDR, bits=8)
    assert stream_of(path)[1] == "yuv420p"


class Frame:
    """A frame whose side data is as a damaged file has it."""

    def __init__(self, display=None, light=None):
        given = {"MASTERING_DISPLAY_METADATA": display, "CONTENT_LIGHT_LEVEL": light}
        self.side_data = {
            kind: np.array(values, np.int32).tobytes() for kind, values in given.items() if values is not None
        }


GOOD = [34, 50, 16, 50, 13, 50, 34, 50, 7, 50, 3, 50, 15, 50, 16, 50, 1, 200, 1000, 1, 1, 1]


@pytest.mark.parametrize(
    ("place", "value"), [(1, 0), (1, -50), (0, 60), (0, -1), (16, 300_000), (16, -1), (18, 10_001), (20, 0), (21, 0)]
)
def test_metadata_that_makes_no_sense_counts_as_none(place, value):
    assert hdr_metadata(Frame(GOOD)).nits == (Fraction(1, 200), 1000)
    wrong = [*GOOD]
    wrong[place] = value
    assert hdr_metadata(Frame(wrong)) is None


@pytest.mark.parametrize("light", [(0, 0), (70_000, 1), (1, 70_000), (-1, 5)])
def test_light_that_makes_no_sense_counts_as_none(light):
    assert hdr_metadata(Frame(light=(1000, 400))).content == (1000, 400)
    assert hdr_metadata(Frame(light=light)) is None


GREYS = np.array([0.0, 1, 10, 50, 100, 203, 400, 1000])


def greys(transfer, nits=GREYS):
    """Return a frame of grey stripes, codes of PQ or HLG in 16 bits."""
    if transfer == 16:
        codes = pq_code(nits)
    else:
        scene = (nits / 1000) ** (1 / 1.2)
        codes = np.where(
            scene <= 1 / 12,
            np.sqrt(3 * scene),
            0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
        )
    stripes = np.rint(codes * 65535).astype(np.uint16).repeat(128 // len(nits))
    return np.ascontiguousarray(np.tile(stripes[:, None], (48, 1, 3)))


@pytest.mark.parametrize("transfer", [16, 18])
@pytest.mark.parametrize("bits", [8, 10])
def test_a_high_dynamic_range_is_mapped_to_sdr(transfer, bits, tmp_path):
    like = replace(HDR, width=128, colour=replace(HDR.colour, transfer=transfer))
    path = save(tmp_path / "in.mkv", [greys(transfer)] * 2, like, codec="ffv1", bits=bits)
    pixels, _, properties = read(path, sdr=True)
    assert pixels.dtype == np.uint8
    assert properties.bits == 8
    assert properties.hdr is None
    assert (properties.colour.primaries, properties.colour.transfer, properties.colour.matrix) == (1, 1, 1)
    seen = pixels[0, 24, 8::16].astype(int)
    assert np.abs(seen - seen[:, :1]).max() <= 1, "grey stays grey"
    dark = 255 * (GREYS[:4] / 203) ** (1 / 2.4)
    assert np.abs(seen[:4, 0] - dark).max() <= (2 if bits == 10 else 6), "below the knee nothing is compressed"
    assert (np.diff(seen[:, 0]) > 0).all()
    assert seen[-1, 0] >= 254
    assert 190 < seen[5, 0] < 235, "white stays below highlights"


def test_the_mastering_display_sets_what_is_compressed(tmp_path):
    whites = []
    for most in (400, 1000, 4000):
        metadata = replace(METADATA, nits=(Fraction(0), Fraction(most)))
        tone_map = ToneMap(HDR.colour, metadata, tmp_path)
        assert tone_map(greys(16, np.array([most])))[0, 0, 0] == 255
        whites.append(int(tone_map(greys(16, np.array([203.0])))[0, 0, 0]))
    assert whites == sorted(whites, reverse=True)
    assert len({*whites}) == 3
    dim = ToneMap(HDR.colour, replace(METADATA, nits=(Fraction(0), Fraction(100))), tmp_path)
    assert dim(greys(16, np.array([203.0])))[0, 0, 0] == 255


def test_colours_of_bt2020_become_those_of_bt709(tmp_path):
    """Take BT.709's red, written in BT.2020. Source: ITU-R BT.2087, table 1."""
    light = np.array([0.6274, 0.0691, 0.0164]) * 50
    codes = np.rint(pq_code(light) * 65535).astype(np.uint16)[None, None]
    red = 255 * (50 / 203) ** (1 / 2.4)
    assert np.abs(ToneMap(HDR.colour, None, tmp_path)(codes)[0, 0] - [red, 0, 0]).max() <= 12
    assert ToneMap(HDR.colour, None, tmp_path)(codes)[0, 0, 0] == pytest.approx(red, abs=1)
    with pytest.raises(VideoError, match=r"primaries .number 5 of ITU-T H.273. that cannot be mapped"):
        ToneMap(replace(HDR.colour, primaries=5), None, tmp_path)


def test_sdr_stays_as_it_is(tmp_path):
    path = save(tmp_path / "in.mkv", FRAMES, replace(HDR, colour=SDR), codec="ffv1", bits=10)
    np.testing.assert_array_equal(read(path, sdr=True)[0], read(path)[0])
