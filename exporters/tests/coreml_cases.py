"""Single operations, as modules that PyTorch computes and coremltools converts. Each row is a test for each target."""

import torch
from torch import nn
from torch.nn import functional as F


class Case(nn.Module):
    """A function of images, and their shapes."""

    def __init__(self, function, *shapes, weights=None):
        super().__init__()
        self.function, self.shapes, self.weights = function, shapes, weights
        self.eval().requires_grad_(False)

    def forward(self, *given):
        return self.function(*given) if self.weights is None else self.function(self.weights, *given)

    def inputs(self):
        generator = torch.Generator().manual_seed(0)
        return [torch.randn(shape, generator=generator) for shape in self.shapes]


def convolution(channels, out, kernel, height=11, width=14, **options):
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, out, kernel, **options)
    return Case(lambda layer, x: layer(x), (1, channels, height, width), weights=layer)


def normalised():
    """Batch norm in inference, which a converter folds."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    layers = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, bias=False), norm, nn.ReLU())
    return Case(lambda layers, x: layers(x), (1, 4, 9, 8), weights=layers)


def by_scale(scale, **options):
    return lambda x: F.interpolate(
        x, scale_factor=scale, mode="bilinear", recompute_scale_factor=False, **{"align_corners": False, **options}
    )


IMAGE = (1, 4, 16, 24)
ODD = (1, 4, 13, 9)

CASES = {
    "conv": convolution(4, 6, 3, padding=1),
    "conv_no_bias": convolution(4, 6, 1, bias=False),
    "conv_stride": convolution(3, 8, 3, stride=2, padding=1),
    "conv_7x7": convolution(3, 8, 7, stride=2, padding=3),
    "conv_depthwise": convolution(8, 8, 5, padding=2, groups=8),
    "conv_dilated": convolution(8, 8, 5, padding=4, dilation=2, groups=8),
    "conv_groups": convolution(8, 12, 3, groups=4),
    "conv_row": convolution(4, 4, (1, 3), padding=(0, 1), groups=4, bias=False),
    "batch_norm": normalised(),
    "relu": Case(torch.relu, IMAGE),
    "sigmoid": Case(torch.sigmoid, IMAGE),
    "tanh": Case(torch.tanh, IMAGE),
    "hardswish": Case(lambda x: F.hardswish(4 * x), IMAGE),
    "hardsigmoid": Case(lambda x: F.hardsigmoid(4 * x), IMAGE),
    "clamp": Case(lambda x: x.clamp(0, 1), IMAGE),
    "add": Case(torch.add, IMAGE, IMAGE),
    "add_number": Case(lambda x: x + 1e-5, IMAGE),
    "sub": Case(torch.sub, IMAGE, IMAGE),
    "mul": Case(torch.mul, IMAGE, IMAGE),
    "div": Case(lambda x, y: x / (y * y + 1), IMAGE, IMAGE),
    "channels": Case(lambda x, y: (x - y) * y, IMAGE, (1, 4, 1, 1)),
    "one_channel": Case(lambda x, y: x * y + y, IMAGE, (1, 1, 16, 24)),
    "normalise": Case(lambda x: (x - torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)) / 0.2, (1, 3, 8, 8)),
    "concat": Case(lambda x, y: torch.cat([x, y, x], 1), IMAGE, (1, 3, 16, 24)),
    "chunk": Case(lambda x: torch.mul(*x.chunk(2, 1)), IMAGE),
    "split": Case(lambda x: torch.cat(x.split([3, 1], 1)[::-1], 1), IMAGE),
    "slice_channels": Case(lambda x: x[:, 1:3], IMAGE),
    "slice_last": Case(lambda x: x[:, 3:], IMAGE),
    "slice_rows": Case(lambda x: x[:, :, :13], IMAGE),
    "slice_both": Case(lambda x: x[:, :, :13, :21], IMAGE),
    "slice_steps": Case(lambda x: x[:, :, 1:14:3, ::2], IMAGE),
    "mean_channels": Case(lambda x: x.mean(1, keepdim=True), IMAGE),
    "mean_image": Case(lambda x: x.mean((2, 3), keepdim=True), IMAGE),
    "global_pool": Case(lambda x: F.adaptive_avg_pool2d(x, 1), IMAGE),
    "avg_pool_ceil": Case(lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False), ODD),
    "avg_pool_pad": Case(lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), ODD),
    "avg_pool_zeros": Case(lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=True), ODD),
    "max_pool": Case(lambda x: F.max_pool2d(x, 3, 2, 1), ODD),
    "max_pool_ceil": Case(lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True), ODD),
    "upsample": Case(by_scale(2.0), ODD),
    "downsample": Case(by_scale(0.375), IMAGE),
    "upsample_aligned": Case(by_scale(2.0, align_corners=True), ODD),
    "to_size": Case(lambda x: F.interpolate(x, (40, 64), mode="bilinear", align_corners=False), (1, 4, 15, 24)),
}
