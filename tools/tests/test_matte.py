"""`rvm-export matte` as users run it: any model, any clip, several inputs at a time, and errors."""

import os
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import numpy as np
import onnx
import pytest
from PIL import Image

from exporters import FORMATS, load_exporter
from exporters.onnx import OnnxSpec
from exporters.spec import Fixed
from rvm_model import load_checkpoint
from rvm_model.tests.clips import Sound, drawn, encode_clip, write_clip
from rvm_model.video.colour import VideoError
from rvm_model.video.sink import Sink as VideoSink
from rvm_model.video.source import open_source
from tools.tests.children import started
from tools.tests.jobs_here import call_here
from tools.tests.test_jobs import cluster_of

RATIO = ("--downsample-ratio", "0.5")


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "in" / "clip.mkv", drawn(5, 96, 64))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def read(path):
    with open_source(path) as source:
        return np.array([frame.pixels for frame in source])


def export_onnx(path, **options):
    spec = OnnxSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", **options)
    load_exporter("onnx").export(load_checkpoint("seeded"), spec, path)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_mattes_as_the_checkpoint_does(name, seeded_artifacts, out, run, tmp_path):
    """Test at the size of the files that have one size."""
    clip = write_clip(tmp_path / "clip.mkv", drawn(5, 160, 96))
    for model, folder in (("seeded", "expected"), (seeded_artifacts[name], "given")):
        result = run("matte", clip, "--model", model, "--trust", "--alpha", out / folder, *RATIO)
        assert (result.code, result.out) == (0, "")
    difference = read(out / "given").astype(int) - read(out / "expected")
    assert len(difference) == 5
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    "fixed",
    [None, pytest.param(Fixed(width=160, height=96, ratio=0.5), marks=pytest.mark.long)],
    ids=["any size", "one size"],
)
def test_a_file_of_coefficients_mattes_as_the_checkpoint_does(fixed, out, run, tmp_path, monkeypatch):
    """Test all outputs, with the full-size steps fused and not: fused, they may differ by a level."""
    model = export_onnx(tmp_path / "line.onnx", outputs="coefficients", fixed=fixed)
    kinds = ("composition", "alpha", "foreground")
    for size, ratio in ((160, 96), 0.5), ((320, 192), 0.25):
        clip = write_clip(tmp_path / f"{size[0]}.mkv", drawn(3, *size))
        for name, source in (("whole", "seeded"), ("fused", "seeded"), ("line", model)):
            with monkeypatch.context() as patched:
                if name == "whole":
                    patched.setattr("tools.shared.models.find_spec", lambda _: None)
                folders = [word for kind in kinds for word in (f"--{kind}", out / f"{size[0]}_{name}_{kind}")]
                ratio_given = [] if fixed and source == model else ["--downsample-ratio", ratio]
                result = run("matte", clip, "--model", source, *folders, *ratio_given)
                assert (result.code, result.out) == (0, ""), result.err
        for kind in kinds:
            whole, fused, line = (
                read(out / f"{size[0]}_{name}_{kind}").astype(int) for name in ("whole", "fused", "line")
            )
            assert whole.std() > 1
            assert np.abs(fused - whole).max() <= 1
            assert np.abs(line - whole).max() <= 1


def test_a_clip_that_reduces_to_another_size_is_refused(out, run, tmp_path):
    model = export_onnx(tmp_path / "line.onnx", outputs="coefficients", fixed=Fixed(width=160, height=96, ratio=0.5))
    clip = write_clip(tmp_path / "clip.mkv", drawn(2, 160, 120))
    result = run("matte", clip, "--model", model, "--alpha", out)
    assert result.code == 2
    assert "clip.mkv of 160x120 reduces to 80x60, and " in result.error
    assert "takes 80x48; give --resize, or a file for any size" in result.error


def test_all_three_outputs_and_where_they_are_transparent(clip, out, run):
    result = run(
        *("matte", clip, "--model", "seeded", *RATIO),
        *("--composition", out / "com.mov", "--alpha", out / "alpha.mp4", "--foreground", out / "fgr"),
    )
    assert result.code == 0
    with av.open(str(out / "com.mov")) as container:
        assert container.streams.video[0].codec_context.name == "prores"
        assert "yuva" in container.streams.video[0].codec_context.pix_fmt
    assert len(read(out / "alpha.mp4")) == len([*(out / "fgr").iterdir()]) == 5


def rgba(path):
    """Return the frames of a transparent video, (T, H, W, 4), as floats in [0, 1]."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        if context.name == "vp9":  # FFmpeg's own decoder leaves alpha out
            context = av.CodecContext.create("libvpx-vp9", "r")
        frames = [each for packet in file.demux(stream) for each in context.decode(packet)]
        return np.array([each.to_ndarray(format="rgba") for each in frames]) / 255


@pytest.mark.parametrize("suffix", ["mov", "webm"])
def test_alpha_is_straight_or_premultiplied(suffix, clip, out, run):
    command = ("matte", clip, "--model", "seeded", *RATIO)
    assert run(*command, "--composition", out / f"straight.{suffix}", "--foreground", out / "fgr").code == 0
    assert run(*command, "--composition", out / f"times.{suffix}", "--premultiplied", "--alpha", out / "pha").code == 0
    straight, times = rgba(out / f"straight.{suffix}"), rgba(out / f"times.{suffix}")
    fgr, pha = read(out / "fgr") / 255, read(out / "pha")[..., :1] / 255
    assert 0.05 < pha.mean() < 0.95
    for given in (straight, times):
        assert np.abs(given[..., 3:] - pha).mean() < 0.02
    assert np.abs(straight[..., :3] - fgr)[np.broadcast_to(pha > 0.02, fgr.shape)].mean() < 0.03
    assert np.abs(times[..., :3] - fgr * pha).mean() < 0.02
    assert np.abs(straight[..., :3] - times[..., :3]).mean() > 0.05


def test_a_composition_over_green_or_what_is_given(clip, out, run):
    alpha, foreground = out / "alpha", out / "fgr"
    assert run("matte", clip, "--model", "seeded", *RATIO, "--alpha", alpha, "--foreground", foreground).code == 0
    share, fgr = read(alpha) / 255, read(foreground)
    for options, rgb in (((), (120, 255, 155)), (("--background", "#102030"), (16, 32, 48))):
        path = out / f"com{len(options)}.mkv"
        assert (
            run("matte", clip, "--model", "seeded", *RATIO, "--composition", path, "--codec", "ffv1", *options).code
            == 0
        )
        expected = fgr * share + np.array(rgb) * (1 - share)
        assert np.abs(read(path) - expected).mean() <= 3


def test_a_picture(out, run, tmp_path):
    Image.fromarray(drawn(1, 96, 64)[0]).save(tmp_path / "one.png")
    result = run("matte", tmp_path / "one.png", "--model", "seeded", "--composition", out / "one.png")
    assert result.code == 0
    with Image.open(out / "one.png") as image:
        assert (image.mode, image.size) == ("RGBA", (96, 64))


def test_pictures_keep_their_numbers_and_gaps(out, run, tmp_path):
    numbers = [8, 9, 10, 14, 115]
    (tmp_path / "in").mkdir()
    for number, frame in zip(numbers, drawn(5, 96, 64), strict=True):
        Image.fromarray(frame).save(tmp_path / f"in/shot.{number}.{'jpg' if number == 9 else 'png'}")
    command = ("matte", tmp_path / "in", "--model", "seeded", *RATIO)
    assert run(*command, "--alpha", out / "a", "--composition", out / "c").code == 0
    for name in ("a", "c"):
        assert {each.name for each in (out / name).iterdir()} == {f"shot.{number}.png" for number in numbers}
    assert run(*command, "--alpha", out / "part", "--start", "0.0667", "--max-frames", "2").code == 0
    assert {each.name for each in (out / "part").iterdir()} == {"shot.10.png", "shot.14.png"}
    np.testing.assert_array_equal(np.asarray(Image.open(out / "a/shot.115.png")), read(out / "a")[-1, ..., 0])
    Image.fromarray(drawn(1, 96, 64)[0]).save(tmp_path / "in/shot.14.jpg")
    result = run(*command, "--alpha", out / "two")
    assert result.code == 2
    assert "would hold two pictures called shot.14.png" in result.error


@pytest.mark.parametrize("window", [("0.08", "--max-frames", "2"), ("00:00:00.08", "--end", "0:0.16")])
def test_a_part_of_a_clip_at_another_size(window, clip, out, run):
    """Matte two frames from the third on, at 25 frames a second."""
    arguments = ("--start", *window, "--resize", "48x32")
    assert run("matte", clip, "--model", "seeded", "--alpha", out / "a.mp4", *arguments).code == 0
    assert read(out / "a.mp4").shape == (2, 32, 48, 3)


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    return export_onnx(tmp_path_factory.mktemp("fixed") / "fixed.onnx", fixed=Fixed(width=128, height=64, ratio=0.5))


def test_a_file_of_one_size_takes_any_clip_and_gives_it_back_in_its_size(fixed, clip, out, run):
    assert run("matte", clip, "--model", fixed, "--alpha", out / "alpha", "--foreground", out / "fgr.mp4").code == 0
    assert read(out / "alpha").shape == (5, 64, 96, 3)
    assert read(out / "fgr.mp4").shape == (5, 64, 96, 3)
    assert read(out / "alpha").std() > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--downsample-ratio", "0.25"), "has the ratio 0.5 baked in; leave --downsample-ratio out"),
        (("--seq-chunk", "4"), "--seq-chunk is for checkpoints"),
    ],
)
def test_what_a_file_of_one_size_cannot_do(arguments, message, fixed, clip, out, run):
    result = run("matte", clip, "--model", fixed, "--alpha", out / "a.mp4", *arguments)
    assert result.code == 2
    assert message in result.error
    assert not out.exists()


def test_a_file_without_a_foreground_gives_alpha_only(clip, out, run, tmp_path):
    model = export_onnx(tmp_path / "pha.onnx", outputs="pha")
    assert run("matte", clip, "--model", model, "--alpha", out / "a.mp4", *RATIO).code == 0
    result = run("matte", clip, "--model", model, "--composition", out / "c.mp4", *RATIO)
    assert result.code == 2
    assert "was made without fgr, which --composition needs" in result.error


@pytest.mark.parametrize("preview", [False, True])
def test_a_model_that_gives_no_numbers_is_named(preview, clip, out, exported, run, tmp_path):
    poisoned = onnx.load(exported("onnx"))
    del poisoned.metadata_props[:]
    (weight,) = [each for each in poisoned.graph.initializer if each.name == "decoder.decode0.conv.0.x.bias"]
    weight.raw_data = np.full(weight.dims, np.nan, np.float32).tobytes()
    onnx.save(poisoned, tmp_path / "poisoned.onnx")
    where = ["--preview", out / "preview.png"] if preview else ["--alpha", out / "alpha.mp4"]
    result = run("matte", clip, "--model", tmp_path / "poisoned.onnx", "--downsample-ratio", 0.5, *where)
    assert result.code == 2
    assert f"error: {tmp_path}/poisoned.onnx gives values that are not finite, which cannot be drawn" in result.err
    assert [*out.rglob("*")] == []


def test_a_file_of_a_batch(clip, out, run, tmp_path):
    model = export_onnx(tmp_path / "two.onnx", fixed=Fixed(width=96, height=64, ratio=0.5, batch=2))
    result = run("matte", clip, "--model", model, "--alpha", out / "a.mp4")
    assert result.code == 2
    assert "made for a batch of 2" in result.error


def test_image_bytes(clip, out, run, tmp_path):
    model = export_onnx(tmp_path / "bytes.onnx", io="uint8-nhwc-bgr")
    for name, folder in ((model, "given"), ("seeded", "expected")):
        assert run("matte", clip, "--model", name, "--alpha", out / folder, *RATIO).code == 0
    assert np.abs(read(out / "given").astype(int) - read(out / "expected")).max() <= 1


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Return a clip of two frames. Tests must not change it."""
    return write_clip(tmp_path_factory.mktemp("short") / "clip.mkv", drawn(2, 96, 64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.mp4", "--alpha", "a.mp4"), "no such file: nowhere.mp4"),
        (("text.mp4", "--alpha", "a.mp4"), "text.mp4"),
        (("empty", "--alpha", "a.mp4"), "in empty; give a folder"),
        (("clip.mkv",), "nothing to write; give at least one of --composition, --alpha, --foreground"),
        (("clip.mkv", "--alpha", "clip.mkv"), "would overwrite clip.mkv, which is read"),
        (("clip.mkv", "--alpha", "./clip.mkv", "--force"), "would overwrite clip.mkv, which is read"),
        (("clip.mkv", "--alpha", "a.mp4", "--foreground", "./a.mp4"), "would overwrite each other"),
        (("clip.mkv", "--alpha", "old.mp4"), "old.mp4 exists; use --force"),
        (("clip.mkv", "--alpha", "a.gif"), "a.gif ends in none of .mp4"),
        (("clip.mkv", "--alpha", "."), "which is read; give another place"),
        (("clip.mkv", "--alpha", "/"), "is no name for an output"),
        (("clip.mkv", "--composition", "sub", "--background", "sub/clip.mkv", "--force"), "which is read"),
        (("clip.mkv", "--composition", "sub/out", "--alpha", "sub/out/a"), "would overwrite each other"),
        (("sub", "--alpha", "sub/{name}_a.mp4"), "sub/clip_a.mp4 lies in sub, which is read"),
        (("clip.mkv", "--alpha", "loop/a.mp4"), "cannot use loop/a.mp4"),
        (("clip.mkv", "--alpha", "a", "--codec", "libx264"), "--codec is for videos, and no output is one"),
        (("clip.mkv", "--alpha", "a.mp4", "--background", "red"), "--background is for --composition"),
        (("clip.mkv", "--composition", "a.mp4", "--premultiplied"), "--premultiplied is for a transparent video"),
        (("clip.mkv", "--composition", "a", "--premultiplied"), "PNG is straight by its definition"),
        (("clip.mkv", "--alpha", "a.mov", "--premultiplied"), "--premultiplied is for a transparent video"),
        (("clip.mkv", "--composition", "a.mov", "--background", "red", "--premultiplied"), "without --background"),
        (("clip.mkv", "--composition", "a.mov", "--codec", "libx264"), "leave the codec out, or give a background"),
        (("clip.mkv", "--alpha", "a.mp4", "--end", "inf"), "is nothing; give a start"),
        (("clip.mkv", "--alpha", "a.mp4", "--start", "1e18"), "is nothing; give a start"),
        (("clip.mkv", "--alpha", "a.mp4", "--start", "nan"), "is nothing; give a start"),
        (("clip.mkv", "--alpha", "a.mp4", "--start", "-1"), "is nothing; give a start"),
        (("clip.mkv", "--alpha", "a.mp4", "--start", "1:99"), "--start 1:99: give seconds, such as 12.5"),
        (("clip.mkv", "--alpha", "a.mp4", "--seq-chunk", "100000"), "would need about"),
        (("clip.mkv", "--alpha", "text.mp4/a.mp4"), "cannot write text.mp4/a.mp4"),
        (("clip.mkv", "--alpha", "/proc/self/a.mp4"), "cannot write /proc/self/a.mp4"),
        (("clip.mkv", "--alpha", "a.mp4", "--codec", "libx999"), "libx999"),
        (("clip.mkv", "--alpha", "a.mp4", "--quality", "99"), "quality 99 is not in 0 (best) to 51"),
        (("clip.mkv", "--composition", "a.mp4", "--background", "grean"), "no such background: grean"),
        (("clip.mkv", "--composition", "a.mp4", "--background", "text.mp4"), "text.mp4"),
        (("clip.mkv", "--alpha", "a.mp4", "--downsample-ratio", "0.001"), "leaves 0x0 pixels"),
        (("clip.mkv", "--alpha", "a.mp4", "--downsample-ratio", "2"), "give a number in (0, 1], or auto"),
        (("clip.mkv", "--alpha", "a.mp4", "--resize", "big"), "--resize big: give width x height"),
        (("clip.mkv", "--alpha", "a.mp4", "--resize", "9000x9000"), "would need about"),
        (("clip.mkv", "--alpha", "a.mp4", "--resize", "16000x16000"), "and 100000000 in all"),
        (("clip.mkv", "--alpha", "a.mp4", "--start", "9"), "clip.mkv"),
        (("clip.mkv", "--alpha", "a.mp4", "--start", "1", "--end", "1"), "clip.mkv from 1"),
        (("clip.mkv", "--alpha", "a.mp4", "--seq-chunk", "0"), "--seq-chunk 0"),
        (("clip.mkv", "clip.mkv", "--alpha", "a.mp4"), "one place for several inputs; put {name} into it"),
        (("clip.mkv", "sub/clip.mkv", "--alpha", "out/{name}.mp4"), "would overwrite each other"),
    ],
)
def test_wrong_words_are_said_in_one_line(arguments, message, short, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for place in (tmp_path, tmp_path / "sub"):
        shutil.copy(short, place / "clip.mkv")
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "old.mp4").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = run("matte", "--model", "seeded", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["...mp4", "..mp4", "...mkv"])
def test_a_clip_whose_name_would_lead_outside_is_refused(name, clip, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, clip.parent / name)
    for inputs in ((clip.parent / name,), (clip, clip.parent / name)):
        result = run("matte", *inputs, "--model", "seeded", "--alpha", "out/{name}/pha.mp4", *RATIO)
        assert result.code == 2
        assert "without its suffix, which names no output; rename it" in result.error
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def test_the_folder_above_is_named_as_itself(clip, run, monkeypatch):
    (clip.parent / "deep").mkdir()
    monkeypatch.chdir(clip.parent / "deep")
    Image.fromarray(drawn(1, 96, 64)[0]).save(clip.parent / "one.png")
    clip.unlink()
    assert run("matte", "..", "--model", "seeded", "--alpha", "out/{name}/pha", *RATIO).code == 0
    assert [each.name for each in (clip.parent / "deep" / "out").iterdir()] == ["in"]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", ["a.mp4", "pha", "one.png"])
def test_an_output_that_appears_meanwhile_is_kept(name, several, clip, out, run, monkeypatch, tmp_path):
    finish, source = VideoSink.finish, clip
    if name == "one.png":
        source = clip.parent / "one.png"
        Image.fromarray(drawn(1, 96, 64)[0]).save(source)
        clip.unlink()

    def appear(self):
        finish(self)
        if self.path.suffix:
            self.path.write_text("mine")
        else:
            self.path.mkdir(exist_ok=True)
            (self.path / "mine").write_text("mine")

    monkeypatch.setattr(VideoSink, "finish", appear)
    monkeypatch.setattr(
        "tools.commands.matte.run_jobs", lambda jobs, *_: [job.function(*job.arguments) for job in jobs]
    )
    result = run("matte", clip.parent if several else source, "--model", "seeded", "--alpha", out / name, *RATIO)
    assert result.code == 2
    assert f"{out / name} exists; use --force to replace it, or write elsewhere" in result.error
    place = out / name if "." in name else out / name / "mine"
    assert place.read_text() == "mine"
    assert [each.name for each in out.iterdir()] == [name]


@pytest.mark.parametrize("place", ["clip", "folder", "background"])
def test_a_pipe_among_several_inputs_does_not_block(place, clip, out, run, tmp_path):
    os.mkfifo(clip.parent / "pipe.mp4")
    inputs = (clip.parent,) if place == "folder" else (clip, clip.parent / "pipe.mp4")
    background = ("--background", clip.parent / "pipe.mp4") if place == "background" else ()
    outputs = ("--composition", out / "{name}.mp4")
    result = run("matte", *inputs, "--model", "seeded", *outputs, *background, *RATIO)
    assert result.code == 2
    assert "is no regular file" in result.error
    assert not out.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf_8(clip, out, run):
    clip = clip.rename(clip.parent / os.fsdecode(b"caf\xe9.mkv"))
    outputs = ("--alpha", out / "{name}.mp4", "--foreground", out / "{name}")
    assert run("matte", clip, "--model", "seeded", *outputs, *RATIO).code == 0
    assert {os.fsencode(each.name) for each in out.iterdir()} == {b"caf\xe9.mp4", b"caf\xe9", b".rvm-export-made"}
    assert len(read(out / os.fsdecode(b"caf\xe9.mp4"))) == 5


def test_a_tiff_is_a_picture(out, run, tmp_path):
    Image.fromarray(drawn(1, 96, 64)[0]).save(tmp_path / "x.tif")
    assert run("matte", tmp_path / "x.tif", "--model", "seeded", "--alpha", out / "a.png", *RATIO).code == 0
    result = run("matte", tmp_path / "x.tif", "--model", "seeded", "--alpha", out / "x.tif", *RATIO)
    assert result.code == 2
    assert "x.tif ends in none of .mp4" in result.error


@pytest.mark.parametrize("model", ["clip", "nowhere.onnx", "nowhere.pth"])
def test_a_model_that_is_none(model, clip, out, run):
    result = run("matte", clip, "--model", clip if model == "clip" else model, "--alpha", out / "a.mp4")
    assert result.code == 2
    assert str(clip if model == "clip" else model) in result.error


def test_a_clip_that_is_cut_off_gives_what_there_is(clip, out, run):
    content = write_clip(clip, drawn(40, 96, 64)).read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    result = run("matte", clip, "--model", "seeded", "--alpha", out / "a.mkv", *RATIO)
    assert result.code == 1
    assert "clip.mkv" in result.error
    assert "what came before was written" in result.error
    assert 0 < len(read(out / "a.mkv")) < 40


def test_several_inputs_are_jobs_that_are_not_done_twice(clip, out, run, monkeypatch):
    write_clip(clip.parent / "other.mkv", drawn(3, 64, 48))
    (clip.parent / "broken.mp4").write_text("no video")
    arguments = ("matte", clip.parent, "--model", "seeded", "--alpha", out / "{name}.mp4", *RATIO)
    with monkeypatch.context() as patched:  # the processes are tested at the end
        patched.setattr("tools.jobs.runner.in_process", call_here)
        not_done_twice(lambda *more: run(*arguments, "--jobs", "1", *more), clip, out)
    written = {path: path.stat().st_mtime_ns for path in out.glob("*.mp4")}
    assert run(*arguments, "--jobs", "2", "--force").code == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.mp4")} != written


def not_done_twice(matte, clip, out):
    first = matte()
    assert first.code == 2
    assert "2 done, 1 failed" in first.err
    assert sorted(path.name for path in out.glob("*.mp4")) == ["clip.mp4", "other.mp4"]
    written = {path: path.stat().st_mtime_ns for path in out.glob("*.mp4")}

    (clip.parent / "broken.mp4").unlink()
    content = (out / "clip.mp4").read_bytes()
    (out / "clip.mp4").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    damaged = matte()
    assert damaged.code == 2
    assert "clip.mp4 exists; use --force" in damaged.error
    (out / "clip.mp4").write_bytes(content)
    written[out / "clip.mp4"] = (out / "clip.mp4").stat().st_mtime_ns
    again = matte()
    assert again.code == 0
    assert "2 skipped" in again.err
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.mp4")} == written

    other = matte("--quality", "30")
    assert other.code == 2
    assert "exists; use --force" in other.error
    assert "2 skipped" in matte().err  # a refusal deletes no record
    (out / "clip.mp4").unlink()
    mended = matte()
    assert mended.code == 0
    assert "1 done, 1 skipped" in mended.err


def test_one_input_is_not_matted_twice(clip, out, run):
    command = ("matte", clip, "--model", "seeded", "--alpha", out / "a.mp4", "--foreground", out / "f", *RATIO)
    assert run(*command).code == 0
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = run(*command)
    assert again.code == 0
    assert f"skipped {clip}, which is made already" in again.err.replace("\n", "")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == written
    other = run(*command, "--quality", "30")
    assert other.code == 2
    assert "a.mp4 exists; use --force" in other.error
    (out / "a.mp4").unlink()
    assert "skipped" not in run(*command).err
    assert len(read(out / "a.mp4")) == 5
    assert "skipped" in run(*command).err
    assert "skipped" not in run(*command, "--force").err
    write_clip(clip, drawn(4, 96, 64))
    changed = run(*command)
    assert changed.code == 2
    assert "a.mp4 exists; use --force" in changed.error
    assert len(read(out / "a.mp4")) == 5


def test_one_damaged_input_is_said_again_when_it_is_left_out(clip, out, run):
    content = write_clip(clip, drawn(40, 96, 64)).read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    for skipped in (False, True):
        result = run("matte", clip, "--model", "seeded", "--alpha", out / "a.mkv", *RATIO)
        assert result.code == 1
        assert ("which is made already" in result.err.replace("\n", "")) == skipped
        assert "what came before was written" in result.error


def test_a_clip_that_cannot_be_read_is_not_hashed(out, run, tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_text("no video")
    monkeypatch.setattr("tools.jobs.records.sha256_of", lambda path: pytest.fail(f"{path} was hashed"))
    result = run("matte", tmp_path / "clip.mp4", "--model", "seeded", "--alpha", out / "a.mkv", *RATIO)
    assert result.code == 2
    assert "as a video" in result.error


def test_an_input_that_changes_meanwhile_is_not_recorded(clip, out, run, monkeypatch):
    command = ("matte", clip, "--model", "seeded", "--alpha", out / "a.mp4", *RATIO)
    finish = VideoSink.finish

    def changing(self):
        finish(self)
        clip.write_bytes(b"another")

    with monkeypatch.context() as patched:
        patched.setattr(VideoSink, "finish", changing)
        assert run(*command).code == 0
    assert len(read(out / "a.mp4")) == 5
    assert "a.mp4 exists; use --force" in run(*command).error


def test_a_sparse_file_is_not_hashed(clip, out, run, monkeypatch):
    os.truncate(clip, 300 * 10**9)
    monkeypatch.setattr("rvm_model.video.opening.MOST_WORK", 0.2)
    monkeypatch.setattr("tools.jobs.records.sha256_of", lambda path: pytest.fail(f"{path} was hashed"))
    result = run("matte", clip, "--model", "seeded", "--alpha", out / "a.mkv", *RATIO)
    assert result.code in (0, 1)
    assert len(read(out / "a.mkv")) == 5


@pytest.mark.parametrize("place", ["a clip", "a background"])
def test_a_folder_with_a_sparse_file_is_not_hashed(place, clip, out, run, tmp_path, monkeypatch):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(8):
        Image.new("RGB", (96, 64)).save(folder / f"{k}.png")
    os.truncate(folder / "7.png", 300 * 10**9)
    monkeypatch.setattr("tools.jobs.records.sha256_of", lambda path: pytest.fail(f"{path} was hashed"))
    inputs = [folder] if place == "a clip" else [clip, "--background", folder]
    result = run("matte", *inputs, "--model", "seeded", "--composition", out / "a.mkv", "--max-frames", 2, *RATIO)
    assert result.code == 0
    assert len(read(out / "a.mkv")) == 2


@pytest.mark.long
def test_on_a_cluster_paths_are_those_of_the_user(clip, run, tmp_path, tmp_path_factory, monkeypatch):
    """Test with workers that run in another folder."""
    monkeypatch.chdir(tmp_path)
    arguments = ("matte", "in/clip.mkv", "--model", "seeded", "--alpha", "out/{name}.mp4", *RATIO)
    with cluster_of(tmp_path_factory.mktemp("cluster"), workers=1) as address:
        assert run(*arguments, "--cluster", address).code == 0
    assert len(read(tmp_path / "out" / "clip.mp4")) == 5


def test_sound_and_uneven_timestamps_are_the_inputs(out, run, tmp_path):
    pts = [0, 40, 120, 160, 200, 320, 360, 400, 480, 520]
    sound = Sound(codec="aac", seconds=0.6, click=0.3)
    clip = encode_clip(tmp_path / "talk.mp4", drawn(10, 96, 64), pts=pts, time_base=Fraction(1, 1000), sound=sound)
    assert run("matte", clip, "--model", "seeded", "--foreground", out / "f.mp4", *RATIO).code == 0
    times, packets = [], []
    for path in (clip, out / "f.mp4"):
        with open_source(path) as source:
            times.append([frame.pts * source.properties.time_base for frame in source])
        with av.open(str(path)) as file:
            packets.append([bytes(packet) for packet in file.demux(audio=0) if packet.size])
    assert times[0] == times[1] == [Fraction(each, 1000) for each in pts]
    assert packets[0] == packets[1]
    assert len(packets[0]) > 10


def video_of(path):
    """Return the codec, profile, tag and transfer of a video."""
    with av.open(str(path)) as file:
        context = file.streams.video[0].codec_context
        return context.codec.name, context.profile, context.codec_tag, context.color_trc


@pytest.fixture
def deep(tmp_path):
    """Return a clip of 10 bits."""
    return encode_clip(tmp_path / "deep.mkv", drawn(3, 96, 64), codec="libx265", pixel_format="yuv420p10le")


def test_10_bits_give_hevc_main_10_or_8_bits_when_asked_for(deep, out, run):
    command = ("matte", deep, "--model", "seeded", *RATIO)
    assert run(*command, "--foreground", out / "deep.mp4", "--alpha", out / "a.mov").code == 0
    for name in ("deep.mp4", "a.mov"):
        assert video_of(out / name)[:3] == ("hevc", "Main 10", "hvc1")
    assert run(*command, "--foreground", out / "8.mp4", "--bits", "8").code == 0
    assert video_of(out / "8.mp4")[:2] == ("h264", "High")
    for options, message in ((("--codec", "libx264"), "give --bits 8"), (("--bits", "9"), "--bits 9: give 8 or 10")):
        result = run(*command, "--foreground", out / "x.mp4", *options)
        assert result.code == 2
        assert message in result.error


@pytest.mark.filterwarnings("default")
def test_hdr_is_noticed_kept_or_mapped(out, run, tmp_path):
    fields = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}
    options = {"x265-params": "log-level=error:max-cll=1000,400"}
    clip = tmp_path / "hdr.mp4"
    encode_clip(clip, drawn(3, 96, 64), codec="libx265", pixel_format="yuv420p10le", options=options, **fields)
    command = ("matte", clip, "--model", "seeded", *RATIO)
    result = run(*command, "--composition", out / "kept.mp4", "--alpha", out / "pha")
    assert result.code == 0
    assert "hdr.mp4 is HDR (PQ), and so are its outputs; players without HDR show them pale" in result.err
    assert video_of(out / "kept.mp4") == ("hevc", "Main 10", "hvc1", 16)
    with open_source(out / "kept.mp4") as source:
        assert source.properties.hdr.content == (1000, 400)
    result = run(*command, "--composition", out / "sdr.mp4", "--hdr", "sdr")
    assert result.code == 0
    assert "HDR" not in result.err
    assert video_of(out / "sdr.mp4") == ("h264", "High", "avc1", 1)


@pytest.mark.filterwarnings("default")
def test_an_interlaced_clip_is_deinterlaced_or_said_to_be(out, run, tmp_path):
    even = np.arange(64)[:, None, None] % 2 == 0
    fields = drawn(12, 96, 64)
    woven = [np.where(even, late, early) for early, late in zip(fields[::2], fields[1::2], strict=True)]
    clip = encode_clip(tmp_path / "tape.mkv", woven, options={"x264-params": "interlaced=1"})
    command = ("matte", clip, "--model", "seeded", *RATIO)
    for options, told in (((), False), (("--deinterlace", "bwdif"), False), (("--deinterlace", "off"), True)):
        result = run(*command, "--alpha", out / f"a{len(options)}{told}.mp4", *options)
        assert result.code == 0
        assert ("tape.mkv is interlaced, and so are its mattes; leave --deinterlace off out" in result.err) == told
    result = run(*command, "--alpha", out / "x.mp4", "--deinterlace", "yadif")
    assert result.code == 2
    assert "'yadif' is not one of auto, off, bwdif" in result.error


def test_a_damaged_input_is_said_again_when_it_is_left_out(clip, out, run, jobs_here):
    content = write_clip(clip, drawn(40, 96, 64)).read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    for outcome in ("1 done", "1 skipped"):
        result = run("matte", clip.parent, "--model", "seeded", "--alpha", out / "a.mkv", *RATIO, "--jobs", 1)
        assert result.code == 1
        assert outcome in result.err
        assert "what came before was written" in result.error


def test_a_name_with_a_dot_and_a_link_are_as_they_are_given(clip, out, run, jobs_here):
    (clip.parent / "talk.v1.mkv").symlink_to(clip)
    clips = (clip, clip.parent / "talk.v1.mkv")
    arguments = ("--alpha", out / "{name}_alpha", "--foreground", out / "{name}.mkv")
    assert run("matte", *clips, "--model", "seeded", *arguments, *RATIO, "--jobs", 1).code == 0
    assert {each.name for each in out.iterdir()} >= {"clip_alpha", "clip.mkv", "talk_v1_alpha", "talk.v1.mkv"}


def test_when_one_output_cannot_be_finished_there_is_none(clip, out, run, monkeypatch):
    finish = VideoSink.finish

    def full(self):
        if self.path.suffix == ".mkv":
            raise VideoError(f"cannot write {self.path}: No space left on device")
        finish(self)

    monkeypatch.setattr(VideoSink, "finish", full)
    arguments = ("--alpha", out / "a.mp4", "--foreground", out / "f.mkv")
    result = run("matte", clip, "--model", "seeded", *arguments, *RATIO)
    assert result.code == 2
    assert "No space left" in result.error
    assert [*out.iterdir()] == []


def test_a_background_is_not_distorted_by_a_file_of_one_size(fixed, clip, out, run, tmp_path):
    """Check that a picture of the clip's size appears pixel by pixel where nothing is in front."""
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "behind.png")
    paths = ("--alpha", out / "alpha", "--composition", out / "com")
    result = run("matte", clip, "--model", fixed, *paths, "--background", tmp_path / "behind.png")
    assert result.code == 0
    nothing = read(out / "alpha")[0, ..., 0] == 0
    assert nothing.sum() > 50
    np.testing.assert_array_equal(read(out / "com")[0][nothing], picture[nothing])


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(number, out, tmp_path):
    clip = write_clip(tmp_path / "long.mkv", drawn(60, 640, 360))
    command = [sys.executable, "-c", "from tools.cli.main import main; main()"]
    command += ["matte", clip, "--model", "seeded", "--alpha", out / "a.mp4"]
    with started(command, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 60
        while not (out.exists() and [*out.iterdir()]):
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "rvm-export: error: interrupted; nothing was left half-written"
    assert [*out.iterdir()] == []


def test_the_real_clip(shared, out, run):
    """Compare with the alpha that the clip was composed with. Measured: a mean difference of 2.5e-3."""
    weights = shared / "weights/rvm_mobilenetv3_consensus_fp16.safetensors"
    result = run("matte", shared / "clip/clip.mp4", "--model", weights, "--alpha", out / "pha", *RATIO)
    assert result.code == 0
    truth = [np.asarray(Image.open(file).convert("L")) for file in sorted((shared / "clip/alpha_true").iterdir())]
    given = read(out / "pha")[..., 0]
    assert len(given) == len(truth) == 24
    assert np.abs(given / 255 - np.array(truth) / 255).mean() <= 3e-3
