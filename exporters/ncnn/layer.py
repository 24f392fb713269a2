"""A graph of ncnn's: its layers, as text in a `.param` and numbers in a `.bin`.

Source: docs/developer-guide/param-and-model-file-structure.md of ncnn.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Value = int | float | str | tuple[int, ...] | tuple[float, ...]

MAGIC = "7767517"
ARRAY = -23300
"""An array has this minus its key for a key."""

SINGLE, HALF = b"\0\0\0\0", 0x01306B47.to_bytes(4, "little")
"""The tags before a kernel's numbers: float32 or float16."""

KERNELS = {"Convolution": (5, 6), "ConvolutionDepthWise": (5, 6), "InnerProduct": (1, 2)}
"""Types of layers with a kernel: the keys of whether there is a bias, and of the number of weights."""

ACTIVATION, ACTIVATION_VALUES = 9, 10
FUSED = {"ReLU": 1, "Clip": 3, "Sigmoid": 4, "HardSwish": 6}
"""Numbers of activations that a layer with a kernel can apply itself."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One layer. `kernel` is stored with a tag that says how; `bias` is always float32, without a tag."""

    type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[int, Any] = field(default_factory=dict)
    kernel: NDArray[Any] | None = None
    bias: NDArray[Any] | None = None

    def line(self) -> str:
        """Return the layer's line in a `.param`."""
        params = (_param(key, value) for key, value in self.params.items())
        counts = f"{len(self.inputs)} {len(self.outputs)}"
        return " ".join([f"{self.type:<20} {self.name:<40} {counts}", *self.inputs, *self.outputs, *params])

    def content(self) -> bytes:
        """Return the layer's numbers in a `.bin`."""
        parts = []
        if self.kernel is not None:
            half = self.kernel.dtype == np.float16
            numbers = self.kernel.astype("<f2" if half else "<f4").tobytes()
            parts += [HALF if half else SINGLE, numbers, b"\0" * (-len(numbers) % 4)]
        if self.bias is not None:
            parts.append(self.bias.astype("<f4").tobytes())
        return b"".join(parts)


def to_text(layers: Sequence[Layer]) -> str:
    """Return the `.param` of layers in an order in which they can be computed."""
    blobs = sum(len(layer.outputs) for layer in layers)
    return "\n".join([MAGIC, f"{len(layers)} {blobs}", *(layer.line() for layer in layers), ""])


def fused(layers: Sequence[Layer]) -> list[Layer]:
    """Return layers whose kernels apply the activations that follow them."""
    uses = Counter(name for layer in layers for name in layer.inputs)
    makers: dict[str, int] = {}
    result: list[Layer] = []
    for layer in layers:
        at = makers.get(layer.inputs[0]) if layer.inputs else None
        if layer.type in FUSED and at is not None and uses[layer.inputs[0]] == 1:
            maker = result[at]
            if maker.kernel is not None and ACTIVATION not in maker.params:
                values = tuple(float(value) for value in layer.params.values() if isinstance(value, float))
                params = {**maker.params, ACTIVATION: FUSED[layer.type]}
                params |= {ACTIVATION_VALUES: values} if values else {}
                result[at] = replace(maker, params=params, outputs=layer.outputs)
                makers[layer.outputs[0]] = at
                continue
        makers.update(dict.fromkeys(layer.outputs, len(result)))
        result.append(layer)
    return result


def with_splits(layers: Sequence[Layer], outputs: Mapping[str, str]) -> list[Layer]:
    """Return layers in which each value has one reader, as ncnn wants it: a Split makes several of one.

    `outputs` maps values to the names of the graph's outputs. ncnn may free what a layer has read, so an output has no
    reader at all.
    """
    uses = Counter(name for layer in layers for name in layer.inputs)
    copies: dict[str, Iterator[str]] = {}
    result = []
    for layer in layers:
        names, splits = [], []
        inputs = tuple(next(copies[name]) if name in copies else name for name in layer.inputs)
        for value in layer.outputs:
            public = [outputs[value]] if value in outputs else []
            readers = uses[value] + len(public)
            assert readers or layer.type == "Input", f"nothing reads {value}"
            if readers <= 1:
                names.append(public[0] if public else value)
                continue
            names.append(value)
            own = [f"{value}/{k}" for k in range(uses[value])]
            copies[value] = iter(own)
            splits.append(Layer(type="Split", name=f"{value}/split", inputs=(value,), outputs=(*public, *own)))
        result += [replace(layer, inputs=inputs, outputs=tuple(names)), *splits]
    return result


def number(value: float) -> str:
    """Return a number as ncnn reads it back to the same float32: at most 15 characters, 9 of them digits."""
    short = repr(float(value))
    return short if len(short) <= 10 else f"{value:.8e}"


def _param(key: int, value: Value) -> str:
    match value:
        case str():
            return f'{key}="{value}"'
        case tuple():
            return f"{ARRAY - key}=" + ",".join([str(len(value)), *map(_number, value)])
        case _:
            return f"{key}={_number(value)}"


def _number(value: int | float) -> str:
    return number(value) if isinstance(value, float) else str(value)
