"""How weights are stored: as they are, in half precision, or in eight bits."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.tfjs.graph import Stored

Store = Callable[[str, NDArray[Any]], Stored]


def as_they_are(name: str, values: NDArray[Any]) -> Stored:
    return Stored(values=values)


def in_half(name: str, values: NDArray[Any]) -> Stored:
    if values.dtype != np.float32 or values.size < 16:
        return Stored(values=values)
    return Stored(values=values.astype(np.float16), quantization={"dtype": "float16"})


STORES: Mapping[str, Store] = {"fp32": as_they_are, "fp16": in_half, "int8": in_half}
