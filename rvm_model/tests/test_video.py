"""The released project's readers and writers, and its loop."""

import gc
import os
import pickle
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from rvm_model import ImageSequenceReader, ImageSequenceWriter, ToTensor, VideoReader, VideoWriter
from rvm_model.colour import VideoError
from rvm_model.network import MattingNetwork
from rvm_model.source import open_source

FRAMES = 40


def pictures(count=FRAMES, height=48, width=64):
    """Frame k is k times 5 bright at its left half, with a ramp at its right."""
    ramp = torch.linspace(0, 1, width).expand(count, 3, height, width).clone()
    ramp[..., : width // 2] = (torch.arange(count) * 5 / 255)[:, None, None, None]
    return ramp


@pytest.fixture(params=["clip.mp4", "clip.mkv", "clip.avi", "clip.webm"])
def clip(request, tmp_path):
    with VideoWriter(tmp_path / request.param, frame_rate=30, bit_rate=4_000_000) as writer:
        writer.write(pictures())
    return tmp_path / request.param


def which(image):
    """The number of a frame, by its brightness."""
    return round(float(np.asarray(image)[:, :24].mean()) / 5)


def test_frames_in_any_order(clip):
    reader = VideoReader(clip)
    assert (len(reader), reader.frame_rate) == (FRAMES, 30)
    order = [*range(FRAMES), 7, 3, 39, 0, 20, 21, 5, -1, -FRAMES]
    assert [which(reader[k]) for k in order] == [k % FRAMES for k in order]
    for index in (FRAMES, -FRAMES - 1):
        with pytest.raises(IndexError):
            reader[index]


def test_in_order_the_file_is_opened_once(clip, monkeypatch):
    reader = VideoReader(clip)
    opened = []
    monkeypatch.setattr("rvm_model.video.open_source", lambda *a, **k: opened.append(a) or open_source(*a, **k))
    assert [which(image) for image in reader] == [*range(FRAMES)]
    assert len(opened) == 1


# On a machine with one core two workers are too many; fork after threads is what is tested here.
@pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_in_a_data_loader(clip, workers):
    with VideoReader(clip, transform=ToTensor()) as reader:
        which(Image.fromarray((reader[3].permute(1, 2, 0).numpy() * 255).astype(np.uint8)))
        batches = [*DataLoader(reader, batch_size=3, num_workers=workers)]
    assert [len(batch) for batch in batches] == [3] * 13 + [1]
    left = torch.cat(batches)[..., :24].mean((1, 2, 3)) * 51
    assert left.round().tolist() == [*range(FRAMES)]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_leaves_its_parents_garbage_alone(clip):
    """Or it would wait for the threads of a decoder, which only the parent has, for ever."""
    gc.disable()
    try:
        reader = VideoReader(clip)
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


def test_a_reader_can_be_sent_to_another_process(clip):
    reader = VideoReader(clip)
    reader[5]
    assert which(pickle.loads(pickle.dumps(reader))[6]) == 6


def test_frames_are_pictures_until_transformed(clip):
    image = VideoReader(str(clip))[0]
    assert (image.mode, image.size) == ("RGB", (64, 48))
    tensor = VideoReader(clip, ToTensor())[0]
    assert (tensor.shape, tensor.dtype) == ((3, 48, 64), torch.float32)
    assert (tensor == ToTensor()(image)).all()


def test_no_such_video(tmp_path):
    with pytest.raises(VideoError, match="no such file"):
        VideoReader(tmp_path / "none.mp4")


def test_grey_half_precision_and_a_batch_of_one(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", frame_rate=24) as writer:
        writer.write(pictures(4)[:, :1].half())
        writer.write(pictures(4)[None])
    assert [which(image) for image in VideoReader(tmp_path / "a.mp4")] == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 8, 8), (2, 1, 3, 8, 8)])
def test_tensors_that_are_no_video(tmp_path, shape):
    with pytest.raises(ValueError, match="frames must be"), VideoWriter(tmp_path / "a.mp4", 24) as writer:
        writer.write(torch.zeros(shape))
    assert list(tmp_path.iterdir()) == []


def test_the_bit_rate_counts(tmp_path):
    noise = torch.rand(30, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    for rate in (100_000, 8_000_000):
        with VideoWriter(tmp_path / f"{rate}.mp4", frame_rate=30, bit_rate=rate) as writer:
            writer.write(noise)
    assert (tmp_path / "8000000.mp4").stat().st_size > 5 * (tmp_path / "100000.mp4").stat().st_size


@pytest.mark.parametrize(("extension", "channels", "mode"), [("jpg", 3, "RGB"), ("png", 4, "RGBA"), ("png", 1, "L")])
def test_image_sequences(tmp_path, extension, channels, mode):
    frames = pictures(12)[:, [0, 1, 2, 0][:channels]]
    with ImageSequenceWriter(tmp_path / "new" / "frames", extension) as writer:
        writer.write(frames[:5])
        writer.write(frames[None, 5:])
    files = sorted((tmp_path / "new" / "frames").iterdir())
    assert [file.name for file in files] == [f"{k:04d}.{extension}" for k in range(12)]
    with Image.open(files[3]) as image:
        assert image.mode == mode
    with ImageSequenceReader(tmp_path / "new" / "frames") as reader:
        assert [which(reader[k]) for k in range(len(reader))] == [*range(12)]
    tensors = ImageSequenceReader(str(tmp_path / "new" / "frames"), transform=ToTensor())
    assert (tensors[-1] - frames[-1, [0]]).abs().mean() < 0.02


def test_to_tensor():
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    assert (ToTensor()(pixels) == torch.from_numpy(pixels).permute(2, 0, 1) / 255).all()
    assert ToTensor()(Image.new("L", (5, 4), 255)).tolist() == torch.ones(1, 4, 5).tolist()
    with pytest.raises(TypeError, match="8 bits"):
        ToTensor()(pixels.astype(np.float32))


def test_the_released_loop_runs_unchanged(tmp_path, monkeypatch):
    """But for its imports. Where there is no GPU, `.cuda()` is made to do nothing."""
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    with VideoWriter(tmp_path / "input.mp4", frame_rate=30) as made:
        made.write(pictures(6, 96, 128))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = MattingNetwork("mobilenetv3").eval()
    if torch.cuda.is_available():
        model = model.cuda()

    def loop():
        reader = VideoReader("input.mp4", transform=ToTensor())
        writer = VideoWriter("output.mp4", frame_rate=30)

        bgr = torch.tensor([0.47, 1, 0.6]).view(3, 1, 1).cuda()
        rec = [None] * 4
        downsample_ratio = 0.25

        with torch.no_grad():
            for src in DataLoader(reader):
                fgr, pha, *rec = model(src.cuda(), *rec, downsample_ratio)
                com = fgr * pha + bgr * (1 - pha)
                writer.write(com)

    loop()
    gc.collect()
    reader = VideoReader("output.mp4")
    assert (len(reader), reader.frame_rate, reader[0].size) == (6, 30, (128, 96))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["input.mp4", "output.mp4"]
