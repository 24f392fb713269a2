"""MobileNetV3-Large encoder with its last stage dilated, so that it ends at 1/16 of the input.

Source: arXiv:1905.02244, table 1; arXiv:2108.11515, section 3.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Block(NamedTuple):
    """One row of the table: an inverted residual block. `squeeze` is the squeeze-excite width, 0 for none."""

    kernel: int
    expand: int
    out: int
    squeeze: int
    hardswish: bool
    stride: int
    dilation: int


STEM, LAST = 16, 960
BLOCKS = (
    Block(3, 16, 16, 0, False, 1, 1),
    Block(3, 64, 24, 0, False, 2, 1),
    Block(3, 72, 24, 0, False, 1, 1),
    Block(5, 72, 40, 24, False, 2, 1),
    Block(5, 120, 40, 32, False, 1, 1),
    Block(5, 120, 40, 32, False, 1, 1),
    Block(3, 240, 80, 0, True, 2, 1),
    Block(3, 200, 80, 0, True, 1, 1),
    Block(3, 184, 80, 0, True, 1, 1),
    Block(3, 184, 80, 0, True, 1, 1),
    Block(3, 480, 112, 120, True, 1, 1),
    Block(3, 672, 112, 168, True, 1, 1),
    Block(5, 672, 160, 168, True, 1, 2),
    Block(5, 960, 160, 240, True, 1, 2),
    Block(5, 960, 160, 240, True, 1, 2),
)
TAPS = (1, 3, 6, 16)
"""Indices of the layers whose outputs are the features f1..f4 (the stem is layer 0, the last convolution layer 16)."""
CHANNELS = (16, 24, 40, 960)


class ConvNormActivation(nn.Sequential):
    """Convolution without bias, batch norm (eps 1e-3, momentum 0.01), and an activation."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int,
        activation: nn.Module,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        padding = (kernel - 1) // 2 * dilation
        super().__init__(
            nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias=False),
            nn.BatchNorm2d(out, eps=1e-3, momentum=0.01),
            activation,
        )


class SqueezeExcite(nn.Module):
    """A gate on every channel, computed from the means of all channels."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeeze, 1)
        self.fc2 = nn.Conv2d(squeeze, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        gate: Tensor = self.gate(self.fc2(torch.relu(self.fc1(mean))))
        return x * gate


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, squeeze-excite and linear projection, each if the table has it."""

    def __init__(self, channels: int, row: Block) -> None:
        super().__init__()
        activation = nn.Hardswish if row.hardswish else nn.ReLU
        self.residual = row.stride == 1 and channels == row.out
        layers: list[nn.Module] = []
        if row.expand != channels:
            layers.append(ConvNormActivation(channels, row.expand, 1, activation()))
        layers.append(
            ConvNormActivation(
                row.expand, row.expand, row.kernel, activation(), row.stride, row.dilation, groups=row.expand
            )
        )
        if row.squeeze:
            layers.append(SqueezeExcite(row.expand, row.squeeze))
        layers.append(ConvNormActivation(row.expand, row.out, 1, nn.Identity()))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return x + out if self.residual else out


class MobileNetV3Encoder(nn.Module):
    """Encoder from (N, 3, H, W) RGB in [0, 1] to 16, 24, 40 and 960 channels at 1/2, 1/4, 1/8 and 1/16."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNormActivation(3, STEM, 3, nn.Hardswish(), stride=2)]
        channels = STEM
        for row in BLOCKS:
            layers.append(InvertedResidual(channels, row))
            channels = row.out
        layers.append(ConvNormActivation(channels, LAST, 1, nn.Hardswish()))
        self.features = nn.Sequential(*layers)
        self.mean = MEAN
        self.std = STD
        self.taps = TAPS

    def forward(self, src: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # Constants, not buffers: a buffer, even a non-persistent one, would appear in a scripted module's state_dict.
        mean = torch.tensor(self.mean, dtype=src.dtype, device=src.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, dtype=src.dtype, device=src.device).view(1, 3, 1, 1)
        x = (src - mean) / std
        features: list[Tensor] = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                features.append(x)
        return features[0], features[1], features[2], features[3]
