"""ResNet-50 encoder with layer4's stride replaced by dilation, so that it ends at 1/16 of the input.

Source: arXiv:1512.03385, table 1, stride on the 3x3 convolution; arXiv:2108.11515, section 3.
"""

import torch
from torch import Tensor, nn

CHANNELS = (64, 256, 512, 2048)
BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}


class Stage(nn.Sequential):
    """A stage of `blocks` bottlenecks with `width` channels inside and 4 x `width` outside.

    The first bottleneck takes the stride. With `dilation` the later ones are dilated, and the stride should be 1.
    """

    def __init__(self, channels: int, width: int, blocks: int, stride: int, dilation: int = 1) -> None:
        first = Bottleneck(channels, width, stride, dilation=1)
        super().__init__(first, *(Bottleneck(4 * width, width, 1, dilation) for _ in range(blocks - 1)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each with batch norm, around a shortcut."""

    def __init__(self, channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet50Encoder(nn.Module):
    """Encoder from (N, 3, H, W) RGB in [0, 1], not normalised, to 64, 256, 512 and 2048 channels at 1/2 to 1/16."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = Stage(64, 64, BLOCKS["layer1"], stride=1)
        self.layer2 = Stage(256, 128, BLOCKS["layer2"], stride=2)
        self.layer3 = Stage(512, 256, BLOCKS["layer3"], stride=2)
        self.layer4 = Stage(1024, 512, BLOCKS["layer4"], stride=1, dilation=2)

    def forward(self, src: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        f1 = torch.relu(self.bn1(self.conv1(src)))
        f2: Tensor = self.layer1(self.maxpool(f1))
        f3: Tensor = self.layer2(f2)
        f4: Tensor = self.layer4(self.layer3(f3))
        return f1, f2, f3, f4
