"""Move MobileNetV3's image normalisation from where a file has it back to where the network has it."""

from dataclasses import replace
from itertools import product

import numpy as np

from exporters.recovery.dataflow import Array, Interval, Kernel, RecoveryError
from rvm_model.network.mobilenetv3 import MEAN, STD

_MEAN, _STD = (np.array(values, np.float64) for values in (MEAN, STD))

_EXACT = 1e-5
"""The largest difference of scale and shift from the network's that counts as equal: float32 constants are nearer."""

_SAME = 0.05
"""The largest difference that counts as a rounding of the network's normalisation."""


def with_network_normalisation(kernel: Kernel, scale: Array, offset: Array) -> tuple[Kernel, float, Array | None]:
    """Convert the first convolution of a file that normalises colours itself to the network's normalisation.

    Return it, the largest difference between the two normalisations or 0 if they are equal, and the remainder (see
    `Weights`).

    Args:
        kernel: The file's kernel, three channels.
        scale: The factor of each channel of an image in [0, 1], before the convolution; the network's is 1 / std.
        offset: The offset of each channel; the network's is -mean / std.

    Raises:
        RecoveryError: the file has another normalisation than the network's.
    """
    factor = scale * _STD
    shift = offset + scale * _MEAN  # from the network's colours to the file's, in the file's units
    error = float(max(np.abs(factor - 1).max(), np.abs(shift).max()))
    if not error <= _SAME:
        raise RecoveryError(
            "its image is not normalised as the network's, by mean and standard deviation of each channel"
        )
    if error <= _EXACT:
        return kernel, 0, None
    weight = kernel.weight.times(Interval.exactly(factor[None, :, None, None]))
    remainder = (kernel.weight.values * shift[None, :, None, None]).sum(1)
    moved = remainder.sum((1, 2))
    bias = Interval.exactly(moved) if kernel.bias is None else kernel.bias.plus(Interval.exactly(moved))
    return replace(kernel, weight=weight, bias=bias), error, remainder


def without_ones(kernel: Kernel) -> tuple[Kernel, float, Array | None]:
    """Convert the first convolution of four channels, which includes the normalisation (see `folding.py`), to three.

    If the fourth channel and the others were each rounded, there may be no three channels that give all four again. For
    float32 weights, it finds the channels whose export has the same bytes. Otherwise it takes the file's three, and
    adds the remainder of the fourth to the offset, which is exact except at the border. It also returns the largest
    remainder, relative to the fourth channel, and the remainder (see `Weights`).

    Raises:
        RecoveryError: the fourth channel does not follow from the others by the network's normalisation.
    """
    scaled, half = kernel.weight.map(lambda x: x[:, :3]), kernel.weight.half[:, :3]
    ones, ones_half = kernel.weight.values[:, 3], kernel.weight.half[:, 3]
    mean = _MEAN[None, :, None, None]
    own = ones + (scaled.values * mean).sum(1)
    slack = ones_half + (half * mean).sum(1)
    if not (np.abs(own) <= 1.01 * slack + 1e-6 * np.abs(scaled.values).sum(1)).all():
        raise RecoveryError("the fourth channel of its first convolution is not the network's normalisation")
    weight = scaled.times(Interval.exactly(_STD[None, :, None, None]))
    if kernel.weight.stored == "float32":
        return replace(kernel, weight=replace(weight, values=_exact(kernel.weight.values))), 0, None
    moved = Interval(values=own.sum((1, 2)), half=slack.sum((1, 2)), stored=kernel.weight.stored)
    bias = moved if kernel.bias is None else kernel.bias.plus(moved)
    return replace(kernel, weight=weight, bias=bias), float(np.abs(own).max() / np.abs(ones).max()), own


def _exact(weight: Array) -> Array:
    """Find three float32 channels that give these four float32 channels when divided and summed in float64."""
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
