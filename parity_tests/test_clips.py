"""Clips from a folder, a file and nothing, and what cannot be one."""

import hashlib
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from parity_tests.clips import ClipError, builtin_clip, load_clip
from rvm_model.tests.clips import drawn, encode_clip


def write_frames(folder, count, size=(32, 24), change=True):
    folder.mkdir()
    for k in range(count):
        pixels = np.full((size[1], size[0], 3), 10 * k * change, np.uint8)
        Image.fromarray(pixels).save(folder / f"frame{k}.png")
    return folder


def test_the_builtin_clip_is_the_same_anywhere_and_moves():
    clip = builtin_clip()
    assert (
        hashlib.sha256(clip.pixels.tobytes()).hexdigest()
        == "4a58b33fcc6d7b053ae71aa7a5f53b15d394fc83b05dfa9b1880554549580ecd"
    )
    assert (len(clip), clip.size) == (24, (180, 320))
    steps = np.abs(np.diff(clip.pixels.astype(int), axis=0)).mean((1, 2, 3, 4))
    assert steps.min() > 5
    assert steps.argmax() == 15, "the scene cut, after frame 15"


def test_the_builtin_clip_is_drawn_at_each_size_not_enlarged():
    clip, large = builtin_clip(16), builtin_clip(16).fitted(1280, 720, 1)
    assert (large.pixels == builtin_clip(16, 1280, 720).pixels).all()
    assert (large.kind, large.batched(2).resized(64, 36).pixels.shape) == ("builtin", (16, 2, 36, 64, 3))
    # The same picture: only the noise, and where an edge runs within a pixel, are others.
    again = np.array([large.pixels[k, 0].reshape(180, 4, 320, 4, 3).mean((1, 3)) for k in range(16)])
    assert np.abs(again - clip.pixels[:, 0]).mean() < 8
    # Noise of single pixels, which would be blurred if it were enlarged.
    assert np.abs(np.diff(large.pixels[0, 0, :, :, 0].astype(int), axis=1)).mean() > 4


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
        for (pixels,) in clip.pixels:
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


@pytest.mark.parametrize("frames", [15, 0, -1])
def test_too_few_frames_asked_for(frames):
    with pytest.raises(ClipError, match="at least 16"):
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
