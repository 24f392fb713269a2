"""Robust Video Matting in PyTorch: the network, its size rules, its checkpoints, video in and out.

Names are imported on first use, so that the size rules do not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvm_model.compat import ImageSequenceReader as ImageSequenceReader
    from rvm_model.compat import ImageSequenceWriter as ImageSequenceWriter
    from rvm_model.compat import ToTensor as ToTensor
    from rvm_model.compat import VideoReader as VideoReader
    from rvm_model.compat import VideoWriter as VideoWriter
    from rvm_model.matting import convert_video as convert_video
    from rvm_model.network.matting_network import MattingNetwork as MattingNetwork
    from rvm_model.state import auto_downsample_ratio as auto_downsample_ratio
    from rvm_model.state import internal_size as internal_size
    from rvm_model.state import state_shapes as state_shapes
    from rvm_model.weights.checkpoint import Checkpoint as Checkpoint
    from rvm_model.weights.checkpoint import CheckpointError as CheckpointError
    from rvm_model.weights.checkpoint import load_checkpoint as load_checkpoint

_HOME = {
    "Checkpoint": "weights.checkpoint",
    "CheckpointError": "weights.checkpoint",
    "load_checkpoint": "weights.checkpoint",
    "convert_video": "matting",
    "MattingNetwork": "network.matting_network",
    "auto_downsample_ratio": "state",
    "internal_size": "state",
    "state_shapes": "state",
    "ImageSequenceReader": "compat",
    "ImageSequenceWriter": "compat",
    "ToTensor": "compat",
    "VideoReader": "compat",
    "VideoWriter": "compat",
}
__all__ = ["__version__", *_HOME]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rvm_model' has no attribute {name!r}")
    return getattr(import_module(f"rvm_model.{_HOME[name]}"), name)
