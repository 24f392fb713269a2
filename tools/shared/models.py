"""Whatever can matte: an exported file of any format, or a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch.nn import functional as F

from exporters import load_runtime, recognise
from exporters.runtime import Device, State
from exporters.spec import Artifact
from rvm_model.cuda_graph import captured_play
from rvm_model.device import torch_device
from rvm_model.matting import Images, Play, network_play
from rvm_model.weights.checkpoint import Checkpoint, load_checkpoint, load_checkpoint_file

Model = Checkpoint | Artifact

_NAMED = ("official", "seeded")
_CHECKPOINT_SUFFIXES = (".pth", ".safetensors")


def open_models(*names: str) -> list[Model]:
    """What each name stands for. `official` and `seeded` are of the variant and refiner of a file among them.

    Raises:
        UserError: as `open_model`.
    """
    opened = {name: open_model(name) for name in names if name not in _NAMED}
    like = next(iter(opened.values()), None)
    kind = (like.variant, like.refiner) if like else ()
    return [opened[name] if name in opened else load_checkpoint(name, *kind) for name in names]


def open_model(name: str) -> Model:
    """What a name stands for: `official` or `seeded` weights, a .pth or .safetensors file, else an exported file.

    Raises:
        UserError: none of these, or one that cannot be read.
    """
    if name in _NAMED:
        return load_checkpoint(name)
    if Path(name).suffix.lower() in _CHECKPOINT_SUFFIXES:
        return load_checkpoint_file(Path(name))
    path = Path(name)
    return load_runtime(recognise(path)).inspect(path)


@contextmanager
def play_model(model: Model, device: str, ratio: float) -> Iterator[Play]:
    """Ready to play one clip, from its first frame on. A file of one size plays any: frames are scaled, mattes back.

    A checkpoint runs in float32, on CUDA in half precision as graphs (`rvm_model/cuda_graph.py`).

    Args:
        model: From `open_model`.
        device: `cpu` or `cuda`.
        ratio: The downsample ratio, the baked-in one for a file of one size.

    Raises:
        ArtifactError: it does not load; or, as it plays, does not run.
        DeviceError: the device is missing.
        MissingPackage: the runtime is not installed.
    """
    if isinstance(model, Checkpoint):
        where = torch_device(device)
        if device == "cuda":
            yield captured_play(model.network(), ratio, where)
            return
        yield network_play(model.network().to(where), ratio, where, torch.float32)
        return
    with load_runtime(model.format).load(model, cast(Device, device), ratio) as step:
        state: State = None
        fixed = model.fixed

        def play(src: Images) -> tuple[Images, Images]:
            nonlocal state
            height, width = src.shape[2:]
            matte, state = step(_resized(src, fixed.height, fixed.width) if fixed else src, state)
            fgr, pha = (src[:, :0] if image is None else image for image in (matte.fgr, matte.pha))
            return _resized(fgr, height, width), _resized(pha, height, width)

        yield play


def _resized(images: Images, height: int, width: int) -> Images:
    """To a file's one size, and back."""
    if images.shape[2:] == (height, width) or not images.size:
        return images
    resized = F.interpolate(torch.from_numpy(images), (height, width), mode="bilinear", antialias=True)
    return resized.clamp(0, 1).numpy()
