"""The released project's readers and writers: its own loop runs, and each index gives its frame."""

import gc
import os
import pickle
import signal
import time
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import rvm_model
import rvm_model.compat
from rvm_model import ImageSequenceReader, ImageSequenceWriter, ToTensor, VideoReader, VideoWriter, load_checkpoint
from rvm_model.tests.clips import Sound, drawn, encode_clip, write_clip
from rvm_model.tests.test_source import B_FRAMES, VARIABLE
from rvm_model.video.colour import VideoError
from rvm_model.video.source import open_source

CLIP = drawn(30, 64, 48)


def frames_of(path):
    with open_source(path) as source:
        return [np.array(frame.pixels) for frame in source]


def test_every_name_comes_from_the_package():
    for name in ("VideoReader", "VideoWriter", "ImageSequenceReader", "ImageSequenceWriter", "ToTensor"):
        assert getattr(rvm_model, name) is getattr(rvm_model.compat, name)
        assert name in rvm_model.__all__


def test_the_released_loop_runs_unchanged(tmp_path, monkeypatch):
    """Run it with other imports, and without a GPU with a `cuda()` that does nothing. It never closes its writer."""
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.chdir(tmp_path)
    encode_clip(tmp_path / "input.mp4", drawn(12, 160, 96))
    model = load_checkpoint("seeded").network().eval()
    if torch.cuda.is_available():
        model = model.cuda()

    def loop():
        reader = VideoReader('input.mp4', transform=ToTensor())  # fmt: skip
        writer = VideoWriter('output.mp4', frame_rate=30)  # fmt: skip

        bgr = torch.tensor([.47, 1, .6]).view(3, 1, 1).cuda()  # fmt: skip
        rec = [None] * 4  # fmt: skip
        downsample_ratio = 0.25  # fmt: skip

        with torch.no_grad():
            for src in DataLoader(reader):
                fgr, pha, *rec = model(src.cuda(), *rec, downsample_ratio)
                com = fgr * pha + bgr * (1 - pha)
                writer.write(com)

    loop()
    gc.collect()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["input.mp4", "output.mp4"]
    states, expected = [None] * 4, []
    with torch.no_grad():
        for pixels in frames_of(tmp_path / "input.mp4"):
            src = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
            fgr, pha, *states = model(src.cuda(), *states, 0.25)
            composed = fgr * pha + torch.tensor([0.47, 1, 0.6]).view(3, 1, 1).cuda() * (1 - pha)
            expected.append(composed[0].permute(1, 2, 0).cpu().numpy() * 255)
    written = frames_of(tmp_path / "output.mp4")
    assert len(written) == 12
    assert np.abs(np.array(written) - expected).mean() < 4
    assert VideoReader("output.mp4").frame_rate == 30


KINDS = {
    "mp4 with B-frames": {"options": B_FRAMES, "time_base": Fraction(1, 12800)},
    "mp4 with open groups": {
        "options": {**B_FRAMES, "x264-params": "open-gop=1"},
        "time_base": Fraction(1, 12800),
    },
    "mp4 that varies": {"options": B_FRAMES, "time_base": Fraction(1, 90000), "times": VARIABLE},
    "mkv that begins late": {"time_base": Fraction(1, 1000), "times": [2000 + each for each in VARIABLE]},
    "mp4 of close frames": {"time_base": Fraction(1, 90000), "pts": [*range(30)]},
    "mp4 with a nanosecond clock": {"time_base": Fraction(1, 10**9), "pts": [k * 33_366_700 + 7 for k in range(30)]},
    "ts": {"options": B_FRAMES, "time_base": Fraction(1, 90000), "container": "mpegts"},
    "avi": {"codec": "mpeg4", "bit_rate": 4_000_000},
    "webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "g": "8"}, "time_base": Fraction(1, 1000)},
    "mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
    "mp4 with sound": {"time_base": Fraction(1, 12800), "sound": Sound(codec="aac", seconds=1.2, click=0.5)},
}


SHORT_KINDS = ("mp4 with B-frames", "mp4 that varies", "mkv that begins late", "ts", "webm", "mov")


@pytest.fixture(params=[pytest.param(kind, marks=[] if kind in SHORT_KINDS else [pytest.mark.long]) for kind in KINDS])
def video(request, tmp_path):
    kind = dict(KINDS[request.param])
    base, times = kind.setdefault("time_base", Fraction(1, 25)), kind.pop("times", None)
    times = [Fraction(each, 1000) for each in times] if times else [Fraction(k, 25) for k in range(30)]
    kind.setdefault("pts", [int(each / base) for each in times])
    frames = CLIP[: len(kind["pts"])]
    return encode_clip(tmp_path / f"clip.{request.param.split()[0]}", frames, **kind)


def test_any_frame_is_that_of_its_number(video):
    expected = frames_of(video)
    if expected[0].dtype == np.uint16:
        expected = [(each >> 8).astype(np.uint8) for each in expected]
    reader = VideoReader(video)
    assert len(reader) == len(expected) == (11 if len(expected) == 11 else 30)
    for k, (given, frame) in enumerate(zip(reader, expected, strict=False)):
        np.testing.assert_array_equal(given, frame, str(k))
    count = len(expected)
    for k in [*np.random.default_rng(1).permutation(count).tolist(), 0, 0, count - 1, 3, 4, 5, 2]:
        np.testing.assert_array_equal(reader[k], expected[k], str(k))
        np.testing.assert_array_equal(reader[k - count], expected[k], str(k - count))
    for k in (count, -count - 1, 10**9):
        with pytest.raises(IndexError, match=f"has {count} frames"):
            reader[k]


def test_a_frame_is_an_rgb_image_or_what_is_made_of_it(tmp_path):
    path = encode_clip(tmp_path / "clip.mp4", CLIP[:3])
    image = VideoReader(path)[1]
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (64, 48))
    tensor = VideoReader(str(path), transform=ToTensor())[1]
    assert (tensor.dtype, tensor.shape) == (torch.float32, (3, 48, 64))
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), np.asarray(image, np.float32) / np.float32(255))
    assert VideoReader(path, transform=lambda image: image.size)[0] == (64, 48)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # on one core
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("read_before", [False, True])
def test_a_data_loader_with_workers(workers, read_before, tmp_path):
    path = encode_clip(tmp_path / "clip.mp4", CLIP, options=B_FRAMES)
    expected = torch.from_numpy(np.array(frames_of(path))).permute(0, 3, 1, 2) / 255
    reader = VideoReader(path, transform=ToTensor())
    if read_before:
        # A worker inherits the decoder without its threads.
        torch.testing.assert_close(reader[4], expected[4], rtol=0, atol=0)
    batches = [*DataLoader(reader, batch_size=4, num_workers=workers, timeout=30 if workers else 0)]
    torch.testing.assert_close(torch.cat(batches), expected, rtol=0, atol=0)
    torch.testing.assert_close(reader[5], expected[5], rtol=0, atol=0)


def test_frames_in_order_are_decoded_once(tmp_path, monkeypatch):
    reader = VideoReader(encode_clip(tmp_path / "clip.mp4", CLIP, options=B_FRAMES))
    opened = []

    def counted(*arguments, **window):
        opened.append(window)
        return open_source(*arguments, **window)

    monkeypatch.setattr(rvm_model.compat, "open_source", counted)
    for _ in reader:
        pass
    assert len(opened) == 1
    for k in range(10, 20):
        reader[k]
    assert len(opened) == 2
    reader[7]
    assert len(opened) == 3


def test_a_reader_can_be_pickled_while_it_reads(tmp_path):
    reader = VideoReader(encode_clip(tmp_path / "clip.mp4", CLIP), transform=ToTensor())
    third = reader[3]
    other = pickle.loads(pickle.dumps(reader))
    assert len(other) == 30
    torch.testing.assert_close(other[3], third, rtol=0, atol=0)
    torch.testing.assert_close(other[4], reader[4], rtol=0, atol=0)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("suffix", ["mkv", "ts", "mp4", "avi"])
def test_a_file_that_was_cut_off_has_the_frames_that_can_be_decoded(suffix, share, tmp_path):
    kind = {
        "mp4": {"mux": {"movflags": "faststart"}},
        "ts": {"container": "mpegts"},
        "avi": {"codec": "mpeg4", "bit_rate": 4_000_000},
    }
    base = {"avi": Fraction(1, 25), "mkv": Fraction(1, 1000)}.get(suffix, Fraction(1, 90000))
    path = encode_clip(
        tmp_path / f"clip.{suffix}",
        drawn(80, 64, 48),
        time_base=base,
        pts=[int(Fraction(k, 25) / base) for k in range(80)],
        **({"options": B_FRAMES} if suffix != "avi" else {}),
        **kind.get(suffix, {}),
    )
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    expected = frames_of(path)
    reader = VideoReader(path)
    assert len(reader) == len(expected) < 80
    for k in (0, len(expected) - 1, 5, len(expected) // 2):
        np.testing.assert_array_equal(reader[k], expected[k])
    assert len([*DataLoader(VideoReader(path, ToTensor()))]) == len(expected)


def test_frames_that_an_edit_list_hides_do_not_count(tmp_path):
    """Cut without encoding again, which leaves frames that are decoded but not shown."""
    whole = encode_clip(tmp_path / "whole.mp4", CLIP, options={"bf": "0", "g": "100"}, time_base=Fraction(1, 12800),
                        pts=[512 * k for k in range(30)])  # fmt: skip
    path = tmp_path / "cut.mp4"
    with av.open(str(whole)) as given, av.open(str(path), "w") as file:
        stream = file.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - 5 * 512, packet.dts - 5 * 512, stream
                file.mux(packet)
    expected = frames_of(whole)[5:]
    np.testing.assert_array_equal(frames_of(path), expected)
    reader = VideoReader(path)
    assert len(reader) == 25
    for k in (0, 24, 7, 3):
        np.testing.assert_array_equal(reader[k], expected[k])


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(VideoError, match="no such file"):
        VideoReader(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(VideoError, match="cannot read"):
        VideoReader(tmp_path / "text.mp4")
    with pytest.raises(VideoError, match="give a folder of frames"):
        ImageSequenceReader(tmp_path)


def tensors(frames):
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2) / 255


def test_a_writer_takes_four_or_five_dimensions(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 25, bit_rate=4_000_000) as writer:
        writer.write(tensors(CLIP[:4]))
        writer.write(tensors(CLIP[4:9])[None])
        writer.write(tensors(CLIP[9:10]).half().requires_grad_())
    written = frames_of(tmp_path / "clip.mp4")
    assert len(written) == 10
    assert np.abs(np.array(written).astype(int) - CLIP[:10]).mean() < 4


def test_a_writer_clamps_and_rounds(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 25) as writer:
        writer.write(torch.stack([torch.full((3, 48, 64), value) for value in (-3.0, 7.0, 0.5)]))
    values = [frame[24, 32, 1] for frame in frames_of(tmp_path / "clip.mp4")]
    assert np.abs(np.array(values, int) - [0, 255, 128]).max() <= 2


def test_grey_is_written(tmp_path):
    with VideoWriter(tmp_path / "alpha.mp4", 25) as writer:
        writer.write(tensors(CLIP)[:, :1])
    written = np.array(frames_of(tmp_path / "alpha.mp4")).astype(int)
    assert np.abs(written - np.array(CLIP)[..., :1]).mean() < 4
    assert np.abs(written - written[..., :1]).max() <= 2


@pytest.mark.parametrize(
    ("rate", "exact"),
    [(29.97, Fraction(2997, 100)), (30000 / 1001, Fraction(30000, 1001)), (24, 24), (12.5, Fraction(25, 2))],
)
def test_rates_that_are_no_whole_number(rate, exact, tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", frame_rate=rate) as writer:
        writer.write(tensors(CLIP[:10]))
    with open_source(tmp_path / "clip.mp4") as source:
        assert source.properties.frame_rate == exact
    assert VideoReader(tmp_path / "clip.mp4").frame_rate == pytest.approx(rate)


def test_a_bit_rate(tmp_path):
    noise = torch.rand(25, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    sizes = []
    for bit_rate in (300_000, 1_500_000):
        with VideoWriter(tmp_path / "clip.mp4", 25, bit_rate) as writer:
            writer.write(noise)
        sizes.append((tmp_path / "clip.mp4").stat().st_size)
    assert sizes[1] > 2 * sizes[0]


def test_a_video_appears_when_it_is_whole(tmp_path):
    writer = VideoWriter(tmp_path / "clip.mp4", 25)
    writer.write(tensors(CLIP[:5]))
    assert not (tmp_path / "clip.mp4").exists()
    writer.close()
    writer.close()
    assert len(frames_of(tmp_path / "clip.mp4")) == 5
    with pytest.raises(ValueError, match="is closed"):
        writer.write(tensors(CLIP[:5]))
    writer = VideoWriter(tmp_path / "forgotten.mp4", 25)
    writer.write(tensors(CLIP[:3]))
    del writer
    gc.collect()
    assert len(frames_of(tmp_path / "forgotten.mp4")) == 3
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", "forgotten.mp4"]


def test_a_writer_without_a_frame_leaves_nothing(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 25):
        pass
    assert not [*tmp_path.iterdir()]


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(VideoError, match="cannot write"), VideoWriter(tmp_path / "file" / "clip.mp4", 25) as writer:
        writer.write(tensors(CLIP[:1]))


@pytest.mark.parametrize(("channels", "extension"), [(1, "png"), (3, "png"), (4, "png"), (1, "jpg"), (3, "jpg")])
def test_image_sequences(channels, extension, tmp_path):
    frames = torch.cat([tensors(CLIP), tensors(CLIP)[:, :1]], 1)[:, :channels]
    with ImageSequenceWriter(tmp_path / "new" / "frames", extension) as writer:
        writer.write(frames[:4])
        writer.write(frames[None, 4:12])
    folder = tmp_path / "new" / "frames"
    assert sorted(each.name for each in folder.iterdir()) == [f"{k:04d}.{extension}" for k in range(12)]
    reader = ImageSequenceReader(folder, transform=ToTensor())
    assert len(reader) == 12
    expected = frames[:12].expand(-1, 3, -1, -1) if channels == 1 else frames[:12, :3]
    limit = 0.5 / 255 if extension == "png" else 0.03
    for given, frame in zip(DataLoader(reader), expected, strict=True):
        assert (given[0] - frame).abs().mean() < limit
    torch.testing.assert_close(reader[-1], reader[11])
    image = ImageSequenceReader(folder)[0]
    assert (image.mode, image.size) == ("RGB", (64, 48))


def test_a_folder_with_workers_and_to_be_pickled(tmp_path):
    for k in (2, 10, 1):
        Image.fromarray(CLIP[k]).save(tmp_path / f"frame{k}.png")
    reader = pickle.loads(pickle.dumps(ImageSequenceReader(tmp_path, ToTensor())))
    (batch,) = DataLoader(reader, batch_size=3, num_workers=1)
    torch.testing.assert_close(batch, tensors([CLIP[1], CLIP[2], CLIP[10]]), rtol=0, atol=0)


def test_to_tensor_of_an_array():
    tensor = ToTensor()(CLIP[0])
    assert (tensor.shape, tensor.dtype) == ((3, 48, 64), torch.float32)
    assert tensor.is_contiguous()
    assert 0 <= tensor.min() < tensor.max() <= 1


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_leaves_its_parents_garbage_alone(tmp_path):
    """Collect garbage in the child. To free the parent's decoder there would wait forever for its threads."""
    gc.disable()
    try:
        reader = VideoReader(write_clip(tmp_path / "clip.mp4", CLIP))
        reader[5]
        reader.itself = reader
        del reader
        child = os.fork()
        if not child:
            gc.collect()
            os._exit(0)
    finally:
        gc.enable()
    end = time.monotonic() + 20
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    assert ended[1] == 0
