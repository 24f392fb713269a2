"""`rvm-export matte --preview`: the middle frame of a clip at three ratios."""

import numpy as np
import pytest
import torch
from PIL import Image

from exporters import load_exporter
from exporters.onnx import OnnxSpec
from exporters.spec import Fixed
from rvm_model import load_checkpoint
from rvm_model.errors import UserError
from rvm_model.matting import network_play
from rvm_model.tests.clips import drawn, encode_clip, write_clip
from rvm_model.video.source import open_source
from tools.commands import preview as module
from tools.commands.preview import PreviewOptions, preview, three_ratios
from tools.shared.pictures import STRIP


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mkv", drawn(31, 96, 64))


@pytest.mark.parametrize(
    ("height", "width", "middle", "expected"),
    [
        (1080, 1920, None, [0.167, 0.267, 0.427]),
        (1080, 1920, 0.25, [0.156, 0.25, 0.4]),
        (720, 1280, 0.375, [0.234, 0.375, 0.6]),
        (64, 96, None, [0.391, 0.625, 1]),
        (64, 96, 0.72, [0.281, 0.45, 0.72]),
    ],
)
def test_three_ratios(height, width, middle, expected):
    assert three_ratios(height, width, middle) == expected


def test_a_frame_that_is_too_small():
    with pytest.raises(UserError, match=r"leaves .* pixels.*; leave --preview out"):
        three_ratios(2, 2, 0.5)


def test_the_middle_frame_at_three_ratios(clip, run, tmp_path):
    """Compute with the network itself: twelve frames before the middle one, then that."""
    output = tmp_path / "choose.png"
    result = run("matte", clip, "--model", "seeded", "--preview", output, "--background", "#102030", "-d", "0.5")
    assert (result.code, result.out) == (0, f"{output}\n")
    with Image.open(output) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (STRIP + 2 * 66, 3 * 98, 3)
    with open_source(clip) as source:
        frames = [each.pixels for each in source][15 - 12 : 16]
    for k, ratio in enumerate((0.312, 0.5, 0.8)):
        play = network_play(load_checkpoint("seeded").network(), ratio, torch.device("cpu"), torch.float32)
        for frame in frames:
            fgr, pha = play(frame.transpose(2, 0, 1)[None].astype(np.float32) / 255)
        ground = np.array([16, 32, 48]).reshape(3, 1, 1) / 255
        expected = [ground + (fgr[0] - ground) * pha[0], np.repeat(pha[0], 3, 0)]
        for row, image in enumerate(expected):
            top, left = STRIP + row * 66, k * 98
            given = pixels[top : top + 64, left : left + 96]
            assert np.abs(given - image.transpose(1, 2, 0) * 255).max() <= 1


@pytest.mark.parametrize("kind", ["folder", "picture"])
def test_pictures_have_a_middle_too(kind, run, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for k, frame in enumerate(drawn(9, 96, 64)):
        Image.fromarray(frame).save(tmp_path / f"in/{k}.png")
    seen = []
    matted = module._matted
    monkeypatch.setattr(module, "_matted", lambda frames, *rest: seen.append(frames) or matted(frames, *rest))
    clip = tmp_path / "in" if kind == "folder" else tmp_path / "in/3.png"
    assert run("matte", clip, "--model", "seeded", "--preview", tmp_path / "p.png").code == 0
    assert [each.name for each in seen[0]] == (["0", "1", "2", "3", "4"] if kind == "folder" else ["3"])


def test_a_clip_that_ends_before_what_it_declares(tmp_path):
    path = encode_clip(tmp_path / "cut.mkv", drawn(60, 96, 64), options={"g": "1"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 5])
    frames, own = module._middle(path, PreviewOptions(model="seeded"))
    assert own.frames == 60
    assert 5 < len(frames) <= 13


def test_the_middle_of_a_part(clip):
    frames, _ = module._middle(clip, PreviewOptions(model="seeded", start=0.8, end=1.2))
    assert len(frames) == 6
    with open_source(clip, start=1) as source:
        np.testing.assert_array_equal(frames[-1].pixels, next(iter(source)).pixels)


def test_a_model_with_one_ratio_leaves_nothing_to_choose(clip, tmp_path):
    spec = OnnxSpec(
        variant="mobilenetv3",
        refiner="deep_guided_filter",
        precision="fp32",
        fixed=Fixed(width=96, height=64, ratio=0.5),
    )
    load_exporter("onnx").export(load_checkpoint("seeded"), spec, tmp_path / "fixed.onnx")
    with pytest.raises(UserError, match=r"has the ratio 0\.5 baked in, which leaves nothing to choose"):
        preview(clip, tmp_path / "p.png", PreviewOptions(model=str(tmp_path / "fixed.onnx")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preview", "p.jpg"), "--preview p.jpg: give a name that ends in .png"),
        (("--preview", "old.png"), "old.png exists; use --force"),
        (("--preview", "p.png", "--alpha", "a.mp4"), "--alpha is not for --preview"),
        (("--preview", "p.png", "--seq-chunk", "2"), "--seq-chunk is not for --preview"),
        (("clip.mkv", "--preview", "p.png"), "--preview takes one input, not 2"),
        (("--preview", "clip.mkv/p.png"), "clip.mkv is a file, not a folder"),
    ],
)
def test_what_cannot_be_drawn(arguments, message, clip, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mkv").write_bytes(clip.read_bytes())
    (tmp_path / "old.png").write_text("mine")
    result = run("matte", "clip.mkv", "--model", "seeded", *arguments)
    assert result.code == 2
    assert message in result.error
    assert {each.name for each in tmp_path.iterdir()} == {"clip.mkv", "old.png"}
    assert (tmp_path / "old.png").read_text() == "mine"
