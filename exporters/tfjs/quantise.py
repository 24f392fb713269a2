"""Store a model's weights in float32, in half precision, or in eight bits.

Eight bits are TF.js's own: one step and one offset for a whole kernel. The error differs a lot from kernel to kernel,
and the kernels that lose most are small: depthwise ones, the first, the refiner's, a decoder's with a few large
weights. So a small share of all weights stays in half precision, where each byte helps most. On the 24-frame clip,
640x360 at ratio .5, with weights that were never in eight bits, this reduces alpha's mean error from 1.3e-3 to 8e-5,
for 6 % of the size. One step for each output channel, as in CoreML's files, gives 5e-4 and is harder to compress.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.tfjs.graph import Stored, Weights

HALF_SHARE = 0.06
"""The share of all weights that eight-bit files keep in half precision.

MobileNetV3's file must stay below 4.3 MB, and 3.2 MB zipped.
"""

Kernel = NDArray[np.float32]


def unchanged(weights: Weights) -> dict[str, Stored]:
    """Store all weights in float32."""
    return {name: Stored(values=values) for name, values in weights.items()}


def half(weights: Weights) -> dict[str, Stored]:
    """Store kernels in float16. The other weights, a hundredth of all, stay in float32."""
    return unchanged(weights) | {name: _half(kernel) for name, kernel in _kernels(weights).items()}


def eight_bits(weights: Weights) -> dict[str, Stored]:
    """Store kernels in uint8, except those that would lose most for their size, which are float16."""
    kernels = _kernels(weights)
    left = HALF_SHARE * sum(kernel.size for kernel in kernels.values())
    stored = {}
    for name in sorted(kernels, key=lambda name: (-_loss(kernels[name]) / kernels[name].size, name)):
        if kernels[name].size <= left:
            left -= kernels[name].size
            stored[name] = _half(kernels[name])
        else:
            stored[name] = _eight_bits(kernels[name])
    return unchanged(weights) | stored


STORES: Mapping[str, Callable[[Weights], dict[str, Stored]]] = {"fp32": unchanged, "fp16": half, "int8": eight_bits}


def restored(stored: Stored) -> NDArray[Any]:
    """Return the values that a runtime computes, in the arithmetic of TF.js: doubles, then float32."""
    if stored.quantization is None:
        return stored.values
    scale, least = stored.quantization.get("scale", 1.0), stored.quantization.get("min", 0.0)
    values: Kernel = (stored.values.astype(np.float64) * scale + least).astype(np.float32)
    return values


def _kernels(weights: Weights) -> dict[str, Kernel]:
    """Return the kernels to round: all but the fast guided filter's mean.

    Its division would amplify the mean's rounding error hundredfold.
    """
    return {name: values for name, values in weights.items() if values.ndim == 4 and not _is_mean(values)}


def _is_mean(kernel: Kernel) -> bool:
    return bool(kernel.any()) and kernel.size > 1 and np.ptp(kernel) == 0


def _half(kernel: Kernel) -> Stored:
    return Stored(values=kernel.astype(np.float16), quantization={"dtype": "float16"})


def _eight_bits(kernel: Kernel) -> Stored:
    """Quantise a kernel to eight bits. Zero is on the grid, so padding and pruned weights stay exact."""
    least, most = min(float(kernel.min()), 0.0), max(float(kernel.max()), 0.0)
    step = (most - least) / 255 or 1.0
    zero = round(-least / step)
    levels = np.clip(np.rint(kernel.astype(np.float64) / step) + zero, 0, 255).astype(np.uint8)
    return Stored(values=levels, quantization={"dtype": "uint8", "scale": step, "min": -zero * step})


def _loss(kernel: Kernel) -> float:
    """Return the noise that eight bits would add, as a share of the kernel's power."""
    exact = kernel.astype(np.float64)
    power = float(np.square(exact).sum())
    return float(np.square(restored(_eight_bits(kernel)) - exact).sum()) / power if power else 0.0
