"""Weights of neural networks: float32, float16, or eight bits with a scale and a bias, for all or for each channel."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

_FIELDS = {"floatValue": np.float32, "float16Value": np.float16, "rawValue": np.uint8}


def weights(message: Any, shape: tuple[int, ...]) -> Tensor:
    """Of a `WeightParams` message, float32. Raises ValueError if they are not as it says, or of another kind."""
    stored = [name for name in (*_FIELDS, "int8RawValue") if len(getattr(message, name))]
    if len(stored) != 1 or stored[0] not in _FIELDS or min(shape, default=1) < 1:
        raise ValueError(f"weights of shape {shape} stored as {stored or 'nothing'} are not known here")
    content, dtype = getattr(message, stored[0]), _FIELDS[stored[0]]
    values = np.frombuffer(content, dtype) if isinstance(content, bytes) else np.array(content, dtype)
    if len(values) != math.prod(shape):
        raise ValueError(f"there are {len(values)} weights for the shape {shape}")
    tensor = torch.from_numpy(values.astype(np.float32)).reshape(shape)
    if dtype is not np.uint8:
        return tensor
    quantization = message.quantization
    if quantization.numberOfBits != 8 or quantization.WhichOneof("QuantizationType") != "linearQuantization":
        raise ValueError(f"weights of {quantization.numberOfBits} bits, in a palette perhaps, are not known here")
    linear = quantization.linearQuantization
    return tensor * _per_channel(linear.scale, shape, 1) + _per_channel(linear.bias, shape, 0)


def _per_channel(values: Any, shape: tuple[int, ...], default: float) -> Tensor:
    """One for all, or one for each index of the first axis."""
    if len(values) not in (0, 1, shape[0]):
        raise ValueError(f"there are {len(values)} scales or biases for the shape {shape}")
    tensor = torch.tensor(list(values) or [default], dtype=torch.float32)
    return tensor.reshape(-1, *[1] * (len(shape) - 1))
