"""Seeded weights, for a machine without a checkpoint. They matte nothing, but exercise every path of an exporter.

Every value takes integer arithmetic, one multiplication and one rounding, on a stream that depends only on the key's
name. So the bytes are the same on any machine and with any torch. The ranges keep activations near unit scale through
the whole network, batch norm non-trivial, and alpha spread over [0, 1].
"""

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

_RANGE = {
    "running_mean": (-0.2, 0.2),
    "running_var": (0.6, 1.4),
    "weight": (0.8, 1.2),
    "bias": (-0.2, 0.2),
    "project_mat.conv.bias": (0.3, 0.7),
    "refiner.box_filter.weight": (0.8 / 9, 1.2 / 9),
}
"""Range by whole key, else by its last part."""

_GAIN = {"backbone.features.": 1.2, "decoder.": 1.4, "project_mat.": 1.5}
"""Gain of convolutions by the key's prefix, else 1: their variance is its square over the fan-in."""


def seeded_state_dict(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return weights for these keys, float32; `num_batches_tracked` is an int64 zero."""
    return {key: _draw(key, shape) for key, shape in shapes.items()}


def _draw(key: str, shape: tuple[int, ...]) -> Tensor:
    kind = key.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    if key in _RANGE:
        low, high = _RANGE[key]
    elif len(shape) == 4:
        gain = next((gain for prefix, gain in _GAIN.items() if key.startswith(prefix)), 1.0)
        high = gain * math.sqrt(3 / math.prod(shape[1:]))
        low = -high
    else:
        low, high = _RANGE[kind]
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    # random_raw is the only draw that NumPy promises never to change.
    raw = np.random.PCG64(seed).random_raw(math.prod(shape))
    unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return torch.from_numpy((low + (high - low) * unit).astype(np.float32).reshape(shape))
