"""TorchHub's entry points, as in the released project.

model = torch.hub.load("OWNER/REPOSITORY", "mobilenetv3")   # or "resnet50"
model = model.eval().cuda()

convert_video = torch.hub.load("OWNER/REPOSITORY", "converter")
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvm_model import MattingNetwork

dependencies = ["av", "numpy", "PIL", "pooch", "requests", "safetensors", "torch", "tqdm", "urllib3"]
"""Packages that TorchHub checks before it calls anything here. Our imports come after that, within functions."""


def mobilenetv3(pretrained: bool = True, progress: bool = True) -> "MattingNetwork":
    """Return Robust Video Matting with a MobileNetV3 encoder, float32, on the CPU, in training mode as any new module.

    Args:
        pretrained: Load the released weights, from the cache or downloaded; otherwise PyTorch's random ones.
        progress: Show a bar during the download.

    Raises:
        CheckpointError: the weights cannot be loaded or downloaded whole.
    """
    return _network("mobilenetv3", pretrained, progress)


def resnet50(pretrained: bool = True, progress: bool = True) -> "MattingNetwork":
    """Return the network with a ResNet50 encoder. Arguments and errors are those of `mobilenetv3`."""
    return _network("resnet50", pretrained, progress)


def converter() -> Callable[..., Any]:
    """Return `rvm_model.convert_video`, which mattes a whole video."""
    from rvm_model import convert_video

    function: Callable[..., Any] = convert_video
    return function


def _network(variant: str, pretrained: bool, progress: bool) -> "MattingNetwork":
    from rvm_model import MattingNetwork, load_checkpoint

    network = MattingNetwork(variant)
    if pretrained:
        network.load_state_dict(load_checkpoint("official", variant, progress=progress).state_dict)
    return network
