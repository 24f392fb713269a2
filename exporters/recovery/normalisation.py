"""MobileNetV3's image normalisation: from wherever a file has it, back to where the network has it."""

from dataclasses import replace
from itertools import product

import numpy as np

from exporters.recovery.dataflow import Array, Kernel, Known, RecoveryError
from rvm_model.network.mobilenetv3 import MEAN, STD

_MEAN, _STD = (np.array(values, np.float64) for values in (MEAN, STD))

_EXACT = 1e-5
"""How far scale and shift may be from the network's to be the same: constants in float32 are nearer."""

_SAME = 0.05
"""How far they may be for the difference to be a rounding."""


def with_network_normalisation(kernel: Kernel, scale: Array, offset: Array) -> tuple[Kernel, float]:
    """A first convolution of a file that scales and shifts colours by itself, and how far these are from the network's.

    Args:
        kernel: Of the file, three channels.
        scale: Of each channel of an image in [0, 1], before the convolution; the network's is 1 / std.
        offset: The same; the network's is -mean / std.

    Raises:
        RecoveryError: another normalisation than the network's.
    """
    factor = scale * _STD
    shift = offset + scale * _MEAN  # of the file's colours from the network's, in the file's units
    error = float(max(np.abs(factor - 1).max(), np.abs(shift).max()))
    if not error <= _SAME:
        raise RecoveryError(
            "its image is not normalised as the network's, by mean and standard deviation of each channel"
        )
    if error <= _EXACT:
        return kernel, 0
    weight = kernel.weight.times(Known.exactly(factor[None, :, None, None]))
    # The network pads with zeros behind the normalisation, so that at the border this is off by the same small share.
    moved = (kernel.weight.values * shift[None, :, None, None]).sum((1, 2, 3))
    bias = Known.exactly(moved) if kernel.bias is None else kernel.bias.plus(Known.exactly(moved))
    return replace(kernel, weight=weight, bias=bias), error


def without_ones(kernel: Kernel) -> tuple[Kernel, float]:
    """The first convolution of three channels, from that of four with the normalisation in it (see `folding.py`).

    Where the fourth and the others were each rounded, no three channels need to give all four again. Those of float32
    are found whose export has the same bytes. Else the three are the file's, and what the fourth has of its own becomes
    part of the offset, which is the same everywhere but at the border. How much that is at most comes out too.

    Raises:
        RecoveryError: the fourth channel is not what the network's normalisation makes of the others.
    """
    scaled, half = kernel.weight.map(lambda x: x[:, :3]), kernel.weight.half[:, :3]
    ones, ones_half = kernel.weight.values[:, 3], kernel.weight.half[:, 3]
    mean = _MEAN[None, :, None, None]
    own = ones + (scaled.values * mean).sum(1)
    slack = ones_half + (half * mean).sum(1)
    if not (np.abs(own) <= 1.01 * slack + 1e-6 * np.abs(scaled.values).sum(1)).all():
        raise RecoveryError("the fourth channel of its first convolution is not the network's normalisation")
    weight = scaled.times(Known.exactly(_STD[None, :, None, None]))
    if kernel.weight.stored == "float32":
        return replace(kernel, weight=replace(weight, values=_exact(kernel.weight.values))), 0
    moved = Known(values=own.sum((1, 2)), half=slack.sum((1, 2)), stored=kernel.weight.stored)
    bias = moved if kernel.bias is None else kernel.bias.plus(moved)
    return replace(kernel, weight=weight, bias=bias), float(np.abs(own).max() / np.abs(ones).max())


def _exact(weight: Array) -> Array:
    """Of float32 weights: three channels of float32 which give, divided and summed in float64, these four."""
    scaled, ones = weight[:, :3].astype(np.float32), weight[:, 3].astype(np.float32)
    mean, std = (values[None, :, None, None] for values in (_MEAN, _STD))
    near = (scaled.astype(np.float64) * std).astype(np.float32)
    steps = (-1, 0, 1)
    choices = np.stack([near + np.float32(step) * np.spacing(near) for step in steps])  # (3, out, channel, 3, 3)
    divided = choices.astype(np.float64) / std
    fits = divided.astype(np.float32) == scaled
    best = near.astype(np.float64)
    done = np.zeros(ones.shape, bool)
    for combination in sorted(product(range(3), repeat=3), key=lambda each: sum(abs(k - 1) for k in each)):
        picked = np.stack([divided[k, :, channel] for channel, k in enumerate(combination)], 1)
        fit = np.all([fits[k, :, channel] for channel, k in enumerate(combination)], axis=0)
        fit &= (-(picked * mean).sum(1)).astype(np.float32) == ones
        new = fit & ~done
        values = np.stack([choices[k, :, channel] for channel, k in enumerate(combination)], 1)
        best = np.where(new[:, None], values.astype(np.float64), best)
        done |= fit
    return best
