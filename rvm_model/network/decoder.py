"""The recurrent decoder: from 1/16 up to the internal size, with a ConvGRU at every scale but the last.

Frames of a clip come as one batch in the order (B, T), so that every layer but the GRU runs on all of them at once.

Source: arXiv:2108.11515, section 3.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Decoded(NamedTuple):
    """`hidden` (B*T, 16, h, w), and the states after the last frame, (B, C_k, ceil(h / 2^k), ceil(w / 2^k))."""

    hidden: Tensor
    r1: Tensor
    r2: Tensor
    r3: Tensor
    r4: Tensor


class ConvGRU(nn.Module):
    """A GRU whose products are 3x3 convolutions; its output is its state."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ih = nn.Sequential(nn.Conv2d(2 * channels, 2 * channels, 3, padding=1), nn.Sigmoid())
        self.hh = nn.Sequential(nn.Conv2d(2 * channels, channels, 3, padding=1), nn.Tanh())

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        r, z = self.ih(torch.cat([x, h], dim=1)).chunk(2, dim=1)
        c = self.hh(torch.cat([x, r * h], dim=1))
        out: Tensor = (1 - z) * h + z * c
        return out

    def forward(self, x: Tensor, h: Tensor | None, time: int) -> tuple[Tensor, Tensor]:
        """Return the outputs of all frames, (B*T, C, h, w), and the last state. `h` is the state before the first."""
        if time == 1:
            h = self.step(x, torch.zeros_like(x) if h is None else h.expand_as(x))
            return h, h
        frames = x.reshape(-1, time, x.shape[1], x.shape[2], x.shape[3]).unbind(1)
        h = torch.zeros_like(frames[0]) if h is None else h.expand_as(frames[0])
        outputs: list[Tensor] = []
        for frame in frames:
            h = self.step(frame, h)
            outputs.append(h)
        return torch.stack(outputs, dim=1).flatten(0, 1), h


class BottleneckBlock(nn.Module):
    """A ConvGRU on the second half of the channels; the first half passes unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gru = ConvGRU(channels // 2)

    def forward(self, x: Tensor, r: Tensor | None, time: int) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, dim=1)
        b, r = self.gru(b, r, time)
        return torch.cat([a, b], dim=1), r


class UpsamplingBlock(nn.Module):
    """Upsampling, joined with the encoder's feature and the pooled source, convolved; a ConvGRU on the second half."""

    def __init__(self, channels: int, skip: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels + skip + 3, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
        )
        self.gru = ConvGRU(out // 2)

    def forward(self, x: Tensor, f: Tensor, s: Tensor, r: Tensor | None, time: int) -> tuple[Tensor, Tensor]:
        x = self.conv(torch.cat([upsample2_crop(x, s), f, s], dim=1))
        a, b = x.chunk(2, dim=1)
        b, r = self.gru(b, r, time)
        return torch.cat([a, b], dim=1), r


class OutputBlock(nn.Module):
    """The last step up, to the internal size: two convolutions and no state."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels + 3, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        )

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        out: Tensor = self.conv(torch.cat([upsample2_crop(x, s), s], dim=1))
        return out


class RecurrentDecoder(nn.Module):
    """The whole decoder. `features` are the channels of f1..f4, `out` those of decode3..decode0."""

    def __init__(self, features: tuple[int, int, int, int], out: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.avgpool = nn.AvgPool2d(2, 2, count_include_pad=False, ceil_mode=True)
        self.decode4 = BottleneckBlock(features[3])
        self.decode3 = UpsamplingBlock(features[3], features[2], out[0])
        self.decode2 = UpsamplingBlock(out[0], features[1], out[1])
        self.decode1 = UpsamplingBlock(out[1], features[0], out[2])
        self.decode0 = OutputBlock(out[2], out[3])

    def forward(
        self,
        s0: Tensor,
        f1: Tensor,
        f2: Tensor,
        f3: Tensor,
        f4: Tensor,
        r1: Tensor | None,
        r2: Tensor | None,
        r3: Tensor | None,
        r4: Tensor | None,
        time: int,
    ) -> Decoded:
        s1 = self.avgpool(s0)
        s2 = self.avgpool(s1)
        s3 = self.avgpool(s2)
        x4, r4 = self.decode4(f4, r4, time)
        x3, r3 = self.decode3(x4, f3, s3, r3, time)
        x2, r2 = self.decode2(x3, f2, s2, r2, time)
        x1, r1 = self.decode1(x2, f1, s1, r1, time)
        return Decoded(self.decode0(x1, s0), r1, r2, r3, r4)


def upsample2_crop(x: Tensor, ref: Tensor) -> Tensor:
    """Upsample x2, bilinear with half-pixel centres, and return the top left part of `ref`'s size."""
    x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False, recompute_scale_factor=False)
    return x[:, :, : ref.shape[2], : ref.shape[3]]


class Projection(nn.Module):
    """A 1x1 convolution from the decoder's hidden channels."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out
