"""Good files of every kind: models of all formats, weights, pictures, a clip and a release."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from exporters import FORMATS, load_exporter
from exporters.spec import Fixed
from exporters.support.archive import unpacked
from parity_tests.clips import builtin_clip
from rvm_model import load_checkpoint
from tools.tests.hostile.commands import CLIP
from tools.tests.hostile.home import Home
from tools.tests.small_release import make_here

SMALL = Fixed(width=96, height=64, ratio=0.5)
ANY_SIZE = {
    "model.onnx": ("onnx", {"precision": "fp32"}),
    "model.torchscript": ("torchscript", {"precision": "fp32"}),
    "model.pt2": ("pt2", {"precision": "fp32"}),
    "savedmodel.zip": ("tensorflow", {"precision": "fp32"}),
    "tfjs.zip": ("tfjs", {"precision": "int8"}),
    "model.mlpackage.zip": ("coreml", {"precision": "fp16", "zip": True}),
    "model.pte": ("executorch", {"precision": "fp32"}),
    "model.tflite": ("litert", {"precision": "fp32"}),
    "model.ncnn.zip": ("ncnn", {"precision": "fp32", "zip": True}),
    "model.openvino.zip": ("openvino", {"precision": "fp32", "zip": True}),
}
"""Models by name: format and options. Those of formats with one size have `SMALL`."""

ONE_SIZE = {
    "fixed.onnx": ("onnx", {"precision": "fp32", "fixed": SMALL}),
    "model.mlmodel": ("coreml", {"precision": "int8", "target": "ios14", "fixed": SMALL}),
}
MODELS = {**ANY_SIZE, **ONE_SIZE}
FOLDERS = {
    "savedmodel": ("savedmodel.zip", "saved_model.pb"),
    "tfjs": ("tfjs.zip", "model.json"),
    "model.mlpackage": ("model.mlpackage.zip", "Manifest.json"),
    "model.ncnn": ("model.ncnn.zip", "model.ncnn.param"),
    "model.openvino": ("model.openvino.zip", "model.xml"),
}
"""Models that are folders: the zip file of each, and the file that marks its root."""

WEIGHTS = ("weights.pth", "weights.safetensors")
PICTURES = ("picture.png", "deep.png", "picture.jpg")
VIDEOS = ("video.mp4", "video.mkv")
RELEASE = "release"


def make_models(folder: Path, models: Mapping[str, tuple[str, Mapping[str, object]]] = MODELS) -> dict[str, Path]:
    """Export one model of each kind, from seeded weights. Return the paths by name."""
    checkpoint = load_checkpoint("seeded")
    for name, (format_name, options) in models.items():
        size = {"fixed": SMALL} if FORMATS[format_name].one_size else {}
        given = {"variant": "mobilenetv3", "refiner": "deep_guided_filter", **size, **options}
        load_exporter(format_name).export(checkpoint, FORMATS[format_name].spec(**given), folder / name)
    return {name: folder / name for name in models}


def write_good_files(home: Home, models: Mapping[str, Path]) -> None:
    """Write good files of every kind into `home.good`. `models` are good files, by their names in `MODELS`."""
    good = home.good
    good.mkdir(parents=True)
    for name, path in models.items():
        shutil.copy(path, good / name)
    for name, (source, marker) in FOLDERS.items():
        with unpacked(good / source, marker) as folder:
            shutil.copytree(folder, good / name)
    state_dict = dict(load_checkpoint("seeded").state_dict)
    torch.save(state_dict, good / WEIGHTS[0])
    save_file(state_dict, good / WEIGHTS[1])
    frames = [pixels for (pixels,) in builtin_clip(16, 64, 48).pixels]
    (good / CLIP).mkdir()
    for k, pixels in enumerate(frames):
        Image.fromarray(pixels).save(good / CLIP / f"{k}.png")
    _write_pictures(good, frames[0])
    for name in VIDEOS:
        write_video(good / name, frames)
    make_here(good / RELEASE, 1)


def write_video(path: Path, frames: Sequence[np.ndarray], codec: str = "h264") -> None:
    """Write frames (H, W, 3), uint8, as a video of 24 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")))
        container.mux(stream.encode())


def _write_pictures(good: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(good / "picture.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees
    Image.fromarray(pixels).save(good / "picture.jpg", exif=exif)
    Image.fromarray(pixels[..., 0].astype(np.uint16) << 8).save(good / "deep.png")
