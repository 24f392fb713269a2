"""Outputs equal inputs: frames, times, size, depth, colours and sound; complete, or not there at all."""

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from rvm_model.tests.clips import Sound, drawn, encode_clip
from rvm_model.tests.test_source import PATCHES, VARIABLE, patches, seen
from rvm_model.video.colour import BT601, BT709, BT2020, SRGB, UNTOLD, Colour, VideoError
from rvm_model.video.frames import Properties
from rvm_model.video.sink import open_sink
from rvm_model.video.source import open_source

ROOT = Path(__file__).parents[2]
CLIP = drawn(12, 64, 48)
DEEP = [(each.astype(np.uint16) << 8) + 128 for each in CLIP]
LIKE = Properties(
    width=64,
    height=48,
    frame_rate=Fraction(25),
    time_base=Fraction(1, 1000),
    bits=8,
    colour=Colour(matrix=BT709, full_range=False, primaries=BT709, transfer=BT709),
    frames=12,
    still=False,
)
HDR = replace(LIKE, bits=10, colour=Colour(matrix=BT2020, full_range=False, primaries=9, transfer=16))
TIMES = [40 * k for k in range(12)]
STILL = replace(LIKE, still=True, frames=1, colour=SRGB)


@pytest.mark.skipif(sys.platform != "linux", reason="threads and their scheduling are looked at in /proc")
def test_no_encoder_makes_the_process_real_time(tmp_path):
    """Write with SVT-AV1, which does so under root. Under other users this shows nothing."""
    before = os.sched_getscheduler(0)
    with open_sink(tmp_path / "clip.mp4", LIKE, False, codec="libsvtav1") as sink:
        for frame, at in zip(CLIP, TIMES, strict=True):
            sink.write(frame, at)
        threads = [int(each.name) for each in Path("/proc/self/task").iterdir()]
        assert len(threads) > 8, "no encoder is at work"
        assert {os.sched_getscheduler(each) for each in (0, *threads)} == {before}
    assert os.sched_getscheduler(0) == before


def save(path, frames=CLIP, like=LIKE, pts=TIMES, alpha=False, **options):
    with open_sink(path, like, alpha, **options) as sink:
        for frame, at in zip(frames, pts, strict=False):
            sink.write(frame, at)
    return path


def read(path, **window):
    with open_source(path, **window) as source:
        frames = [*source]
        assert source.loss is None
        return np.array([each.pixels for each in frames]), [each.pts for each in frames], source.properties


def seconds(path, **window):
    _, pts, properties = read(path, **window)
    return [each * properties.time_base for each in pts]


def stream_of(path):
    """Return codec, pixel format, tag and colour fields."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        fields = context.colorspace, context.color_range, context.color_primaries, context.color_trc
        return context.codec.name, context.pix_fmt, context.codec_tag, fields


def near(given, expected, mean=3.0):
    return given.shape == np.shape(expected) and np.abs(given.astype(float) - expected).mean() < mean


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "h264"), ("mkv", "h264"), ("mov", "h264"), ("avi", "h264"), ("webm", "vp9")]
)
def test_a_suffix_says_what_is_written(suffix, codec, tmp_path):
    path = save(tmp_path / f"clip.{suffix}")
    name, pixel_format, _, _ = stream_of(path)
    assert name.removeprefix("lib") in (codec, f"vpx-{codec}")
    assert pixel_format == "yuv420p"
    pixels, _, properties = read(path)
    assert near(pixels, CLIP)
    assert seconds(path) == [Fraction(k, 25) for k in range(12)]
    assert properties.frame_rate == 25
    assert [*tmp_path.iterdir()] == [path]


def test_a_capital_suffix_and_folders_on_the_way(tmp_path):
    path = save(tmp_path / "new" / "folder" / "CLIP.MP4")
    assert len(read(path)[0]) == 12


@pytest.mark.parametrize(
    ("suffix", "codec", "given", "pixel_format"),
    [
        ("mp4", "libx264", "h264", "yuv420p"),
        ("mp4", "h264", "h264", "yuv420p"),
        ("mp4", "libx265", "hevc", "yuv420p"),
        ("mov", "libx265", "hevc", "yuv420p"),
        ("mov", "prores_ks", "prores", "yuv422p10le"),
        ("mp4", "libsvtav1", "libdav1d", "yuv420p"),
        ("webm", "libsvtav1", "libdav1d", "yuv420p"),
        ("mkv", "libvpx-vp9", "vp9", "yuv420p"),
        ("mkv", "ffv1", "ffv1", "bgr0"),
        ("avi", "mpeg4", "mpeg4", "yuv420p"),
    ],
)
def test_a_codec_can_be_chosen(suffix, codec, given, pixel_format, tmp_path):
    path = save(tmp_path / f"clip.{suffix}", codec=codec)
    name, pixel, tag, _ = stream_of(path)
    assert name.removeprefix("lib") == given.removeprefix("lib")
    assert pixel == pixel_format
    if codec == "libx265":
        assert tag == "hvc1", "what Apple's players open"
    pixels, _, properties = read(path)
    assert near(pixels / (257 if properties.bits > 8 else 1), CLIP, 8 if codec == "mpeg4" else 3)
    if codec == "ffv1":
        np.testing.assert_array_equal(pixels, CLIP)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "prores_ks", "ffv1", "mpeg4"])
def test_no_encoder_writes_into_the_progress(codec, tmp_path, capfd):
    save(tmp_path / f"clip.{'mov' if codec == 'prores_ks' else 'mkv'}", codec=codec)
    assert capfd.readouterr() == ("", "")


def test_what_the_user_wants_an_encoder_to_print_is_printed(tmp_path):
    """Look in a fresh process, since the encoder reads its variable once."""
    code = f"""
from pathlib import Path
from rvm_model.tests.test_sink import save
save(Path({str(tmp_path)!r}) / "clip.mkv", codec="libsvtav1")
"""
    for given, printed in (({}, False), ({"SVT_LOG": "3"}, True)):
        environment = {key: value for key, value in os.environ.items() if key != "SVT_LOG"} | given
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert ("Svt" in done.stderr + done.stdout) == printed


def test_a_better_quality_is_nearer_and_larger(tmp_path):
    for codec in ("libx264", "libx265", "libvpx-vp9"):
        error, size = [], []
        for quality in (0, 20, 50):
            path = save(tmp_path / "clip.mkv", codec=codec, quality=quality)
            error.append(np.abs(read(path)[0].astype(int) - CLIP).mean())
            size.append(path.stat().st_size)
        assert error == sorted(error)
        assert size == sorted(size, reverse=True)
        assert size[0] > 2 * size[2]


def test_a_bit_rate_is_kept(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (50, 96, 128, 3)).astype(np.uint8)
    like = replace(LIKE, width=128, height=96)
    sizes = [
        save(tmp_path / "clip.mp4", noise, like, range(0, 2000, 40), mbps=rate).stat().st_size for rate in (0.5, 2)
    ]
    for size, rate in zip(sizes, (0.5, 2), strict=True):
        assert 0.5 < size * 8 / 2 / (rate * 1e6) < 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("clip.mp4", {"codec": "libx999"}, "no video encoder libx999; for .mp4 there are libx264, libx265"),
        ("clip.webm", {"codec": "libx264"}, r"\.webm cannot hold video of libx264; give one of libvpx-vp9"),
        ("clip.mp4", {"codec": "aac"}, "cannot hold video of aac"),
        ("clip.mp4", {"quality": 52}, "quality 52 is not in 0 .best. to 51, the CRF of libx264"),
        ("clip.mp4", {"quality": -1}, "quality -1 is not in 0"),
        ("clip.webm", {"quality": 64}, "to 63, the CRF of libvpx-vp9"),
        ("clip.mov", {"codec": "prores_ks", "quality": 10}, "prores_ks has no quality to choose; leave it out$"),
        ("clip.mov", {"codec": "prores_ks", "mbps": 10}, "prores_ks has no bit rate to choose"),
        ("clip.mp4", {"quality": 10, "mbps": 1}, "cannot have both a quality and a bit rate"),
        ("clip.mp4", {"mbps": 0}, "takes above 0 to 2000"),
        ("clip.mp4", {"mbps": float("nan")}, "takes above 0 to 2000"),
        ("clip.mp4", {"mbps": 1e9}, "takes above 0 to 2000"),
        ("clip.mp4", {"alpha": True}, "cannot hold alpha; give a .mov .ProRes 4444., a .webm .VP9. or a folder"),
        ("clip.mkv", {"alpha": True, "codec": "libx264"}, "libx264 cannot hold alpha"),
        ("clip.jpg", {"alpha": True, "like": STILL}, "cannot hold alpha"),
        ("clip.png", {}, "holds one picture only"),
        ("clip.gif", {}, r"ends in none of \.mp4"),
        ("clip.mkv", {"codec": "libx265", "like": replace(LIKE, width=48)}, "at least 49 pixels wide"),
        ("clip.mp4", {"codec": "h264", "like": replace(LIKE, bits=10)}, "as H.264 of 10 bits, which .* give --bits 8"),
        ("clip.avi", {"like": replace(LIKE, bits=10)}, "cannot hold 10 bits .* give --bits 8, or .mp4"),
        ("clip.webm", {"like": HDR}, r"would hold HDR .PQ. in 8 bits, which shows bands; give --bits 8 .* libsvtav1"),
        ("folder", {"codec": "libx264"}, "is no video, so it has no codec"),
        ("clip.png", {"quality": 3, "like": STILL}, "is no video, so it has no codec"),
        ("clip.mp4", {"like": replace(LIKE, width=20_000)}, "cannot be handled"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_left(name, options, message, tmp_path):
    frames = [np.concatenate([each, each[..., :1]], -1) for each in CLIP] if options.get("alpha") else CLIP
    with pytest.raises(VideoError, match=message) as error:
        save(tmp_path / name, frames, **options)
    assert "\n" not in str(error.value)
    assert not [*tmp_path.iterdir()]


def transparent(frames):
    """Add an alpha that has all levels, and is opaque in one corner and zero in another."""
    most = np.iinfo(frames[0].dtype).max
    alpha = np.tile(np.linspace(0, most, 64), (48, 1))
    alpha[:8, :8], alpha[-8:, -8:] = 0, most
    return [np.concatenate([each, np.rint(alpha)[..., None].astype(each.dtype)], -1) for each in frames]


def alpha_plane(path, decoder=None):
    """Return the alpha of the last frame, in [0, 1]. FFmpeg's own VP9 decoder ignores alpha."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        if decoder is None:
            frame = [*file.decode(stream)][-1]
        else:
            context = av.CodecContext.create(decoder, "r")
            context.extradata = stream.codec_context.extradata
            frame = [each for packet in file.demux(stream) if packet.size for each in context.decode(packet)][-1]
        depth = frame.format.components[3].bits
        if len(frame.planes) < 4:
            return frame.to_ndarray(format="rgba")[..., 3] / 255, frame
        plane = np.frombuffer(bytes(frame.planes[3]), np.uint16 if depth > 8 else np.uint8)
        rows = plane.reshape(frame.height, -1)[:, : frame.width]
        return rows / (2**depth - 1), frame


@pytest.mark.parametrize("frames", [CLIP, DEEP], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize(
    ("suffix", "codec", "decoder", "pixel_format"),
    [("mov", None, None, "yuva444p1"), ("webm", None, "libvpx-vp9", "yuva420p"), ("mkv", "ffv1", None, "")],
)
def test_alpha_survives(suffix, codec, decoder, pixel_format, frames, tmp_path):
    given = transparent(frames)
    like = replace(LIKE, bits=8 * frames[0].itemsize)
    path = save(tmp_path / f"clip.{suffix}", given, like, alpha=True, codec=codec)
    alpha, frame = alpha_plane(path, decoder)
    assert frame.format.name.startswith(pixel_format)
    expected = given[-1][..., 3] / np.iinfo(given[-1].dtype).max
    assert np.abs(alpha - expected).mean() < 0.004
    assert alpha[4, 4] == 0
    assert alpha[-4, -4] == 1
    colours = frame.to_ndarray(format="rgb24")
    assert near(colours[8:, 8:40], CLIP[-1][8:, 8:40], 5), "straight, not premultiplied"


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [
        ("mp4", None, "yuv420p10le"),
        ("mov", None, "yuv420p10le"),
        ("mkv", None, "yuv420p10le"),
        ("mp4", "libx265", "yuv420p10le"),
        ("mov", "prores_ks", "yuv422p10le"),
        ("webm", "libsvtav1", "yuv420p10le"),
        ("mkv", "ffv1", "gbrp16le"),
        ("mp4", "libsvtav1", "yuv420p10le"),
        ("mp4", "mpeg4", "yuv420p"),
    ],
)
def test_10_bits_stay_10_bits(suffix, codec, pixel_format, tmp_path):
    ramp = np.tile(np.linspace(10_000, 20_000, 64).astype(np.uint16)[:, None], (48, 1, 3))
    path = save(tmp_path / f"clip.{suffix}", [ramp] * 5, replace(LIKE, bits=10), codec=codec)
    name, given, tag, _ = stream_of(path)
    assert given == pixel_format
    if name == "hevc" and suffix != "mkv":
        assert tag == "hvc1", "what Apple's players open"
    pixels, _, properties = read(path)
    if properties.bits == 8:
        pixels = pixels.astype(np.uint16) * 257
    levels = len(np.unique(pixels[2, 24, :, 1]))
    assert levels <= 45 if codec == "mpeg4" else levels > 50
    assert np.abs(pixels[2].astype(int) - ramp).mean() < (700 if codec == "mpeg4" else 100)
    if codec == "ffv1":
        np.testing.assert_array_equal(pixels[0], ramp)


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
def test_8_bit_frames_in_a_deep_file_and_the_other_way_round(codec, tmp_path):
    for bits, frames in ((10, CLIP), (8, DEEP)):
        path = save(tmp_path / "clip.mkv", frames, LIKE, codec=codec, bits=bits)
        pixels, _, properties = read(path)
        assert properties.bits == (8 if bits == 8 else 16 if codec == "ffv1" else 10)
        assert near(pixels / (1 if bits == 8 else 257), CLIP)
        white = np.full((48, 64, 3), np.iinfo(frames[0].dtype).max, frames[0].dtype)
        pixels = read(save(tmp_path / "clip.mkv", [white], LIKE, codec=codec, bits=bits))[0]
        assert pixels.min() == np.iinfo(pixels.dtype).max


@pytest.mark.parametrize(("level", "luma"), [(65535, 940), (32896, 504), (0, 64)])
def test_16_bit_frames_are_no_brighter_in_a_video(level, luma, tmp_path):
    frame = np.full((48, 64, 3), level, np.uint16)
    path = save(tmp_path / "clip.mp4", [frame], LIKE, quality=0, codec="libx264", bits=10)
    with av.open(str(path)) as file:
        plane = next(file.decode(video=0)).planes[0]
    assert np.frombuffer(bytes(plane), np.uint16)[:32].tolist() == [luma] * 32


STRIPES = np.tile(np.repeat(PATCHES, 16, 0), (48, 1, 1)).astype(np.uint8)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [BT601, BT709, BT2020])
@pytest.mark.parametrize(
    ("suffix", "codec", "finely"),
    [
        ("mp4", "libx264", {"quality": 4}),
        ("mkv", "libx265", {"quality": 4}),
        ("mov", "prores_ks", {}),
        ("webm", "libvpx-vp9", {"quality": 4}),
        ("webm", "libsvtav1", {"quality": 4}),
        ("avi", "libx264", {"quality": 4}),
        ("avi", "mpeg4", {"mbps": 4}),
        ("mp4", "mpeg4", {"mbps": 4}),
    ],
)
def test_colours_and_their_fields(suffix, codec, finely, matrix, full_range, bits, tmp_path):
    colour = Colour(matrix=matrix, full_range=full_range, primaries=9, transfer=16)
    like = replace(LIKE, width=128, bits=bits, colour=colour)
    frame = STRIPES if bits == 8 else STRIPES.astype(np.uint16) * 257
    path = save(tmp_path / f"clip.{suffix}", [frame] * 2, like, codec=codec, bits=bits, **finely)
    pixels, _, properties = read(path)
    # An undeclared property is converted to the common assumption. ProRes and MPEG-4 have the limited range only.
    nothing_told = (suffix, codec) == ("avi", "mpeg4")
    matrix = BT601 if nothing_told else matrix
    full_range = full_range and codec not in ("prores_ks", "mpeg4")
    assert (properties.colour.matrix, properties.colour.full_range) == (matrix, full_range)
    errors = seen(pixels) - PATCHES
    assert np.abs(errors).max() < 6, errors
    assert np.abs(errors[[3, 4, 7]]).max() < 2, "white, black, grey"
    told = stream_of(path)[3]
    assert told[0] == (UNTOLD if nothing_told else matrix)
    if not nothing_told:
        assert told[2:] == (9, 16)


def test_an_untold_colour_is_told_but_for_what_nothing_depends_on(tmp_path):
    source = encode_clip(tmp_path / "in.mp4", [patches(BT601, False, 8)], pixel_format="yuv444p")
    assert stream_of(source)[3][0] == UNTOLD
    with open_source(source) as frames:
        path = save(tmp_path / "out.mp4", [each.pixels for each in frames], frames.properties)
    assert stream_of(path)[3] == (BT601, 1, UNTOLD, UNTOLD)


@pytest.mark.parametrize(
    ("before", "after"),
    [("mp4", "mp4"), ("mkv", "mp4"), ("mp4", "webm"), ("mkv", "mov"), ("ts", "mp4"), ("webm", "mkv"), ("mov", "mkv")],
)
@pytest.mark.parametrize("times", [TIMES, VARIABLE, [7 + each for each in VARIABLE]], ids=["even", "variable", "late"])
def test_a_round_trip_keeps_frames_times_rate_and_size(before, after, times, tmp_path):
    base = Fraction(1, 1000 if before in ("mkv", "webm") else 90000)
    arguments = {"codec": "libvpx-vp9"} if before == "webm" else {"options": {"bf": "2"}}
    source = encode_clip(
        tmp_path / f"in.{before}",
        CLIP[: len(times)],
        pts=[int(Fraction(each, 1000) / base) for each in times],
        time_base=base,
        container="mpegts" if before == "ts" else None,
        **arguments,
    )
    with open_source(source) as frames:
        like = frames.properties
        path = tmp_path / f"out.{after}"
        with open_sink(path, like, alpha=False) as sink:
            for frame in frames:
                sink.write(frame.pixels, frame.pts)
    first, _, before_all = read(source)
    second, _, after_all = read(path)
    assert second.shape == first.shape == (len(times), 48, 64, 3)
    assert near(second, first)
    assert seconds(path) == seconds(source)
    assert 0 < before_all.frame_rate <= 1000
    if times is TIMES:
        assert after_all.frame_rate == pytest.approx(25, rel=0.01)


def test_ntsc_rates_are_exact(tmp_path):
    rate = Fraction(30000, 1001)
    like = replace(LIKE, frame_rate=rate, time_base=1 / rate)
    for suffix in ("mp4", "mov", "avi"):
        path = save(tmp_path / f"clip.{suffix}", like=like, pts=range(12))
        assert read(path)[2].frame_rate == rate
        assert seconds(path) == [k / rate for k in range(12)]


def test_avi_puts_frames_at_the_nearest_of_an_even_rate(tmp_path):
    path = save(tmp_path / "clip.avi", CLIP[:5], pts=[0, 40, 90, 110, 160])
    assert near(read(path)[0], CLIP[:5])


@pytest.mark.parametrize(("width", "height"), [(63, 48), (64, 47), (63, 47), (1, 1), (2, 2), (17, 3)])
@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [
        ("mp4", "libx264", "yuv444p"),
        ("mkv", "libx265", "yuv444p"),
        ("webm", "libvpx-vp9", "yuv420p"),
        ("mkv", "ffv1", "bgr0"),
        ("avi", "mpeg4", "yuv420p"),
    ],
)
def test_odd_sizes(suffix, codec, pixel_format, width, height, tmp_path):
    frames = drawn(3, width, height)
    like = replace(LIKE, width=width, height=height)
    path = tmp_path / f"clip.{suffix}"
    try:
        save(path, frames, like, codec=codec)
    except VideoError as error:
        # H.265 has a minimum frame size.
        assert min(width, height) < 16
        assert str(path) in str(error)
        assert not path.exists()
        return
    pixels, _, properties = read(path)
    assert (properties.width, properties.height) == (width, height)
    assert near(pixels, frames, 6 if min(width, height) > 16 else 40)
    if width % 2 or height % 2:
        assert stream_of(path)[1] == pixel_format


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        *((name, channels) for name in ("clip.mkv", "folder", "still.png", "still.jpg") for channels in (1, 3)),
        ("folder", 4),
        ("still.png", 4),
    ],
)
def test_frames_of_another_size_are_scaled(name, channels, tmp_path):
    still = name.startswith("still")
    large = drawn(1 if still else 3, 128, 96)
    frames = {1: [each[..., 0] for each in large], 3: large, 4: [each[..., [0, 1, 2, 0]] for each in large]}[channels]
    path = save(tmp_path / name, frames, STILL if still else LIKE, alpha=channels == 4, grey=channels == 1)
    pixels, _, properties = read(path)
    assert (properties.width, properties.height) == (64, 48)
    expected = [
        np.asarray(Image.fromarray(each).resize((64, 48), Image.Resampling.BOX).convert("RGB")) for each in frames
    ]
    assert near(pixels, expected, 4)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_folder_of_png_is_exact(dtype, channels, tmp_path):
    most = int(np.iinfo(dtype).max)
    frames = np.random.default_rng(5).integers(0, most + 1, (12, 48, 64, channels)).astype(dtype)
    frames[:, :4], frames[:, 4:8] = most, 0
    given = frames[..., 0] if channels == 1 else frames
    path = save(
        tmp_path / "frames", given, replace(LIKE, bits=8 * frames.itemsize), alpha=channels == 4, grey=channels == 1
    )
    assert sorted(each.name for each in path.iterdir()) == [f"{k:04d}.png" for k in range(12)]
    for expected, file in zip(given, sorted(path.iterdir()), strict=True):
        with av.open(str(file)) as picture:
            (frame,) = picture.decode(video=0)
        names = {1: ("gray", "gray16be"), 3: ("rgb24", "rgb48be"), 4: ("rgba", "rgba64be")}
        assert frame.format.name == names[channels][dtype == np.uint16]
        native = frame.format.name.replace("be", "le")
        np.testing.assert_array_equal(frame.to_ndarray(format=native), expected)
        if dtype == np.uint8:
            np.testing.assert_array_equal(np.asarray(Image.open(file)), expected)


def test_pictures_have_the_given_names_and_no_two_the_same(tmp_path):
    """Use more frames than the encoder compresses at a time."""
    with open_sink(tmp_path / "frames", LIKE, alpha=False) as sink:
        for k, frame in enumerate(CLIP):
            sink.write(frame, k, f"shot_{1001 + 3 * k}")
    for k, frame in enumerate(CLIP):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"frames/shot_{1001 + 3 * k}.png")), frame)
    with open_sink(tmp_path / "frames", LIKE, alpha=False) as sink:
        sink.write(CLIP[0], 0, "7")
        with pytest.raises(VideoError, match=r"would hold two pictures called 7\.png; rename one of the inputs"):
            sink.write(CLIP[1], 1, "7")


def test_a_folder_replaces_one_of_png_only(tmp_path):
    path = save(tmp_path / "frames")
    assert len([*save(path, CLIP[:3]).iterdir()]) == 3
    (path / "notes.txt").write_text("mine")
    with pytest.raises(VideoError, match="holds more than PNG files"):
        save(path)
    assert (path / "notes.txt").read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["frames"]


def test_a_file_is_not_replaced_by_a_folder_nor_the_other_way_round(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "clip.mp4").mkdir()
    for name in ("file", "clip.mp4"):
        with pytest.raises(VideoError, match="give another name"):
            save(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", "file"]


def snapshot(folder):
    return {
        str(each.relative_to(folder)): None if each.is_dir() else each.read_bytes()
        for each in sorted(folder.rglob("*"))
    }


class Halt(BaseException):
    pass


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.webm", "frames", "still.png", "still.jpg"])
@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, Halt])
def test_an_exception_leaves_what_was_there(name, existing, error, tmp_path):
    path = tmp_path / name
    like = STILL if name.startswith("still") else LIKE
    if existing:
        save(path, CLIP[:1], like)
    before = snapshot(tmp_path)

    def failing():
        yield CLIP[1]
        raise error

    with pytest.raises(error):
        save(path, failing(), like)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", ["clip.mp4", "frames", "still.png", "still.jpg"])
def test_without_a_frame_nothing_is_written(name, tmp_path):
    with pytest.raises(VideoError, match="would hold no frame"):
        save(tmp_path / name, [], STILL if name.startswith("still") else LIKE)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["clip.mp4", "frames"])
def test_a_rename_that_fails_leaves_what_was_there(name, tmp_path, monkeypatch):
    path = save(tmp_path / name, CLIP[:2])
    before = snapshot(tmp_path)
    replace_path = type(path).replace

    def failing(self, target):
        if target == path and self.name.startswith(".") and not self.name.endswith("-old"):
            raise OSError(28, "No space left on device")
        return replace_path(self, target)

    monkeypatch.setattr(type(path), "replace", failing)
    with pytest.raises(VideoError, match="No space left"):
        save(path)
    assert snapshot(tmp_path) == before


def test_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / "frames"

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_bytes", full)
    with pytest.raises(VideoError, match=r"cannot write .*frames: No space left on device"):
        save(path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["clip.mp4", "frames", "still.png"])
def test_a_place_that_cannot_be_written_to(name, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(VideoError, match=r"cannot write .*; give another place"):
        save(tmp_path / "file" / name, CLIP[:1], STILL)
    with pytest.raises(VideoError, match="cannot write"):
        save(tmp_path / ("x" * 300 + name), CLIP[:1], STILL)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["clip.mp4", "frames"])
def test_a_folder_without_permission(name, tmp_path, monkeypatch):
    def denied(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "touch", denied)
    monkeypatch.setattr(type(tmp_path), "mkdir", denied)
    with pytest.raises(VideoError, match="Permission denied; give another place"):
        save(tmp_path / name)


@pytest.mark.parametrize("name", ["still.png", "still.jpg", "still.JPEG"])
def test_a_picture_is_one(name, tmp_path):
    path = save(tmp_path / name, CLIP[:1], STILL)
    assert near(read(path)[0], CLIP[:1], 2)
    before = snapshot(tmp_path)
    with pytest.raises(VideoError, match="holds one picture only"):
        save(path, CLIP[:2], STILL)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", ["clip.mkv", "clip.webm", "still.jpg", "still.png"])
def test_grey(name, dtype, tmp_path):
    grey = [each[..., 0].astype(dtype) * (257 if dtype == np.uint16 else 1) for each in CLIP]
    like = replace(STILL if name.startswith("still") else LIKE, bits=8 * grey[0].itemsize)
    pixels, _, properties = read(save(tmp_path / name, grey[: like.frames], like, grey=True))
    scale = 257 if properties.bits > 8 else 1
    assert near(pixels / scale, [np.repeat(each[..., :1], 3, -1) for each in CLIP[: like.frames]])
    assert np.abs(pixels.astype(int) - pixels[..., :1]).max() <= 2 * scale, "no colour"


def test_frames_need_not_be_contiguous_nor_are_they_changed(tmp_path):
    frames = [np.asfortranarray(each)[::-1] for each in DEEP]
    before = [each.copy() for each in frames]
    for like in (LIKE, replace(LIKE, bits=10)):
        pixels = read(save(tmp_path / "clip.mkv", frames, like))[0]
        assert near(pixels / (257 if like.bits > 8 else 1), [each[::-1] for each in CLIP])
    for one, other in zip(frames, before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("pixels", "pts"),
    [
        (CLIP[0][..., :2], 40),
        (CLIP[0][..., 0], 40),
        (CLIP[0].astype(np.float32), 40),
        (CLIP[0], 0),
        (CLIP[0], -40),
    ],
)
def test_a_wrong_frame(pixels, pts, tmp_path):
    with pytest.raises(ValueError, match=r"clip\.mkv"):
        save(tmp_path / "clip.mkv", [CLIP[0], pixels], pts=[0, pts])
    assert not [*tmp_path.iterdir()]


def test_the_width_of_a_pixel_is_kept(tmp_path):
    like = replace(LIKE, pixel_aspect=Fraction(4, 3))
    # Not in WebM: PyAV cannot set it there.
    for suffix in ("mp4", "mkv", "mov", "avi"):
        assert read(save(tmp_path / f"clip.{suffix}", like=like))[2].pixel_aspect == Fraction(4, 3)


# Sound.


def with_sound(path, codec, seconds=2.0, click=1.0, begin=0.0, **changes):
    frames = drawn(50, 64, 48)
    sound = Sound(codec=codec, seconds=seconds, click=click, begin=begin)
    base = Fraction(1, 1000) if path.suffix == ".mkv" else Fraction(1, 90000)
    pts = [round(k / 25 / base) for k in range(50)]
    container = "mpegts" if path.suffix == ".ts" else None
    return encode_clip(path, frames, sound=sound, pts=pts, time_base=base, container=container, **changes)


def copy(source, path, **window):
    with (
        open_source(source, **window) as frames,
        open_sink(path, frames.properties, alpha=False, tracks=frames.tracks) as sink,
    ):
        for frame in frames:
            sink.write(frame.pixels, frame.pts)
    return path


def sound_packets(path, track=0):
    """Return the codec, and times and bytes of the packets."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[track]
        packets = [packet for packet in file.demux(stream) if packet.size]
        return stream.codec_context.name, [(packet.pts * packet.time_base, bytes(packet)) for packet in packets]


def clicks_at(path):
    """Return the seconds from the first video frame to the click."""
    with av.open(str(path)) as file:
        loudest = max(
            file.decode(audio=0), key=lambda frame: float(np.abs(frame.to_ndarray().astype(np.float64)).max())
        )
        wave = np.abs(loudest.to_ndarray().astype(np.float64))[0]
        at = float(loudest.pts * loudest.time_base) + int((wave > wave.max() / 2).argmax()) / 48000
        file.seek(0)
        first = next(file.decode(video=0))
    return at - float(first.pts * first.time_base)


@pytest.mark.parametrize(
    ("before", "codec", "after"),
    [
        ("mp4", "aac", "mp4"),
        ("mp4", "aac", "mkv"),
        ("mkv", "libopus", "webm"),
        ("mkv", "libopus", "mp4"),
        ("mov", "pcm_s16le", "mov"),
        ("mov", "pcm_s16le", "mkv"),
        ("ts", "aac", "mkv"),
        ("mkv", "flac", "mp4"),
        ("mkv", "pcm_s16le", "mp4"),
        ("mkv", "ac3", "mp4"),
        ("mkv", "eac3", "mp4"),
        ("mkv", "ac3", "mkv"),
    ],
)
def test_sound_is_copied_packet_by_packet_and_in_time(before, codec, after, tmp_path):
    source = with_sound(tmp_path / f"in.{before}", codec)
    path = copy(source, tmp_path / f"out.{after}")
    (name, given), (same, copied) = sound_packets(source), sound_packets(path)
    assert name == same
    if before != "ts":  # where each packet has a header
        if (codec, after) == ("aac", "mkv"):  # AAC begins before 0, which Matroska cannot tell
            given = given[1:]
        assert b"".join(content for _, content in copied) == b"".join(content for _, content in given)
    if not codec.startswith("pcm"):  # which has no packets of its own
        assert len(copied) == len(given)
    assert clicks_at(path) == pytest.approx(clicks_at(source), abs=0.002)
    assert clicks_at(path) == pytest.approx(1, abs=0.03)
    assert len(seconds(path)) == 50


@pytest.mark.parametrize("after", ["mp4", "mov", "mkv", "webm"])
def test_sound_does_not_move_the_frames(after, tmp_path):
    """Copy AAC, which begins before 0. For a container without negative times, a muxer would shift everything else."""
    source = with_sound(tmp_path / "in.mp4", "aac" if after != "webm" else "libopus")
    exact = 0 if after in ("mp4", "mov") else 0.0005
    assert seconds(copy(source, tmp_path / f"out.{after}")) == pytest.approx(seconds(source), abs=exact)


@pytest.mark.parametrize(
    ("window", "click"),
    [({"start": 0.4}, 0.6), ({"end": 1.4}, 1), ({"start": 0.52, "end": 1.6}, 0.48), ({"max_frames": 35}, 1)],
)
@pytest.mark.parametrize(
    ("before", "codec", "after"),
    [("mp4", "aac", "mp4"), ("mkv", "libopus", "webm"), ("mov", "pcm_s16le", "mov"), ("ts", "aac", "mkv")],
)
def test_sound_is_cut_with_the_frames(before, codec, after, window, click, tmp_path):
    path = copy(with_sound(tmp_path / f"in.{before}", codec), tmp_path / f"out.{after}", **window)
    assert clicks_at(path) == pytest.approx(click, abs=0.03)
    times = [time for time, _ in sound_packets(path)[1]]
    length = len(seconds(path)) / 25
    assert -0.05 < times[0] < 0.05
    assert length - 0.1 < times[-1] < length + 0.05
    assert all(one < other for one, other in pairwise(times))


def test_sound_that_begins_later_still_does(tmp_path):
    source = with_sound(tmp_path / "in.mkv", "libopus", seconds=1, click=1, begin=0.5)
    assert clicks_at(copy(source, tmp_path / "out.mkv")) == pytest.approx(1, abs=0.03)
    assert clicks_at(copy(source, tmp_path / "out.mkv", start=0.2)) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("before", "codec", "after"),
    [("mkv", "pcm_s16le", "webm"), ("mp4", "aac", "webm"), ("mkv", "pcm_s16be", "avi")],
)
def test_sound_that_the_container_cannot_hold_is_left_out_with_a_warning(before, codec, after, tmp_path):
    source = with_sound(tmp_path / f"in.{before}", codec)
    with pytest.warns(UserWarning, match=rf"out\.{after} cannot hold {codec} sound, which is left out") as told:
        path = copy(source, tmp_path / f"out.{after}")
    assert len(told) == 1
    assert "\n" not in str(told[0].message)
    with av.open(str(path)) as file:
        assert not file.streams.audio
    assert len(read(path)[0]) == 50


def test_a_folder_of_png_has_no_sound_and_needs_no_warning(tmp_path):
    source = with_sound(tmp_path / "in.mp4", "aac")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len([*copy(source, tmp_path / "frames").iterdir()]) == 50


def test_two_tracks_are_both_copied(tmp_path):
    source = tmp_path / "in.mkv"
    sounds = [Sound(codec="libopus", seconds=1, click=0.5), Sound(codec="aac", seconds=1, click=0.2)]
    with av.open(str(source), "w") as file:
        video = file.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tracks = [each.add(file) for each in sounds]
        for frame in CLIP:
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame)))
        file.mux(video.encode(None))
        for sound, track in zip(sounds, tracks, strict=True):
            file.mux(sound.encode(track))
    path = copy(source, tmp_path / "out.mkv")
    for track in range(2):
        assert sound_packets(path, track)[0] == sound_packets(source, track)[0]
        given = [content for _, content in sound_packets(source, track)[1]]
        assert [content for _, content in sound_packets(path, track)[1]] == given[1 if track else 0 :]
