"""Clips from a folder, from a file and built in, and inputs that are no clips."""

import hashlib
import tracemalloc
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from parity_tests.clips import ClipError, builtin_clip, held_clip, load_clip
from parity_tests.shots import Decoded
from rvm_model.tests.clips import drawn, encode_clip


def write_frames(folder, count, size=(32, 24), change=True):
    folder.mkdir()
    for k in range(count):
        pixels = np.full((size[1], size[0], 3), 10 * k * change, np.uint8)
        Image.fromarray(pixels).save(folder / f"frame{k}.png")
    return folder


@pytest.mark.parametrize(
    ("size", "digest"),
    [
        ((320, 180), "d983a3599455b03cfe8e8acf2af231db00e6928fa340f144fee215165e0d87cb"),
        ((1280, 720), "a5ee2f057e1f6eb7a5f15708cf6fe923a5af10f121b03e9f580ed07fb3aea034"),
    ],
)
def test_the_builtin_clip_is_the_same_anywhere(size, digest):
    """Compare to the byte, on any machine. When this changes, raise the drawing's `VERSION`."""
    sha256 = hashlib.sha256()
    for images in builtin_clip(14, *size).images():
        sha256.update(np.ascontiguousarray(images).data)
    assert sha256.hexdigest() == digest


def test_the_builtin_clip_moves_and_is_cut():
    clip = builtin_clip()
    assert (len(clip), clip.size, clip.batch) == (24, (180, 320), 1)
    steps = np.abs(np.diff(clip.pixels.astype(int), axis=0)).mean((1, 2, 3, 4))
    assert steps.min() > 3
    assert steps.argmax() == 9, "the cut, after frame 9"


def test_the_builtin_clip_tells_its_truth():
    """Lay foreground over background in the proportion of alpha; two people at times, nobody in one frame."""
    opaque = []
    for t, shot in enumerate(builtin_clip(24, 640, 360).shots):
        assert shot.truth.pha.shape == (1, 1, 360, 640)
        assert shot.truth.fgr.shape == (1, 3, 360, 640)
        assert 0 <= shot.truth.pha.min() <= shot.truth.pha.max() <= 1
        solid = shot.truth.pha[0, 0] == 1
        opaque.append(solid.mean())
        if t == 10:
            assert not shot.truth.pha.any()
            continue
        noise = shot.images[0][solid] - shot.truth.fgr[0].transpose(1, 2, 0)[solid] * 255
        assert np.abs(noise).max() <= 8.5
        assert 0.01 < (shot.truth.pha % 1 > 0).mean() < 0.2, "hair, and soft edges"
    left, right = (solid_halves(t) for t in (0, 8))
    assert right[1] > left[1] + 0.05, "another comes in from the right"


def solid_halves(t):
    pha = builtin_clip().shots[t].truth.pha[0, 0]
    return [half.mean() for half in np.split(pha, 2, axis=1)]


@pytest.mark.long
def test_the_builtin_clip_is_drawn_at_each_size_not_enlarged():
    clip, large = builtin_clip(12), builtin_clip(12).fitted(1280, 720, 1)
    assert (large.pixels == builtin_clip(12, 1280, 720).pixels).all()
    assert (large.kind, large.batched(2).resized(64, 36).pixels.shape) == ("builtin", (12, 2, 36, 64, 3))
    # The pictures are the same, except for the noise and for edges within a pixel.
    again = np.array([large.pixels[k, 0].reshape(180, 4, 320, 4, 3).mean((1, 3)) for k in range(12)])
    assert np.abs(again - clip.pixels[:, 0]).mean() < 8


@pytest.mark.long
def test_a_long_clip_takes_the_memory_of_one_frame(monkeypatch):
    monkeypatch.setattr("parity_tests.shots._SMALL", 0)  # no frame is kept
    peaks = []
    for frames in (4, 24):
        tracemalloc.start()
        try:
            assert sum(1 for _ in builtin_clip(frames, 64, 36)) == frames
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_states_are_forgotten_now_and_then():
    clip = builtin_clip(901, 64, 36)
    assert [t for t in range(len(clip)) if clip.resets(t)] == [300, 600, 900]


def test_a_long_file_is_decoded_for_every_play(tmp_path, monkeypatch):
    folder = write_frames(tmp_path / "frames", 16)
    held = load_clip(folder)
    monkeypatch.setattr("parity_tests.clips._MOST_HELD", 1000)
    decoded = load_clip(folder)
    assert isinstance(decoded.shots, Decoded)
    assert (decoded.pixels == held.pixels).all()
    assert (decoded.shots[3].images == held.pixels[3]).all()
    assert (decoded.first(12).resized(16, 12).pixels == held.first(12).resized(16, 12).pixels).all()
    with pytest.raises(ClipError, match="too long to be played 2 times at once"):
        decoded.batched(2)


def test_large_frames_are_few_unless_a_number_was_asked_for():
    assert len(load_clip(None).fitted(1920, 1080, 1)) == 12
    assert len(load_clip(None, 24).fitted(1920, 1080, 1)) == 24
    assert len(load_clip(None).fitted(1280, 720, 1)) == 24


def test_the_same_pixels_have_the_same_digest(tmp_path):
    one, other = builtin_clip(12, 64, 48), held_clip("", builtin_clip(12, 64, 48).pixels)
    assert one.digest == builtin_clip(12, 64, 48).digest
    assert one.digest != builtin_clip(13, 64, 48).digest
    assert other.digest == held_clip("another name", other.pixels).digest
    changed = other.pixels.copy()
    changed[5, 0, 3, 3, 0] ^= 1
    assert other.digest != held_clip("", changed).digest
    assert len({other.digest, other.first(11).digest, other.batched(2).digest, other.resized(32, 24).digest}) == 4


def test_frames_are_float_images():
    frame = next(iter(builtin_clip()))
    assert (frame.shape, frame.dtype) == ((1, 3, 180, 320), np.float32)
    assert 0 <= frame.min() < frame.max() <= 1


def test_a_doubled_clip_holds_two_different_ones():
    double = builtin_clip(16).batched(2)
    assert next(iter(double)).shape == (2, 3, 180, 320)
    assert (double.pixels[:, 0] != double.pixels[:, 1]).any()


def test_a_resized_clip_has_its_size():
    assert builtin_clip(16).resized(331, 217).size == (217, 331)


def test_a_folder_is_read_in_natural_order(tmp_path):
    clip = load_clip(write_frames(tmp_path / "frames", 18), frames=17)
    assert clip.pixels[:, 0, 0, 0, 0].tolist() == [10 * k for k in range(17)]


def test_a_video_is_read(tmp_path):
    clip = builtin_clip(20, 64, 48)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 4_000_000
        for (pixels,) in clip.images():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    read = load_clip(tmp_path / "clip.mp4", frames=18)
    assert read.pixels.shape == (18, 1, 48, 64, 3)
    assert np.abs(read.pixels.astype(int) - clip.pixels[:18]).mean() < 12


def test_a_file_without_video(tmp_path):
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ClipError, match="no video in it"):
        load_clip(tmp_path / "sound.wav")


def test_folder_and_video_of_the_real_clip_agree(shared):
    folder, video = load_clip(shared / "clip" / "frames"), load_clip(shared / "clip" / "clip.mp4")
    assert folder.pixels.shape == video.pixels.shape == (24, 1, 360, 640, 3)
    assert np.abs(folder.pixels.astype(int) - video.pixels).mean() < 4


@pytest.mark.parametrize("frames", [11, 0, -1])
def test_too_few_frames_asked_for(frames):
    with pytest.raises(ClipError, match="at least 12"):
        load_clip(None, frames)


def test_too_few_frames_found(tmp_path):
    with pytest.raises(ClipError, match="has 3 frames"):
        load_clip(write_frames(tmp_path / "frames", 3))


def test_the_built_in_clip_is_drawn_in_any_size():
    clip = builtin_clip(16).fitted(96, 64, 2)
    assert clip.pixels.shape == (16, 2, 64, 96, 3)
    np.testing.assert_array_equal(clip.pixels[:, :1], builtin_clip(16, 96, 64).pixels)


def test_no_such_clip(tmp_path):
    with pytest.raises(ClipError, match="no such clip"):
        load_clip(tmp_path / "none")


def test_an_empty_folder(tmp_path):
    with pytest.raises(ClipError, match="give a folder of frames"):
        load_clip(tmp_path)


def test_not_a_video(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"not a video" * 100)
    with pytest.raises(ClipError, match="as a video"):
        load_clip(tmp_path / "clip.mp4")


def test_a_damaged_image(tmp_path):
    folder = write_frames(tmp_path / "frames", 16)
    (folder / "frame7.png").write_bytes((folder / "frame7.png").read_bytes()[:40])
    with pytest.raises(ClipError, match=r"cannot read .*frame7"):
        load_clip(folder)


def test_a_deep_video_is_read_in_8_bits(tmp_path):
    frames = drawn(16, 64, 48)
    encode_clip(tmp_path / "clip.mkv", frames, pixel_format="yuv420p10le")
    read = load_clip(tmp_path / "clip.mkv").pixels
    assert read.dtype == np.uint8
    assert np.abs(read[:, 0].astype(int) - frames).mean() < 4


def test_a_video_that_is_cut_off(tmp_path):
    content = encode_clip(tmp_path / "clip.mkv", drawn(100, 64, 48)).read_bytes()
    (tmp_path / "clip.mkv").write_bytes(content[: len(content) * 2 // 3])
    assert len(load_clip(tmp_path / "clip.mkv", 24)) == 24
    with pytest.raises(ClipError, match=r"clip\.mkv is (truncated|damaged) after frame"):
        load_clip(tmp_path / "clip.mkv", 100)


def test_images_of_16_bits(tmp_path):
    folder = write_frames(tmp_path / "frames", 16)
    Image.fromarray(np.full((24, 32), 40_000, np.uint16)).save(folder / "frame3.png")
    with pytest.raises(ClipError, match="more than 8 bits"):
        load_clip(folder)


def test_an_image_that_claims_to_be_huge(tmp_path):
    folder = write_frames(tmp_path / "frames", 16)
    content = bytearray((folder / "frame3.png").read_bytes())
    content[16:24] = (30_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (folder / "frame3.png").write_bytes(content)
    with pytest.raises(ClipError, match=r"cannot read .*frame3"):
        load_clip(folder)


def test_a_name_that_is_too_long():
    with pytest.raises(ClipError, match="cannot read"):
        load_clip(Path("x" * 5000))


def test_frames_of_two_sizes(tmp_path):
    folder = write_frames(tmp_path / "frames", 16)
    Image.new("RGB", (8, 8)).save(folder / "frame3.png")
    with pytest.raises(ClipError, match="differ in size"):
        load_clip(folder)


def test_frames_without_motion(tmp_path):
    with pytest.raises(ClipError, match="all alike"):
        load_clip(write_frames(tmp_path / "frames", 16, change=False))
