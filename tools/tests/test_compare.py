"""`rvm-export compare`: it draws the frames that it played, and writes nothing else."""

import av
import numpy as np
import pytest
import torch
from PIL import Image

from exporters import FORMATS, describe, load_exporter
from exporters.spec import Fixed
from parity_tests.clips import builtin_clip
from parity_tests.play import play_reference
from rvm_model import load_checkpoint
from tools.commands.compare import GAP, PANEL_WIDTH, ROWS
from tools.shared.pictures import STRIP

WIDTH, HEIGHT = PANEL_WIDTH + GAP, 224 + GAP
FRAMES = 12


def read(path, height=HEIGHT):
    """Return rows of four panels, each (H, W, 3) float64 in [0, 1]."""
    pixels = np.asarray(Image.open(path).convert("RGB")) / 255
    assert pixels.shape == (2 * STRIP + ROWS * height, 4 * WIDTH, 3)
    rows = pixels[STRIP:-STRIP].reshape(ROWS, height, 4, WIDTH, 3)[:, :-GAP, :, :-GAP].transpose(0, 2, 1, 3, 4)
    return pixels, rows


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Make weights close to the seeded ones."""
    weights = dict(load_checkpoint("seeded").state_dict)
    weights["project_mat.conv.bias"] = weights["project_mat.conv.bias"] + 0.02
    path = tmp_path_factory.mktemp("other") / "other.pth"
    torch.save(weights, path)
    return path


def shrunk(image):
    pixels = np.rint(np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0) * 255).astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((PANEL_WIDTH, HEIGHT - GAP), Image.Resampling.LANCZOS)) / 255


def test_a_picture_shows_the_mattes_and_their_difference_amplified_and_a_video_has_every_frame(other, run, tmp_path):
    result = run("compare", "seeded", other, "--output", tmp_path / "out.png", "--frames", FRAMES)
    assert (result.code, result.out) == (0, f"{tmp_path / 'out.png'}\n"), result.err
    pixels, rows = read(tmp_path / "out.png")
    clip = builtin_clip(FRAMES)
    plays = [play_reference(load_checkpoint(each).network(), clip, 0.5) for each in ("seeded", other)]
    frames = [*zip(clip, *([frame["pha"][0] for frame in play] for play in plays), strict=True)]
    gaps = [np.abs(one.astype(np.float64) - two) for _, one, two in frames]
    for k, row in enumerate(rows):
        src, one, two = frames[(k + 1) * FRAMES // ROWS - 1]
        difference = np.clip(np.abs(one - two) * 20, 0, 1)
        for panel, image in zip(row, (src[0], one, two, difference), strict=True):
            assert np.abs(panel - shrunk(image)).max() < 2.5 / 255
    assert rows[:, 3].max() > 0.1
    said = (
        f"alpha differs by {max(map(np.max, gaps)):.2g} at most, by {np.mean(gaps):.2g} on average over {FRAMES} frames"
    )
    assert said in result.err
    for strip in (pixels[:STRIP], pixels[-STRIP:]):
        assert strip.max() > 0.8, "words"
    path = tmp_path / "less.png"
    assert run("compare", "seeded", other, "--output", path, "--frames", FRAMES, "--amplify", "2").code == 0
    assert rows[:, 3].mean() > 4 * read(path)[1][:, 3].mean() > 0
    result = run("compare", "seeded", other, "--output", tmp_path / "out.mp4", "--frames", FRAMES)
    assert (result.code, result.out) == (0, f"{tmp_path / 'out.mp4'}\n"), result.err
    with av.open(str(tmp_path / "out.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24") / 255 for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p", "any player's"
    assert (len(shown), shown[0].shape) == (FRAMES, (2 * STRIP + HEIGHT, 4 * WIDTH, 3))
    for k, row in enumerate(rows):
        given = shown[(k + 1) * FRAMES // ROWS - 1][STRIP:-STRIP].reshape(HEIGHT, 4, WIDTH, 3)[:-GAP, :, :-GAP]
        assert np.abs(given.transpose(1, 0, 2, 3) - row).mean() < 0.03


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("onnx", "ncnn") else [pytest.mark.long]) for name in FORMATS]
)
def test_any_format_plays(name, seeded_artifacts, run, tmp_path):
    """Test one format for any size and one for one size in `make test`; `matte` and `verify` play all there."""
    artifact = seeded_artifacts[name]
    result = run("compare", artifact, "seeded", "--trust", "--output", tmp_path / "out.png", "--frames", FRAMES)
    assert result.code == 0, result.err
    fixed = describe(artifact).fixed
    _, rows = read(tmp_path / "out.png", PANEL_WIDTH * fixed.height // fixed.width + GAP if fixed else HEIGHT)
    assert np.abs(rows[:, 1] - rows[:, 2]).max() < 1.5 / 255
    assert rows[:, 3].max() < 1.5 / 255
    assert rows[:, 1].std() > 0.05


def test_what_takes_any_size_is_played_at_the_others(run, tmp_path):
    """Check also that named weights get the other model's variant and refiner."""
    checkpoint = load_checkpoint("seeded", refiner="fast_guided_filter")
    spec = FORMATS["onnx"].spec(
        variant="mobilenetv3",
        refiner="fast_guided_filter",
        precision="fp32",
        fixed=Fixed(width=160, height=90, ratio=0.6, batch=2),
    )
    path = tmp_path / "fixed.onnx"
    load_exporter("onnx").export(checkpoint, spec, path)
    result = run("compare", "seeded", path, "--output", tmp_path / "out.png", "--frames", FRAMES)
    assert result.code == 0, result.err
    assert read(tmp_path / "out.png")[1][:, 3].max() <= 0.05
    result = run("compare", "seeded", path, "--output", tmp_path / "other.png", "--downsample-ratio", "0.5")
    assert result.code == 2
    assert "has ratio 0.6 baked in" in result.error
    assert not (tmp_path / "other.png").exists()


@pytest.mark.parametrize("second", [pytest.param("dgf.pth", marks=pytest.mark.long), "seeded"])
def test_a_checkpoint_file_tells_its_kind_and_that_of_named_weights(second, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, refiner in (("fgf.pth", "fast_guided_filter"), ("dgf.pth", "deep_guided_filter")):
        torch.save(dict(load_checkpoint("seeded", refiner=refiner).state_dict), name)
    result = run("compare", "fgf.pth", second, "--output", "out.png", "--frames", FRAMES)
    assert result.code == 0, result.err
    difference = read(tmp_path / "out.png")[1][:, 3].max()
    assert difference > 0.1 if second == "dgf.pth" else difference == 0


def test_names_too_long_are_cut(other, run, tmp_path):
    long = other.rename(other.with_name(f"{'long_' * 30}.pth"))
    assert run("compare", long, "seeded", "--output", tmp_path / "out.png", "--frames", FRAMES).code == 0
    label = read(tmp_path / "out.png")[0][:STRIP, WIDTH : 2 * WIDTH]
    assert label[:, -5:].max() < 0.2 < label[:, 200:-50].max()
    long.rename(other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seeded", "seeded", "--output", "{0}/out.jpg"], "out.jpg ends in none of .png, .mp4"),
        (["seeded", "{0}/none.onnx", "--output", "{0}/out.png"], "No such file"),
        (["{0}/none.pth", "seeded", "--output", "{0}/out.png"], "no such checkpoint"),
        (["{0}/text", "seeded", "--output", "{0}/out.png"], "none of the formats known here"),
        (["seeded", "auto", "--output", "{0}/out.png"], "No such file"),
        (["seeded", "seeded", "--output", "{0}/there.png"], "there.png exists; use --force"),
        (["seeded", "{0}/there.png", "--output", "{0}/there.png", "--force"], "would overwrite"),
        (["seeded", "seeded", "--clip", "{0}", "--output", "{0}/out.png"], "would overwrite"),
        (["seeded", "seeded", "--output", "{0}/folder.png", "--force"], "folder.png is a folder"),
        (["seeded", "seeded", "--output", "{0}/out.png", "--amplify", "0"], "--amplify 0: give a number above 0"),
        (["seeded", "seeded", "--output", "{0}/out.png", "--amplify", "nan"], "--amplify nan: give a number above 0"),
        (["seeded", "seeded", "--output", "{0}/out.png", "--frames", "3"], "at least 12"),
        (["seeded", "seeded", "--output", "{0}/out.png", "--clip", "none.mp4"], "no such clip: none.mp4"),
        (["seeded", "seeded", "--output", "{0}/text/out.png"], "text is a file, not a folder"),
    ],
)
def test_bad_input_is_said_in_one_line(arguments, message, run, tmp_path):
    (tmp_path / "text").write_text("text")
    (tmp_path / "there.png").write_text("there")
    (tmp_path / "folder.png").mkdir()
    result = run("compare", *(each.format(tmp_path) for each in arguments))
    assert (result.code, result.out) == (2, "")
    assert message in result.error
    assert {each.name for each in tmp_path.iterdir()} == {"text", "there.png", "folder.png"}
    assert (tmp_path / "there.png").read_text() == "there"


def test_what_does_not_play_leaves_nothing(artifact, run, tmp_path):
    content = artifact.read_bytes()
    artifact.write_bytes(content[: len(content) // 2])
    assert run("compare", "seeded", artifact, "--trust", "--output", tmp_path / "out.png").code == 2
    assert [*tmp_path.iterdir()] == [artifact]
