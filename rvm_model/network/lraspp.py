"""LR-ASPP: the encoder's last features, narrowed and gated by their global mean.

Source: arXiv:1905.02244, section 6.
"""

from torch import Tensor, nn


class LRASPP(nn.Module):
    """LR-ASPP from (N, C, h, w) to (N, out, h, w)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.aspp1 = nn.Sequential(nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
        self.aspp2 = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, out, 1, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.aspp1(x) * self.aspp2(x)
        return out
