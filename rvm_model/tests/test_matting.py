"""Matting of a clip into files: every frame, in order, equal to a run by hand; and no half-written file."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from rvm_model import MattingNetwork, convert_video, load_checkpoint
from rvm_model.tests.clips import drawn, write_clip
from rvm_model.video.colour import VideoError
from rvm_model.video.source import open_source

RATIO = 0.5


@pytest.fixture(scope="module")
def network() -> MattingNetwork:
    return load_checkpoint("seeded").network()


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mkv", drawn(7, 96, 64))


def read(path):
    with open_source(path) as source:
        return [(frame.pixels, frame.pts) for frame in source]


def by_hand(network, path, ratio=RATIO):
    """Return fgr (T, H, W, 3) and pha (T, H, W), in levels of 8 bits."""
    states, mattes = [None] * 4, []
    for pixels, _ in read(path):
        src = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            fgr, pha, *states = network(src, *states, ratio)
        mattes.append((fgr[0].permute(1, 2, 0).numpy() * 255, pha[0, 0].numpy() * 255))
    return [np.array(each) for each in zip(*mattes, strict=True)]


@pytest.mark.parametrize("seq_chunk", [1, 3])
def test_videos_are_what_the_network_gives(seq_chunk, network, clip, tmp_path):
    names = {kind: tmp_path / f"{kind}.mkv" for kind in ("composition", "alpha", "foreground")}
    outputs = {f"output_{kind}": path for kind, path in names.items()}
    convert_video(network, clip, downsample_ratio=RATIO, seq_chunk=seq_chunk, progress=False, **outputs)
    fgr, pha = by_hand(network, clip)
    green = np.array([120, 255, 155])
    share = pha[..., None] / 255
    expected = {
        "foreground": fgr,
        "alpha": np.repeat(pha[..., None], 3, -1),
        "composition": fgr * share + green * (1 - share),
    }
    for kind, path in names.items():
        given = read(path)
        assert [pts for _, pts in given] == [pts for _, pts in read(clip)]
        # H.264 at a high quality, chroma at half the size.
        assert np.abs(np.array([pixels for pixels, _ in given]) - expected[kind]).mean() <= 4, kind


def test_folders_are_exact_and_the_composition_is_transparent(network, clip, tmp_path):
    outputs = {f"output_{kind}": tmp_path / kind for kind in ("composition", "alpha", "foreground")}
    convert_video(network, str(clip), None, RATIO, "png_sequence", progress=False, **outputs)
    fgr, pha = by_hand(network, clip)
    for k in range(7):
        written = {
            kind: np.asarray(Image.open(tmp_path / kind / f"{k:04d}.png"))
            for kind in ("composition", "alpha", "foreground")
        }
        np.testing.assert_array_equal(written["alpha"], np.rint(pha[k]))
        np.testing.assert_array_equal(written["foreground"], np.rint(fgr[k]))
        np.testing.assert_array_equal(written["composition"][..., 3], np.rint(pha[k]))
        np.testing.assert_array_equal(written["composition"][..., :3], np.rint(fgr[k]) * (pha[k] > 0)[..., None])
    assert len([*(tmp_path / "alpha").iterdir()]) == 7


def test_resized_and_with_the_ratio_that_suits(network, clip, tmp_path):
    convert_video(network, clip, (48, 32), output_alpha=tmp_path / "alpha.mp4", progress=False)
    assert [pixels.shape for pixels, _ in read(tmp_path / "alpha.mp4")] == [(32, 48, 3)] * 7


def test_a_frozen_network_cannot_tell_its_device(network, clip, tmp_path):
    scripted = torch.jit.freeze(torch.jit.script(network))
    arguments = {"downsample_ratio": RATIO, "output_type": "png_sequence", "progress": False}
    with pytest.raises(ValueError, match="give both"):
        convert_video(scripted, clip, output_alpha=tmp_path / "frozen", **arguments)
    convert_video(scripted, clip, output_alpha=tmp_path / "frozen", device="cpu", dtype=torch.float32, **arguments)
    convert_video(network, clip, output_alpha=tmp_path / "network", **arguments)
    for k in range(7):
        one, other = (
            np.asarray(Image.open(tmp_path / name / f"{k:04d}.png")).astype(int) for name in ("frozen", "network")
        )
        assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give at least one of output_composition"),
        ({"output_alpha": "a.mp4", "output_type": "gif"}, "output_type is 'gif'"),
        ({"output_alpha": "a.mp4", "downsample_ratio": 1.5}, r"downsample_ratio is 1\.5"),
        ({"output_alpha": "a.mp4", "downsample_ratio": float("nan")}, "downsample_ratio is nan"),
        ({"output_alpha": "a.mp4", "seq_chunk": 0}, "seq_chunk is 0"),
        ({"output_alpha": "a.mp4", "output_type": "png_sequence"}, "folders of PNG have none"),
        ({"output_alpha": "a"}, "videos have a suffix"),
    ],
)
def test_wrong_arguments(arguments, message, network, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        convert_video(network, clip, **arguments)
    assert [*tmp_path.iterdir()] == [clip]


class Failing(torch.nn.Module):
    """A network that fails after some frames."""

    def __init__(self, error, after):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.error, self.left = error, after

    def forward(self, src, *states):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return [src[0][None], src[:, :, :1], *[None] * 4]


@pytest.mark.parametrize(
    "outputs", [{"output_alpha": "clip.mkv"}, {"output_alpha": "a.mp4", "output_foreground": "./a.mp4"}]
)
def test_places_that_would_be_overwritten(outputs, network, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = clip.read_bytes()
    with pytest.raises(VideoError, match="would overwrite"):
        convert_video(network, "clip.mkv", **outputs)
    assert clip.read_bytes() == before
    assert [*tmp_path.iterdir()] == [clip]


def test_a_model_that_gives_no_numbers(clip, tmp_path):
    class Nothing(Failing):
        def forward(self, src, *states):
            return [src[0][None], src[:, :, :1] * float("nan"), *[None] * 4]

    with pytest.raises(VideoError, match="not finite"):
        convert_video(Nothing(None, 0), clip, output_alpha=tmp_path / "a.mp4", progress=False)
    assert [*tmp_path.iterdir()] == [clip]


def test_a_damaged_clip_gives_what_there_is_and_a_warning(network, clip, tmp_path):
    content = write_clip(clip, drawn(40, 96, 64)).read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r"clip\.mkv"):
        convert_video(network, clip, output_alpha=tmp_path / "alpha.mkv", downsample_ratio=RATIO, progress=False)
    assert 0 < len(read(tmp_path / "alpha.mkv")) < 40


@pytest.mark.parametrize("after", [0, 4])
@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_nothing_is_left_of_what_failed(error, after, clip, tmp_path):
    threads = threading.active_count()
    with pytest.raises(type(error)):
        convert_video(
            Failing(error, after),
            clip,
            output_alpha=tmp_path / "alpha.mp4",
            output_foreground=tmp_path / "fgr.mkv",
            progress=False,
        )
    assert [*tmp_path.iterdir()] == [clip]
    assert threading.active_count() == threads


def test_progress_is_a_line_where_there_is_no_terminal(network, clip, tmp_path, capfd):
    convert_video(network, clip, output_alpha=tmp_path / "alpha.mp4", downsample_ratio=RATIO)
    assert capfd.readouterr().err.startswith("clip.mkv: 100% 7/7 [00:")
