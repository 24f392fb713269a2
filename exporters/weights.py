"""The convolutions of a network as graph formats write them: batch norm and image normalisation folded in, in float64.

Two foldings need a word. The lowered source has a fourth channel of ones (see `program.py`), so every convolution
that sees the source gets a fourth input column. In the decoder it is zero and only there to make the channel count a
multiple of 4, which onnxruntime's blocked kernels and some WebGPU builds ask for. In MobileNetV3's first convolution it
carries the normalisation: w * (x - mean) / std = (w / std) * x + (-w * mean / std) * 1. A bias could not do that: the
reference pads the normalised image with zeros, and at that border the ones are padded with zeros too, a bias is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rvm_model.mobilenetv3 import MEAN, STD
from rvm_model.network import MattingNetwork
from rvm_model.refiner import FastGuidedFilter

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv:
    """A convolution with square stride, zero padding and dilation.

    `name` is the module's name in the network; `weight` (out, in / groups, height, width); `bias` (out,) or None.
    """

    name: str
    weight: Array
    bias: Array | None = None
    stride: int = 1
    dilation: int = 1
    groups: int = 1

    @property
    def padding(self) -> tuple[int, int]:
        """Rows and columns of zeros on each side: those that keep the size at stride 1."""
        height, width = self.weight.shape[2:]
        return (height - 1) // 2 * self.dilation, (width - 1) // 2 * self.dilation


def lowered_convs(network: MattingNetwork) -> dict[str, Conv]:
    """All convolutions by their module's name, in the order of the network.

    Those of the fast guided filter's mean have no module; they are `refiner.box_rows` and `refiner.box_columns`.
    """
    convs = {conv.name: conv for conv in _folded(network)}
    if network.variant == "mobilenetv3":
        convs["backbone.features.0.0"] = _normalise(convs["backbone.features.0.0"])
    else:
        convs["backbone.conv1"] = _widen(convs["backbone.conv1"])
    for block in ("decode3", "decode2", "decode1", "decode0"):
        name = f"decoder.{block}.conv.0"
        convs[name] = _widen(convs[name])
    for block in ("decode4", "decode3", "decode2", "decode1"):
        name = f"decoder.{block}.gru"
        gates, candidate = convs.pop(f"{name}.ih.0"), convs.pop(f"{name}.hh.0")
        channels = len(candidate.weight)
        parts = {"reset": _rows(gates, 0, channels), "update": _rows(gates, channels, None), "candidate": candidate}
        for gate, conv in parts.items():
            convs[f"{name}.{gate}_x"] = replace(conv, name=f"{name}.{gate}_x", weight=conv.weight[:, :channels])
            convs[f"{name}.{gate}_h"] = replace(conv, name=f"{name}.{gate}_h", weight=conv.weight[:, channels:], bias=None)
    if isinstance(network.refiner, FastGuidedFilter):
        third = np.full((16, 1, 1, 3), 1 / 3)
        convs["refiner.box_rows"] = Conv(name="refiner.box_rows", weight=third, groups=16)
        convs["refiner.box_columns"] = Conv(name="refiner.box_columns", weight=third.swapaxes(2, 3), groups=16)
    else:
        box = convs["refiner.box_filter"]
        convs["refiner.box_filter"] = replace(box, weight=np.tile(box.weight, (4, 1, 1, 1)), groups=16)
    return convs


def _rows(conv: Conv, start: int, stop: int | None) -> Conv:
    assert conv.bias is not None
    return replace(conv, weight=conv.weight[start:stop], bias=conv.bias[start:stop])


def _folded(network: MattingNetwork) -> Iterator[Conv]:
    """Every convolution, with the batch norm that stands right behind it in the same module, if one does."""
    for parent_name, parent in network.named_modules():
        for (name, child), (_, behind) in pairwise([*parent.named_children(), ("", None)]):
            if not isinstance(child, nn.Conv2d):
                continue
            weight = _float64(child.weight)
            bias = None if child.bias is None else _float64(child.bias)
            if isinstance(behind, nn.BatchNorm2d):
                assert behind.running_mean is not None
                assert behind.running_var is not None
                assert bias is None
                scale = _float64(behind.weight) / np.sqrt(_float64(behind.running_var) + behind.eps)
                weight = weight * scale[:, None, None, None]
                bias = _float64(behind.bias) - _float64(behind.running_mean) * scale
            conv = Conv(
                name=f"{parent_name}.{name}" if parent_name else name,
                weight=weight,
                bias=bias,
                stride=child.stride[0],
                dilation=child.dilation[0],
                groups=child.groups,
            )
            assert child.padding == conv.padding, f"{conv.name}: a padding that program.py does not express"
            yield conv


def _widen(conv: Conv) -> Conv:
    """A fourth source channel, last of the input channels, that has no effect."""
    zeros = np.zeros_like(conv.weight[:, :1])
    return replace(conv, weight=np.concatenate([conv.weight, zeros], axis=1))


def _normalise(conv: Conv) -> Conv:
    """The image's mean and standard deviation folded in, over a fourth channel of ones."""
    mean, std = (np.array(values)[None, :, None, None] for values in (MEAN, STD))
    scaled = conv.weight / std
    offset = -(scaled * mean).sum(axis=1, keepdims=True)
    return replace(conv, weight=np.concatenate([scaled, offset], axis=1))


def _float64(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().double().numpy()
    return array
