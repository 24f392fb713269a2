"""Sources and sinks, each on small videos made here by PyAV itself: what goes in comes out, and damage is told."""

import re
import shutil
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from av.codec.context import CodecContext
from av.video.reformatter import VideoReformatter
from PIL import Image

from rvm_model.colour import SRGB, Colour, VideoError
from rvm_model.frames import Properties
from rvm_model.sink import open_sink
from rvm_model.source import open_source

WIDTH, HEIGHT = 64, 48
PATCHES = np.array([[200, 60, 40], [40, 180, 70], [50, 70, 210], [128, 128, 128]], np.uint8)
"""Colours of the four vertical bars of a test picture."""


def picture(k=0, width=WIDTH, height=HEIGHT, channels=3):
    """Four bars, and a bright square at the top left that moves down two lines a frame."""
    pixels = np.repeat(PATCHES[np.arange(width) * 4 // width][None], height, axis=0)
    top = 2 * k % (height // 2)
    pixels[top : top + 8, :8] = 255
    return np.concatenate([pixels, pixels[..., :1]], axis=2) if channels == 4 else pixels


def properties(**changes):
    return Properties(
        **{
            "width": WIDTH,
            "height": HEIGHT,
            "frame_rate": Fraction(24),
            "time_base": Fraction(1, 24000),
            "bits": 8,
            "colour": Colour(matrix=1, full_range=False, primaries=1, transfer=1),
            "frames": None,
            "still": False,
            **changes,
        }
    )


def write(path, frames=30, like=None, stamps=None, alpha=False, **options):
    like = like or properties()
    step = round(1 / (like.frame_rate * like.time_base))
    stamps = [k * step for k in range(frames)] if stamps is None else stamps
    with open_sink(path, like, alpha, **options) as sink:
        for k, pts in enumerate(stamps):
            pixels = picture(k, like.width, like.height, 4 if alpha else 3)
            sink.write(pixels if like.bits == 8 else pixels.astype(np.uint16) * 257, pts)
    return path


def read(path, **options):
    with open_source(path, **options) as source:
        frames = list(source)
        return source, frames


def times(source, frames):
    return [frame.pts * source.properties.time_base for frame in frames]


def bars(pixels):
    """The colours at the middle of the bars, in 0..255."""
    middle = pixels[pixels.shape[0] * 3 // 4, [pixels.shape[1] * (2 * k + 1) // 8 for k in range(4)]]
    return middle.astype(float) / (257 if pixels.dtype == np.uint16 else 1)


def with_sound(path, codec="aac", seconds=1.25, video="libx264"):
    """A video of 24 frames a second, with a tone beside it."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(video, rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = output.add_stream(codec, rate=48000)
        output.start_encoding()
        for k in range(round(24 * seconds)):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture(k), "rgb24")))
        output.mux(stream.encode())
        size = sound.codec_context.frame_size or 1024
        for k in range(round(48000 * seconds) // size):
            tone = np.sin(np.arange(size * k, size * k + size) * 0.05).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), "fltp", "stereo")
            frame.sample_rate, frame.pts = 48000, size * k
            resampled = av.AudioResampler(sound.codec_context.format.name, "stereo", 48000).resample(frame)
            for part in resampled:
                output.mux(sound.encode(part))
        output.mux(sound.encode())
    return path


def raw_stream(path, frames, size):
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for k in range(frames):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture(k, *size), "rgb24")))
        output.mux(stream.encode())
    return path


def sound_packets(path):
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(stream) if p.pts is not None]


# Timestamps, size, rate.


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_timestamps_of_a_variable_rate_stay(tmp_path, suffix):
    steps = np.random.default_rng(0).integers(300, 3000, 40)
    stamps = [1000, *(1000 + np.cumsum(steps)).tolist()]
    first, frames = read(write(tmp_path / "first.mp4", stamps=stamps))
    assert [round(t * 24000) for t in times(first, frames)] == stamps
    with (
        open_source(tmp_path / "first.mp4") as source,
        open_sink(tmp_path / f"second{suffix}", source.properties, alpha=False) as sink,
    ):
        for frame in source:
            sink.write(frame.pixels, frame.pts)
    second, again = read(tmp_path / f"second{suffix}")
    # Matroska counts milliseconds: half of one at most, and no drift.
    limit = Fraction(1, 2000) if suffix in (".mkv", ".webm") else 0
    assert len(again) == 41
    assert all(abs(a - b) <= limit for a, b in zip(times(first, frames), times(second, again), strict=True))
    assert second.loss is None


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001)])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
def test_size_rate_and_count_stay(tmp_path, suffix, rate):
    like = properties(frame_rate=rate, time_base=1 / rate)
    source, frames = read(write(tmp_path / f"clip{suffix}", like=like))
    shown = source.properties
    assert (shown.width, shown.height, len(frames), shown.still) == (WIDTH, HEIGHT, 30, False)
    assert abs(shown.frame_rate / rate - 1) < 1e-3
    assert shown.frames in (30, None)
    assert np.abs(bars(frames[7].pixels) - PATCHES).max() < 8
    assert source.loss is None


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm", "a.mkv", "a.avi", "folder", "hevc.mp4", "prores.mov"])
@pytest.mark.parametrize("size", [(63, 47), (64, 47), (33, 48)])
def test_odd_sizes_stay(tmp_path, name, size):
    codec = {"hevc.mp4": "libx265", "prores.mov": "prores_ks"}.get(name)
    size = (size[0] + 64, size[1] + 64) if codec == "libx265" else size
    like = properties(width=size[0], height=size[1])
    _, frames = read(write(tmp_path / name, 3, like, codec=codec))
    assert {frame.pixels.shape for frame in frames} == {(size[1], size[0], 3)}
    assert np.abs(bars(frames[1].pixels) - PATCHES).max() < 12


def test_avi_gets_the_nearest_of_its_ticks(tmp_path):
    stamps = [0, 1010, 1990, 3000, 5000, 6000]
    source, frames = read(write(tmp_path / "clip.avi", stamps=stamps))
    assert times(source, frames)[:4] == [Fraction(k, 24) for k in range(4)]


def test_raw_streams_are_counted(tmp_path):
    source, frames = read(raw_stream(tmp_path / "clip.h264", 30, (WIDTH, HEIGHT)))
    assert times(source, frames) == [Fraction(k, 24) for k in range(30)]


def test_a_transport_stream_counts_from_its_beginning(tmp_path):
    with_sound(tmp_path / "clip.ts")
    source, frames = read(tmp_path / "clip.ts")
    assert len(frames) == 30
    assert times(source, frames)[0] < Fraction(1, 10)
    assert {b - a for a, b in zip(times(source, frames), times(source, frames)[1:], strict=False)} == {Fraction(1, 24)}


# The part that is asked for.


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm"])
def test_start_end_and_most_frames(tmp_path, suffix):
    _, frames = read(write(tmp_path / f"clip{suffix}"))
    part, cut = read(tmp_path / f"clip{suffix}", start=0.5, end=1)
    assert len(cut) == 12
    assert abs(times(part, cut)[0]) <= Fraction(1, 1000)
    assert all((a.pixels == b.pixels).all() for a, b in zip(frames[12:24], cut, strict=True))
    assert part.loss is None
    assert len(read(tmp_path / f"clip{suffix}", start=0.5, max_frames=5)[1]) == 5


@pytest.mark.parametrize("options", [{"start": 2}, {"start": 1, "end": 1}, {"start": -1}, {"max_frames": 0}])
def test_a_part_without_frames(tmp_path, options):
    with pytest.raises(VideoError):
        read(write(tmp_path / "clip.mp4"), **options)


def test_resize(tmp_path):
    source, frames = read(write(tmp_path / "clip.mp4"), resize=(30, 20))
    assert (source.properties.width, source.properties.height) == (30, 20)
    assert frames[0].pixels.shape == (20, 30, 3)
    assert np.abs(bars(frames[0].pixels) - PATCHES).max() < 12


# Rotation.

TURNS = {
    "90 left": ([0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30], lambda a: np.rot90(a)),
    "90 right": ([0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30], lambda a: np.rot90(a, -1)),
    "180": ([-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30], lambda a: np.rot90(a, 2)),
    "mirrored": ([-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30], lambda a: a[:, ::-1]),
    "transposed": ([0, 65536, 0, 65536, 0, 0, 0, 0, 1 << 30], lambda a: a.swapaxes(0, 1)),
}


def turn(path, matrix):
    """Writes a display matrix into the track header of an MP4 made here."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    content[at : at + 36] = np.array(matrix, ">i4").tobytes()
    path.write_bytes(content)


@pytest.mark.parametrize("name", TURNS)
def test_frames_come_upright(tmp_path, name):
    matrix, expected = TURNS[name]
    like = properties(pixel_aspect=Fraction(2))
    _, straight = read(write(tmp_path / "clip.mp4", 5, like))
    turn(tmp_path / "clip.mp4", matrix)
    source, frames = read(tmp_path / "clip.mp4")
    upright = expected(straight[0].pixels)
    assert (frames[0].pixels == upright).all()
    assert (source.properties.height, source.properties.width) == upright.shape[:2]
    assert source.properties.pixel_aspect == (2 if upright.shape[:2] == (HEIGHT, WIDTH) else Fraction(1, 2))
    small = read(tmp_path / "clip.mp4", resize=(20, 10))[1][0].pixels
    assert small.shape == (10, 20, 3)
    with open_sink(tmp_path / "out.mp4", source.properties, alpha=False) as sink:
        for frame in frames:
            sink.write(frame.pixels, frame.pts)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert {frame.rotation for frame in container.decode(video=0)} == {0}
    again, _ = read(tmp_path / "out.mp4")
    assert again.properties.pixel_aspect == source.properties.pixel_aspect


# Colours.

WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}


def planes(colour, rgb, bits=8):
    """What the standards say of a colour: Y, Cb, Cr as the file must hold them."""
    red, blue = WEIGHTS[colour.matrix]
    r, g, b = np.asarray(rgb, float) / 255
    y = red * r + (1 - red - blue) * g + blue * b
    scale = 2 ** (bits - 8)
    luma, chroma, black = (255, 255, 0) if colour.full_range else (219, 224, 16)
    cb, cr = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    return np.array([black + luma * y, 128 + chroma * cb, 128 + chroma * cr]) * scale


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_matrix_and_range_are_computed_with_and_kept(tmp_path, matrix, full_range, bits):
    colour = Colour(matrix=matrix, full_range=full_range, primaries=matrix, transfer=1)
    path = write(tmp_path / "clip.mp4", 3, properties(colour=colour, bits=bits), quality=0)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name in {8: ("yuv420p", "yuvj420p"), 10: ("yuv420p10le",)}[bits]
    row = HEIGHT * 3 // 4
    for bar, rgb in enumerate(PATCHES):
        column = WIDTH * (2 * bar + 1) // 8
        held = [
            np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16)[
                (row // scale) * (plane.line_size // (1 if bits == 8 else 2)) + column // scale
            ]
            for plane, scale in zip(frame.planes, (1, 2, 2), strict=True)
        ]
        assert np.abs(held - planes(colour, rgb, bits)).max() <= 2 * 2 ** (bits - 8)
    source, frames = read(path)
    assert source.properties.colour == colour
    assert source.properties.bits == bits
    assert frames[0].pixels.dtype == {8: np.uint8, 10: np.uint16}[bits]
    assert np.abs(bars(frames[0].pixels) - PATCHES).max() <= 2


@pytest.mark.parametrize(
    ("name", "codec", "bits"),
    [("a.mov", "prores_ks", 10), ("a.mp4", "libx265", 10), ("a.mkv", "ffv1", 16), ("a.webm", None, 8), ("a", None, 16)],
)
def test_ten_bits_stay_where_the_codec_can(tmp_path, name, codec, bits):
    like = properties(bits=10, height=64, colour=Colour(matrix=9, full_range=False, primaries=9, transfer=16))
    source, frames = read(write(tmp_path / name, 4, like, codec=codec))
    assert source.properties.bits >= bits
    assert frames[0].pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert np.abs(bars(frames[0].pixels) - PATCHES).max() < 6
    kept = (source.properties.colour.primaries, source.properties.colour.transfer)
    assert kept == (9, 16) or name == "a"


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), 6), ((1280, 16), 1), ((16, 578), 1), ((1278, 576), 6)])
def test_what_is_assumed_of_an_untold_video(tmp_path, size, matrix):
    like = properties(width=size[0], height=size[1])
    path = tmp_path / "untold.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=24, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        frame = av.VideoFrame.from_ndarray(picture(0, *size), "rgb24")
        yuv = VideoReformatter().reformat(
            frame, format="yuv420p", src_color_range=2, dst_color_range=1, dst_colorspace={6: 5, 1: 1}[matrix]
        )
        yuv.colorspace = yuv.color_range = 0
        output.mux(stream.encode(yuv))
        output.mux(stream.encode())
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (2, 0), "the file tells nothing"
    source, frames = read(path)
    assert (source.properties.colour.matrix, source.properties.colour.full_range) == (matrix, False)
    assert np.abs(bars(frames[0].pixels) - PATCHES).max() < 4
    assert like.width == source.properties.width


def test_the_untold_real_clip_is_bt601(shared):
    """Its frames are beside it as pictures: BT.601 is nearer to them than what FFmpeg would make of it as BT.709."""
    _, frames = read(shared / "clip" / "clip.mp4")
    _, pictures = read(shared / "clip" / "frames")
    ours = np.mean([np.abs(a.pixels.astype(int) - b.pixels).mean() for a, b in zip(frames, pictures, strict=True)])
    with av.open(str(shared / "clip" / "clip.mp4")) as container:
        other = [f.to_ndarray(format="rgb24", src_colorspace=1, src_color_range=1) for f in container.decode(video=0)]
    theirs = np.mean([np.abs(a.astype(int) - b.pixels).mean() for a, b in zip(other, pictures, strict=True)])
    assert ours < 2.3
    assert ours < 0.75 * theirs


def test_a_matrix_that_is_not_known(tmp_path):
    write(tmp_path / "clip.mp4", 2, properties(colour=Colour(matrix=8, full_range=False, primaries=1, transfer=1)))
    with pytest.raises(VideoError, match=r"H\.273 number 8"):
        read(tmp_path / "clip.mp4")


# Alpha and grey.


def decode_alpha(path):
    """RGBA frames; of VP9 by libvpx, as FFmpeg's own decoder drops the alpha."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = CodecContext.create("libvpx-vp9", "r") if path.suffix == ".webm" else stream.codec_context
        packets = [packet for packet in container.demux(stream) if packet.size]
        frames = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
        return [frame.to_ndarray(format="rgba") for frame in frames]


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mov", {}), ("a.webm", {}), ("a.mkv", {"codec": "ffv1"}), ("b.mkv", {"codec": "libvpx-vp9"})],
)
def test_alpha_survives(tmp_path, name, options):
    path = write(tmp_path / name, 8, alpha=True, **options)
    frames = decode_alpha(
        path if "codec" not in options or options["codec"] == "ffv1" else path.rename(tmp_path / "b.webm")
    )
    assert len(frames) == 8
    for k, frame in enumerate(frames):
        assert np.abs(frame[..., 3].astype(int) - picture(k, channels=4)[..., 3]).mean() < 2


@pytest.mark.parametrize("bits", [8, 10])
def test_a_folder_holds_what_was_written(tmp_path, bits):
    write(tmp_path / "frames", 12, properties(bits=bits), alpha=True)
    assert sorted(file.name for file in (tmp_path / "frames").iterdir()) == [f"{k:04d}.png" for k in range(12)]
    _, frames = read(tmp_path / "frames")
    for k, frame in enumerate(frames):
        assert (frame.pixels == picture(k).astype(frame.pixels.dtype) * (1 if bits == 8 else 257)).all()
    with Image.open(tmp_path / "frames" / "0003.png") as image:
        assert image.mode == "RGBA"
        if bits == 8:
            assert (np.asarray(image) == picture(3, channels=4)).all()


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", None), ("a.webm", None), ("a.mov", "prores_ks"), ("a", None)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey(tmp_path, name, codec, dtype):
    ramp = np.tile(np.linspace(0, 255, WIDTH).round().astype(dtype), (HEIGHT, 1)) * dtype(
        1 if dtype is np.uint8 else 257
    )
    like = properties(bits=8 * np.dtype(dtype).itemsize)
    with open_sink(tmp_path / name, like, alpha=False, grey=True, codec=codec) as sink:
        for k in range(4):
            sink.write(ramp, 1000 * k)
    _, frames = read(tmp_path / name)
    scale = 257 if frames[2].pixels.dtype == np.uint16 else 1
    back = frames[2].pixels.astype(float) / scale
    assert np.abs(back - np.linspace(0, 255, WIDTH)[None, :, None]).mean() < 2


# Pictures.


def test_one_picture_in_and_out(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "in.png")
    with open_source(tmp_path / "in.png") as source:
        (frame,) = source
        assert source.properties == properties(
            frame_rate=Fraction(30), time_base=Fraction(1, 30), colour=SRGB, frames=1, still=True
        )
        for name, alpha in (("out.png", False), ("alpha.png", True), ("out.jpg", False), ("out.mp4", False)):
            with open_sink(tmp_path / name, source.properties, alpha) as sink:
                sink.write(picture(channels=4 if alpha else 3), frame.pts)
            _, (back,) = read(tmp_path / name)
            assert np.abs(bars(back.pixels) - PATCHES).max() < 6
    with pytest.raises(VideoError, match="cannot hold alpha"), open_sink(tmp_path / "a.jpg", source.properties, True):
        pass


def test_a_picture_is_turned_as_its_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture()).save(tmp_path / "in.jpg", exif=exif, quality=95)
    _, (frame,) = read(tmp_path / "in.jpg")
    assert frame.pixels.shape == (WIDTH, HEIGHT, 3)
    assert frame.pixels[:8, -8:].mean() > 240, "the bright square is at the top right"


def test_pictures_of_16_bits(tmp_path):
    write(tmp_path / "deep", 3, properties(bits=16))
    source, frames = read(tmp_path / "deep", resize=(32, 24))
    assert source.properties.bits == 16
    assert frames[1].pixels.shape == (24, 32, 3)
    assert np.abs(bars(frames[1].pixels) - PATCHES).max() < 2


def test_a_folder_of_two_sizes_ends_there(tmp_path):
    write(tmp_path / "frames", 5)
    Image.new("RGB", (8, 8)).save(tmp_path / "frames" / "0003.png")
    source, frames = read(tmp_path / "frames")
    assert len(frames) == 3
    assert "0003.png is 8x8" in source.loss
    shutil.copy(tmp_path / "frames" / "0000.png", tmp_path / "frames" / "0003.png")
    (tmp_path / "frames" / "0004.png").write_bytes(b"no picture")
    source, frames = read(tmp_path / "frames", max_frames=5)
    assert len(frames) == 4
    assert "cannot read" in source.loss


# Sound.


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".mkv", "aac"), (".mov", "aac"), (".webm", "libopus")])
def test_sound_is_copied_byte_by_byte(tmp_path, suffix, codec):
    original = with_sound(tmp_path / f"in{'.mkv' if codec == 'libopus' else '.mp4'}", codec)
    copy(original, tmp_path / f"out{suffix}")
    before, after = sound_packets(original), sound_packets(tmp_path / f"out{suffix}")
    if suffix == ".mkv":
        assert before.pop(0)[0] < 0, "the packet with which AAC starts early"
    assert [packet for _, packet in after] == [packet for _, packet in before]
    assert times(*read(original)) == pytest.approx(times(*read(tmp_path / f"out{suffix}")), abs=6e-4)
    assert all(abs(a - b) <= Fraction(1, 1000) for (a, _), (b, _) in zip(after, before, strict=True))


def copy(path, output, **window):
    with (
        open_source(path, **window) as source,
        open_sink(output, source.properties, alpha=False, audio=source.audio) as sink,
    ):
        for frame in source:
            sink.write(frame.pixels, frame.pts)


def test_sound_is_cut_like_the_video(tmp_path):
    original = with_sound(tmp_path / "in.mp4", seconds=5)
    copy(original, tmp_path / "out.mp4", start=2, end=3)
    before, after = sound_packets(original), sound_packets(tmp_path / "out.mp4")
    expected = [(time - 2, packet) for time, packet in before if 2 <= time < 3]
    assert [packet for _, packet in after] == [packet for _, packet in expected]
    assert all(abs(a - b) <= Fraction(1, 20000) for (a, _), (b, _) in zip(after, expected, strict=True))


def test_sound_ends_with_the_last_of_so_many_frames(tmp_path):
    original = with_sound(tmp_path / "in.mp4", seconds=5)
    copy(original, tmp_path / "out.mp4", max_frames=24)
    assert Fraction(95, 100) < sound_packets(tmp_path / "out.mp4")[-1][0] < 1


def test_sound_that_the_container_cannot_hold(tmp_path):
    original = with_sound(tmp_path / "in.mp4")
    with pytest.warns(UserWarning, match="cannot hold aac sound"):
        copy(original, tmp_path / "out.webm")
    source, frames = read(tmp_path / "out.webm")
    assert len(frames) == 30
    assert source.audio is None


# Damage.


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.mp4"])
def test_a_truncated_file_gives_what_it_holds(tmp_path, name):
    path = write(tmp_path / name, 40)
    if name == "a.mp4":
        with (
            av.open(str(path)) as whole,
            av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as fast,
        ):
            stream = fast.add_stream_from_template(whole.streams.video[0])
            for packet in whole.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    fast.mux(packet)
        path = tmp_path / "fast.mp4"
    content = path.read_bytes()
    begin = content.find(b"mdat") + 1
    path.write_bytes(content[: begin + (len(content) - begin) * 7 // 10])
    source, frames = read(path)
    assert 0 < len(frames) < 38
    assert source.loss is not None
    # Of frames that are stored out of order, the one that is cut may come before the last.
    after = int(re.search(r"after frame (\d+) ", source.loss)[1])
    assert len(frames) - 3 <= after <= len(frames)
    assert "\n" not in source.loss


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm"])
def test_flipped_bits_crash_nothing(tmp_path, suffix):
    path = write(tmp_path / f"clip{suffix}", 24)
    whole = path.read_bytes()
    random = np.random.default_rng(7)
    lost = 0
    for _ in range(12):
        content = np.frombuffer(whole, np.uint8).copy()
        at = random.integers(len(content) // 5, len(content) * 4 // 5, 6)
        content[at] ^= random.integers(1, 256, 6).astype(np.uint8)
        path.write_bytes(content.tobytes())
        try:
            source, frames = read(path)
            lost += source.loss is not None
            assert all(a.pts < b.pts for a, b in pairwise(frames))
        except VideoError as error:
            assert "\n" not in str(error)
            lost += 1
    assert lost or suffix == ".avi", "of twelve times, some damage is seen; in AVI little can be"


def test_another_size_in_mid_stream(tmp_path):
    for name, size in (("a.h264", (64, 48)), ("b.h264", (48, 32))):
        raw_stream(tmp_path / name, 10, size)
    both = tmp_path / "both.h264"
    both.write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    source, frames = read(both)
    assert len(frames) == 10
    assert "changes from 64x48 to 48x32 after frame 10" in source.loss


def test_no_such_file(tmp_path):
    with pytest.raises(VideoError, match="no such file"):
        read(tmp_path / "none.mp4")


def test_a_file_that_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    with pytest.raises(VideoError, match="as a video"):
        read(tmp_path / "text.mp4")


def test_sound_only(tmp_path):
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="no video in it"):
        read(tmp_path / "sound.wav")


def test_a_video_without_frames(tmp_path):
    path = write(tmp_path / "clip.mkv", 3)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(bytes.fromhex("1f43b675"))])
    with pytest.raises(VideoError):
        read(path)


@pytest.mark.parametrize(
    ("size", "message"), [((20000, 500), "20000x500"), ((20000, 20000), "larger ones than FFmpeg")]
)
def test_a_huge_frame_is_refused_before_decoding(tmp_path, size, message):
    avi = tmp_path / "huge.avi"
    with av.open(str(avi), "w") as output:
        stream = output.add_stream("rawvideo", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr24"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(picture(), "rgb24")))
    content = bytearray(avi.read_bytes())
    at = content.index(b"strf") + 12
    content[at : at + 8] = np.array(size, "<i4").tobytes()
    avi.write_bytes(content)
    with pytest.raises(VideoError, match=message):
        read(avi)


def test_the_body_keeps_its_own_errors(tmp_path):
    path = write(tmp_path / "clip.mp4", 3)
    with pytest.raises(PermissionError), open_source(path):
        raise PermissionError("ours")


# Sinks that cannot be, and what they leave.


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.xyz", {}, "ends in none of .mp4"),
        ("a.mp4", {"codec": "nothing"}, "no codec nothing .* give one of libx264"),
        ("a.webm", {"codec": "libx264"}, "a .webm file cannot hold it; give one of libvpx-vp9"),
        ("a.mp4", {"codec": "aac"}, "no codec aac"),
        ("a.mp4", {"alpha": True}, "cannot hold alpha; give a .mov"),
        ("a.mov", {"alpha": True, "codec": "libx264"}, "libx264 cannot hold alpha"),
        ("a.mp4", {"codec": "libx265"}, "at least 64 pixels"),
        ("a.mp4", {"quality": 52}, "quality 52 is not in 0"),
        ("a.webm", {"quality": 64}, "quality 64 is not in 0"),
        ("a.mp4", {"quality": 20, "mbps": 1.0}, "both a quality and a bit rate"),
        ("a.mov", {"codec": "prores_ks", "quality": 5}, "has no quality"),
        ("a.mov", {"codec": "prores_ks", "mbps": 5.0}, "has no bit rate"),
        ("a.mp4", {"mbps": 0.0}, "above 0"),
        ("folder", {"quality": 5}, "is no video"),
        ("a.png", {}, "holds one picture only"),
    ],
)
def test_what_cannot_be_written_is_said_at_once(tmp_path, name, options, message):
    with (
        pytest.raises(VideoError, match=message) as caught,
        open_sink(tmp_path / name, properties(), **{"alpha": False, **options}),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for name in ("file/a.mp4", "file", "folder.mp4", "mine", "x" * 300 + ".mp4"):
        with pytest.raises(VideoError), open_sink(tmp_path / name, properties(), alpha=False) as sink:
            sink.write(picture(), 0)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.mp4", "mine"]


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.mov", "folder", "deep/er/a.mkv"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(tmp_path, name, error):
    def interrupted():
        with open_sink(tmp_path / name, properties(), alpha=False) as sink:
            for k in range(10):
                sink.write(picture(k), 1000 * k)
            raise error

    with pytest.raises(error):
        interrupted()
    assert [file for file in tmp_path.rglob("*") if file.is_file() or file.name == "folder"] == []


def test_the_name_appears_at_the_end_and_replaces(tmp_path):
    for name in ("a.mp4", "folder"):
        for frames in (8, 4):
            before = (tmp_path / name).exists()
            with open_sink(tmp_path / name, properties(), alpha=False) as sink:
                for k in range(frames):
                    sink.write(picture(k), 1000 * k)
                assert (tmp_path / name).exists() == before
            assert len(read(tmp_path / name)[1]) == frames
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.mp4", "folder"]


def test_no_frame_is_no_file(tmp_path):
    with pytest.raises(VideoError, match="no frame"), open_sink(tmp_path / "a.mp4", properties(), alpha=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_wrong_frames_are_a_mistake_of_the_caller(tmp_path):
    with open_sink(tmp_path / "a.mp4", properties(), alpha=False) as sink:
        with pytest.raises(ValueError, match="takes uint8 or uint16"):
            sink.write(picture()[..., 0], 0)
        sink.write(picture(), 0)
        with pytest.raises(ValueError, match="does not come after"):
            sink.write(picture(), 0)


def test_quality_and_bit_rate_count(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, HEIGHT, WIDTH, 3), np.uint8)
    size = {}
    for name, options in {"good": {"quality": 10}, "bad": {"quality": 45}, "rate": {"mbps": 0.1}}.items():
        with open_sink(tmp_path / f"{name}.mp4", properties(), alpha=False, **options) as sink:
            for k, pixels in enumerate(noise):
                sink.write(pixels, 1000 * k)
        size[name] = (tmp_path / f"{name}.mp4").stat().st_size
    assert size["good"] > 4 * size["bad"]
    assert size["good"] > 2 * size["rate"]


def test_h265_has_the_name_that_apple_reads(tmp_path):
    with av.open(str(write(tmp_path / "a.mp4", 3, properties(height=64), codec="libx265"))) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"
