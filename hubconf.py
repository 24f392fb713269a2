"""TorchHub's entry points, as the released project has them.

model = torch.hub.load("OWNER/REPOSITORY", "mobilenetv3")   # or "resnet50"
model = model.eval().cuda()

convert_video = torch.hub.load("OWNER/REPOSITORY", "converter")
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvm_model import MattingNetwork

dependencies = ["av", "numpy", "PIL", "pooch", "requests", "safetensors", "torch", "tqdm"]
"""What TorchHub looks for before it calls anything here. Our imports come after that, within functions."""


def mobilenetv3(pretrained: bool = True, progress: bool = True) -> "MattingNetwork":
    """Robust Video Matting with a MobileNetV3 encoder, float32, on the CPU, in training mode as any new module.

    Args:
        pretrained: Load the released weights, from the cache or downloaded; otherwise PyTorch's random ones.
        progress: Show a bar while they are downloaded.

    Raises:
        CheckpointError: the weights cannot be had whole.
    """
    return _network("mobilenetv3", pretrained, progress)


def resnet50(pretrained: bool = True, progress: bool = True) -> "MattingNetwork":
    """The same with a ResNet50 encoder."""
    return _network("resnet50", pretrained, progress)


def converter() -> Callable[..., Any]:
    """`rvm_model.convert_video`, which mattes a whole video."""
    from rvm_model import convert_video

    function: Callable[..., Any] = convert_video
    return function


def _network(variant: str, pretrained: bool, progress: bool) -> "MattingNetwork":
    from rvm_model import MattingNetwork, load_checkpoint

    network = MattingNetwork(variant)
    if pretrained:
        network.load_state_dict(load_checkpoint("official", variant, progress=progress).state_dict)
    return network
