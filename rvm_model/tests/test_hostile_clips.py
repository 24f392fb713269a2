"""Clips made to read other files, to start programs, to hang or to take all memory are refused in one line."""

import os
import subprocess
import sys
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import rvm_model.video.background
import rvm_model.video.opening
from rvm_model.tests.clips import Sound, drawn, encode_clip, write_clip
from rvm_model.tests.test_source import near, read
from rvm_model.video.background import open_background
from rvm_model.video.colour import VideoError
from rvm_model.video.opening import open_container
from rvm_model.video.source import frame_times, open_source

pytestmark = pytest.mark.timeout(120)

CLIP = drawn(6, 64, 48)
SRC, PHA = np.zeros((3, 48, 64), np.float32), np.zeros((1, 48, 64), np.float32)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_postscript_in_a_picture_starts_no_ghostscript(suffix, tmp_path, monkeypatch):
    Image.fromarray(CLIP[0]).save(tmp_path / "picture.eps")
    path = (tmp_path / "picture.eps").rename(tmp_path / f"picture{suffix}")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(VideoError, match=rf"picture\{suffix}: it is neither PNG nor JPEG, or damaged; convert it$"):
        read(path)
    with pytest.raises(VideoError, match="neither PNG nor JPEG"):
        open_background(str(path), 64, 48)


PLAYLISTS = {
    "absolute.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
    "relative.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n",
    "live.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n",
    "network.m3u8": "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile secret.ts\n",
    "list.mp4": "ffconcat version 1.0\nfile secret.ts\n",
    "stream.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "pages.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period></Period></MPD>',
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_no_clip_background_or_sound(name, tmp_path):
    secret = encode_clip(tmp_path / "secret.ts", CLIP, container="mpegts")
    path = tmp_path / name
    path.write_text(PLAYLISTS[name].format(secret=secret))
    for opened in (read, frame_times, lambda path: open_background(str(path), 64, 48)):
        with pytest.raises(VideoError, match=r"cannot read .* as a video: ") as error:
            opened(path)
        assert "\n" not in str(error.value)


def test_no_demuxer_reads_other_files():
    given = {name for each in av.formats_available for name in each.split(",")}
    assert len(given & set(rvm_model.video.opening.DEMUXERS)) > 25, "the names are FFmpeg's"
    assert not {"hls", "concat", "image2", "sdp", "rtsp", "dash", "lavfi"} & set(rvm_model.video.opening.DEMUXERS)


def test_a_pattern_in_a_name_is_no_pattern(tmp_path):
    """FFmpeg reads `f0.png` for `f%d.png`."""
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 64, 48, "rgb48be", Fraction(1, 25)
    for name, level in (("f0.png", 20), ("f%d.png", 200)):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level * 257, np.uint16), format="rgb48le")
        (tmp_path / name).write_bytes(context.encode(frame.reformat(format="rgb48be"))[0])
    assert (read(tmp_path / "f%d.png")[0] == 200 * 257).all()
    for name, level in (("v0.tif", 20), ("v%d.tif", 200)):
        Image.fromarray(np.full((48, 64, 3), level, np.uint8)).save(tmp_path / name)
    assert (read(tmp_path / "v%d.tif")[0] == 200).all()


@pytest.mark.parametrize("name", ["clip.tif", "clip.bmp", "clip.webp", "clip.gif"])
def test_other_pictures_are_read_as_a_video_of_one_frame(name, tmp_path):
    """A TIFF's frame has side data of a kind that PyAV cannot list."""
    Image.fromarray(CLIP[0]).save(tmp_path / name)
    pixels, _, properties, loss = read(tmp_path / name)
    assert near(pixels, CLIP[:1], 12)
    assert loss is None
    assert properties.still == (name != "clip.gif")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("name", ["clip.mp4", "clip.png", "clip"])
@pytest.mark.parametrize("kind", ["pipe", "device", "link"])
def test_a_pipe_or_a_device_is_refused_at_once(name, kind, tmp_path):
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "/dev/tty")
    for opened in (read, lambda path: open_background(str(path), 64, 48)):
        with pytest.raises(VideoError, match=f"cannot read .*{name}.* it is no regular file"):
            opened(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_pipe_among_the_pictures_of_a_folder_ends_it(tmp_path):
    Image.fromarray(CLIP[0]).save(tmp_path / "0.png")
    os.mkfifo(tmp_path / "1.png")
    pixels, _, _, loss = read(tmp_path)
    assert len(pixels) == 1
    assert "1.png: it is no regular file" in loss


@pytest.mark.parametrize(("suffix", "container", "whole"), [("h264", "h264", False), ("avi", None, True)])
def test_a_search_for_frames_in_a_sparse_file_ends(suffix, container, whole, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(rvm_model.video.opening, "MOST_WORK", 0.2)
    path = tmp_path / f"clip.{suffix}"
    if whole:
        encode_clip(path, CLIP, codec="mpeg4", container=container)
    else:
        path.touch()
    os.truncate(path, 300 * 10**9)
    if whole:
        pixels, _, _, loss = read(path)
        assert len(pixels) >= len(CLIP) - 1
    else:
        with pytest.raises(VideoError) as error:
            read(path)
        loss = str(error.value)
    assert "no frame was found in 0.2 s of work" in loss
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("frames", [0, len(CLIP)])
def test_no_more_of_a_raw_stream_is_kept_than_a_frame_may_have(frames, tmp_path, monkeypatch):
    monkeypatch.setattr(rvm_model.video.opening, "MOST_SEARCHED", 2_000_000)
    path = tmp_path / "clip.h264"
    if frames:
        encode_clip(path, CLIP[:frames], container="h264")
    else:
        path.write_bytes(b"\0\0\0\1\x65")
    os.truncate(path, 300 * 10**9)
    with pytest.raises(VideoError, match=r"cannot read .*clip.h264 as a video: no frame was found in 2000000 bytes"):
        read(path)


def test_a_container_is_read_for_long_between_subtitles(tmp_path, monkeypatch):
    noise = [*np.random.default_rng(0).integers(0, 255, (30, 192, 320, 3), np.uint8)]
    path = encode_clip(tmp_path / "clip.mkv", noise, options={"crf": "1"})
    assert path.stat().st_size > 2_000_000
    with ExitStack() as opened:
        container, file = open_container(path, opened)
        assert not file.is_raw
        monkeypatch.setattr(rvm_model.video.opening, "MOST_SEARCHED", 100_000)
        assert sum(packet.size > 0 for packet in container.demux()) == 30


def test_work_between_frames_that_is_not_ffmpegs_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(rvm_model.video.opening, "MOST_WORK", 0.2)
    monkeypatch.setattr(rvm_model.video.opening, "_BUFFER", 512)
    count, clock = 0, rvm_model.video.opening.time
    with open_source(encode_clip(tmp_path / "clip.mkv", drawn(30, 64, 48), options={"crf": "1"})) as source:
        for _ in source:
            count += 1
            end = clock.thread_time() + 0.05
            while clock.thread_time() < end:
                pass
        assert source.loss is None
    assert count == 30


def test_a_background_keeps_up_with_a_clip_that_jumps_by_years(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "grey.mkv", [np.full((48, 64, 3), level, np.uint8) for level in (10, 200)], rate=5)
    opened = []
    monkeypatch.setattr(
        rvm_model.video.background,
        "open_source",
        lambda *given, **options: opened.append(1) or open_source(*given, **options),
    )
    background = open_background(str(path), 64, 48)
    for seconds in (0.0, 1e9 + 0.21, 3e11, 1e300):
        background(SRC, PHA, seconds)
    assert background(SRC, PHA, 1e300).shape == SRC.shape
    assert len(opened) < 10


def test_damaged_exif_does_not_matter(tmp_path):
    """Pillow's own function for the orientation writes Exif again, which fails here."""
    image = Image.fromarray(CLIP[0])
    exif = image.getexif()
    exif[0x0112], exif[0x8769], exif[0x8825] = 6, {0x9003: "2020"}, {1: "N", 2: (1.0, 2.0, 3.0)}
    image.save(tmp_path / "photo.jpg", quality=95, exif=exif)
    content = (tmp_path / "photo.jpg").read_bytes()
    assert content.count(b"2020\0\0\0\2") == 1
    (tmp_path / "photo.jpg").write_bytes(content.replace(b"2020\0\0\0\2", b"202\1\1\1\1\2"))
    assert near(read(tmp_path / "photo.jpg")[0][0], np.rot90(CLIP[0], -1), 2)


def test_a_picture_of_a_terabyte_is_refused_unread(tmp_path):
    Image.fromarray(CLIP[0]).save(tmp_path / "0.png")
    head = (tmp_path / "0.png").read_bytes()[:33]
    (tmp_path / "0.png").write_bytes(head + (2**31 - 1).to_bytes(4, "big") + b"tEXt")
    os.truncate(tmp_path / "0.png", 10**12)
    with pytest.raises(VideoError, match=r"0\.png: it has 1000000000000 bytes; at most 1073741824 are read"):
        read(tmp_path / "0.png")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf_8(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    for name in (b"caf\xe9.mp4", b"clip.mp\xe9"):
        sound = Sound(codec="aac", seconds=0.2, click=0.1)
        path = encode_clip(folder / "clip.mp4", CLIP, sound=sound).rename(folder / os.fsdecode(name))
        assert len(read(path)[0]) == len(CLIP)
    Image.fromarray(CLIP[0]).save(folder / os.fsdecode(b"\xe9.png"))
    (folder / os.fsdecode(b"\xe9.jpg")).write_bytes(b"no picture")
    assert len(read(folder / os.fsdecode(b"\xe9.png"))[0]) == 1
    with pytest.raises(VideoError, match="neither PNG nor JPEG"):
        read(folder / os.fsdecode(b"\xe9.jpg"))
