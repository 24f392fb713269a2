"""The operations of a matting network's XNNPACK graph, with the numbers that the schema gives to them and to their
fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of operation: slots of its inputs, of its output, of options that are numbers, and of those that are
    lists.
    """

    name: str
    inputs: tuple[int, ...]
    output: int
    options: Mapping[str, int] = field(default_factory=dict)
    lists: Mapping[str, int] = field(default_factory=dict)


def _unary(name: str) -> Kind:
    return Kind(name=name, inputs=(0,), output=1)


def _binary(name: str) -> Kind:
    return Kind(name=name, inputs=(0, 1), output=2)


def _pool(name: str) -> Kind:
    sides = ("top", "right", "bottom", "left", "height", "width", "stride_h", "stride_w")
    return Kind(name=name, inputs=(10,), output=11, options={side: slot for slot, side in enumerate(sides)})


def _convolution(name: str) -> Kind:
    """Return a convolution. Its inputs are an image, weights and a bias."""
    fields = ("top", "right", "bottom", "left", "height", "width", "stride_h", "stride_w", "dilation_h", "dilation_w")
    options = {name: slot for slot, name in enumerate((*fields, "group_inputs", "group_outputs", "groups"))}
    return Kind(name=name, inputs=(15, 16, 17), output=18, options=options)


def _concatenation(count: int) -> Kind:
    inputs = (1, 2, 3, 4, 7)[:count]
    return Kind(name=f"Concatenate{count}", inputs=inputs, output=5, options={"axis": 0})


KINDS: Mapping[int, Kind] = {
    1: _binary("Add"),
    4: _unary("Sigmoid"),
    5: Kind(name="StaticTranspose", inputs=(2,), output=3, lists={"order": 1}),
    6: _unary("Clamp"),
    7: _convolution("Conv2d"),
    8: _binary("Div"),
    9: Kind(name="StaticResizeBilinear2D", inputs=(2,), output=3, options={"height": 0, "width": 1}),
    11: _pool("AvgPooling2d"),
    13: _convolution("DepthwiseConv2d"),
    14: _pool("MaxPooling2d"),
    15: _binary("Multiply"),
    16: _binary("Subtract"),
    18: _unary("Convert"),
    19: _unary("GlobalAvgPooling2d"),
    24: _unary("Hardswish"),
    32: _concatenation(2),
    33: _concatenation(3),
    34: _concatenation(4),
    35: Kind(name="StaticSlice", inputs=(3,), output=4, lists={"offsets": 1, "sizes": 2}),
    43: _unary("Tanh"),
    46: _unary("Copy"),
}
"""Kinds by their number. Source: XNodeUnion and its tables in backends/xnnpack/serialization/schema.fbs of
github.com/pytorch/executorch, version 1.5."""

DTYPES: Mapping[int, str] = {1: "float32", 2: "float16"}
"""Types of values, by their number in XNNDatatype."""

SCALARS: Mapping[int, str] = {5: "float16", 6: "float32"}
"""Types of inputs and outputs, by their number in ScalarType."""
