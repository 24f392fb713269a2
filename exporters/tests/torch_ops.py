"""The vocabulary in PyTorch, NCHW: the smallest implementation, to test the lowering."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from exporters.lowering.folding import Conv


class TorchOps:
    """An `exporters.lowering.ops.Ops[Tensor]` in a given dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.scopes: list[str] = []

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        self.scopes.append(name)
        yield

    def conv(self, x: Tensor, conv: Conv) -> Tensor:
        weight = torch.from_numpy(conv.weight).to(self.dtype)
        bias = None if conv.bias is None else torch.from_numpy(conv.bias).to(self.dtype)
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)

    relu = staticmethod(torch.relu)
    sigmoid = staticmethod(torch.sigmoid)
    tanh = staticmethod(torch.tanh)
    add = staticmethod(torch.add)
    sub = staticmethod(torch.sub)
    mul = staticmethod(torch.mul)
    div = staticmethod(torch.div)

    def hardsigmoid(self, x: Tensor) -> Tensor:
        return self.clamp(x / 6 + 0.5)

    def hardswish(self, x: Tensor) -> Tensor:
        return x * self.hardsigmoid(x)

    def clamp(self, x: Tensor) -> Tensor:
        return x.clamp(0, 1)

    def add_constant(self, x: Tensor, values: tuple[float, ...]) -> Tensor:
        return x + torch.tensor(values, dtype=self.dtype)[:, None, None]

    def concat(self, *xs: Tensor) -> Tensor:
        return torch.cat(xs, dim=1)

    def split(self, x: Tensor, *channels: int) -> tuple[Tensor, ...]:
        return x.split(channels, dim=1)

    def append_ones(self, x: Tensor) -> Tensor:
        return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)

    def channel_mean(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True)

    def global_mean(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)

    def average_pool_ceil(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)

    def max_pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, 1)

    def resize_by(self, x: Tensor, ratio: Tensor | float) -> Tensor:
        return F.interpolate(x, scale_factor=float(ratio), mode="bilinear", recompute_scale_factor=False)

    def resize_like(self, x: Tensor, ref: Tensor) -> Tensor:
        return F.interpolate(x, ref.shape[2:], mode="bilinear")

    def strips(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x,)

    def stack(self, *strips: Tensor) -> Tensor:
        (whole,) = strips
        return whole

    def upsample2_crop(self, x: Tensor, ref: Tensor) -> Tensor:
        return self.resize_by(x, 2.0)[:, :, : ref.shape[2], : ref.shape[3]]

    def state_like(self, state: Tensor, x: Tensor) -> Tensor:
        return state.expand_as(x)
