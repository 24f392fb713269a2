"""The vocabulary for ExecuTorch: PyTorch's functions of known sizes, in the forms that its XNNPACK backend takes.

XNNPACK computes a whole file in one piece only if all its operations are of those forms. `torch.split`, a mean of
channels, and a slice that cuts nothing off would end a piece.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from exporters.lowering.folding import Conv

Constant = Callable[[str, NDArray[np.float64]], Tensor]
"""Maps a name and numbers to a constant of the module that is traced."""


class ExecutorchOps:
    """An `exporters.lowering.ops.Ops[Tensor]` of known sizes, NCHW."""

    def __init__(self, constant: Constant) -> None:
        self.constant = constant

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:  # noqa: ARG002 (a file keeps no names)
        yield

    def conv(self, x: Tensor, conv: Conv) -> Tensor:
        weight = self.constant(f"{conv.name}.weight", conv.weight)
        bias = None if conv.bias is None else self.constant(f"{conv.name}.bias", conv.bias)
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)

    relu = staticmethod(torch.relu)
    sigmoid = staticmethod(torch.sigmoid)
    tanh = staticmethod(torch.tanh)
    hardswish = staticmethod(F.hardswish)
    add = staticmethod(torch.add)
    sub = staticmethod(torch.sub)
    mul = staticmethod(torch.mul)
    div = staticmethod(torch.div)

    def hardsigmoid(self, x: Tensor) -> Tensor:
        """Multiply and add: torch's own function is computed in float32, which would end a piece of half precision."""
        sixth, half = (self.constant(name, np.full((1, 1, 1, 1), of)) for name, of in (("sixth", 1 / 6), ("half", 0.5)))
        return self.clamp(x * sixth + half)

    def clamp(self, x: Tensor) -> Tensor:
        return x.clamp(0, 1)

    def add_constant(self, x: Tensor, values: tuple[float, ...]) -> Tensor:
        return x + self.constant(f"add_{'_'.join(map(str, values))}", np.reshape(values, (1, -1, 1, 1)))

    def concat(self, *xs: Tensor) -> Tensor:
        return torch.cat(xs, dim=1)

    def split(self, x: Tensor, *channels: int) -> tuple[Tensor, ...]:
        return tuple(x[:, end - count : end] for count, end in zip(channels, accumulate(channels), strict=True))

    def append_ones(self, x: Tensor) -> Tensor:
        return self.conv(x, Conv(name="append_ones", weight=np.eye(4, 3)[..., None, None], bias=np.eye(4)[3]))

    def channel_mean(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        return self.conv(x, Conv(name="channel_mean", weight=np.full((1, channels, 1, 1), 1 / channels)))

    def global_mean(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)

    def average_pool_ceil(self, x: Tensor) -> Tensor:
        """Repeat the last row and column of odd sizes: a mean of equal pixels is the mean of those inside."""
        if x.shape[2] % 2:
            x = torch.cat([x, x[:, :, -1:]], dim=2)
        if x.shape[3] % 2:
            x = torch.cat([x, x[:, :, :, -1:]], dim=3)
        return F.avg_pool2d(x, 2)

    def max_pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, 1)

    def resize_by(self, x: Tensor, ratio: Tensor | float) -> Tensor:
        """Resize by the quotient of the sizes, which is the ratio since both are whole."""
        return F.interpolate(x, [round(side * float(ratio)) for side in x.shape[2:]], mode="bilinear")

    def resize_like(self, x: Tensor, ref: Tensor) -> Tensor:
        return F.interpolate(x, ref.shape[2:], mode="bilinear")

    def strips(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x,)

    def stack(self, *strips: Tensor) -> Tensor:
        (whole,) = strips
        return whole

    def upsample2_crop(self, x: Tensor, ref: Tensor) -> Tensor:
        height, width = ref.shape[2:]
        twice = F.interpolate(x, [2 * side for side in x.shape[2:]], mode="bilinear")
        return twice if twice.shape[2:] == ref.shape[2:] else twice[:, :, :height, :width]

    def state_like(self, state: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002
        return state
