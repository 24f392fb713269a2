"""Fold batch norm and image normalisation into a network's convolutions, in float64, for graph formats.

Two foldings need an explanation. The lowered source has a fourth channel of ones (see `program.py`), so every
convolution that sees the source gets a fourth input column. In the decoder this column is zero. It only makes the
channel count a multiple of 4, as onnxruntime's blocked kernels and some WebGPU builds require. In MobileNetV3's first
convolution it carries the normalisation: w * (x - mean) / std = (w / std) * x + (-w * mean / std) * 1. A bias could not
do that. The reference pads the normalised image with zeros; at that border the ones are padded with zeros too, but a
bias is not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rvm_model.network.matting_network import MattingNetwork
from rvm_model.network.mobilenetv3 import MEAN, STD
from rvm_model.network.refiner import FastGuidedFilter

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
        """Return the rows and columns of zeros on each side: those that keep the size at stride 1."""
        height, width = self.weight.shape[2:]
        return (height - 1) // 2 * self.dilation, (width - 1) // 2 * self.dilation


def lowered_convs(network: MattingNetwork) -> dict[str, Conv]:
    """Return all convolutions by their module's name, in the order of the network.

    * A convolution of two joined images equals the sum of a convolution of each. Where the sum is faster, the dict
      holds both parts, with a suffix on the module's name: `decoder.decode4.gru.ih.0.x` and `.h`.
    * The refiner's mean is widened to its sixteen channels at once.
    * The mean of the fast guided filter has no module; it is `refiner.box_rows` and `refiner.box_columns`.
    """
    convs = folded_convs(network)
    if network.variant == "mobilenetv3":
        single = next(network.parameters()).dtype != torch.float64
        convs["backbone.features.0.0"] = _normalise(convs["backbone.features.0.0"], single)
    else:
        convs["backbone.conv1"] = _widen(convs["backbone.conv1"])
    for block in ("decode3", "decode2", "decode1", "decode0"):
        name = f"decoder.{block}.conv.0"
        convs[name] = _widen(convs[name])
    for block in ("decode4", "decode3", "decode2", "decode1"):
        for gate in ("ih.0", "hh.0"):
            conv = convs.pop(f"decoder.{block}.gru.{gate}")
            convs |= _by_input(conv, x=conv.weight.shape[1] // 2, h=conv.weight.shape[1] // 2)
    conv = convs.pop("decoder.decode0.conv.0")
    convs |= _by_input(conv, x=conv.weight.shape[1] - 4, src=4)
    if isinstance(network.refiner, FastGuidedFilter):
        third = np.full((16, 1, 1, 3), 1 / 3)
        convs["refiner.box_rows"] = Conv(name="refiner.box_rows", weight=third, groups=16)
        convs["refiner.box_columns"] = Conv(name="refiner.box_columns", weight=third.swapaxes(2, 3), groups=16)
    else:
        box = convs["refiner.box_filter"]
        convs["refiner.box_filter"] = replace(box, weight=np.tile(box.weight, (4, 1, 1, 1)), groups=16)
    return convs


def divided_convs(network: MattingNetwork) -> dict[str, Conv]:
    """Return `lowered_convs` for runtimes that keep blocks of channels, where some joins cost a change of layout.

    It also divides the refiner's first convolution, into `refiner.conv.0.statistics` and `.hid`.
    """
    convs = lowered_convs(network)
    if "refiner.conv.0" in convs:
        conv = convs.pop("refiner.conv.0")
        convs |= _by_input(conv, statistics=8, hid=conv.weight.shape[1] - 8)
    return convs


def separate_convs(network: MattingNetwork) -> dict[str, Conv]:
    """Return `lowered_convs` for runtimes that keep a pixel's channels together, and join and split pixel by pixel.

    The refiner's mean takes one image of four channels at a time.
    """
    convs = lowered_convs(network)
    for name in ("refiner.box_filter", "refiner.box_rows", "refiner.box_columns"):
        if name in convs:
            convs[name] = replace(convs[name], weight=convs[name].weight[:4], groups=4)
    return convs


def conv_modules(network: MattingNetwork) -> Iterator[tuple[str, nn.Conv2d, nn.BatchNorm2d | None]]:
    """Yield every convolution with its full name, and the batch norm that follows it in the same module, or None."""
    for parent_name, parent in network.named_modules():
        for (name, child), (_, behind) in pairwise([*parent.named_children(), ("", None)]):
            if isinstance(child, nn.Conv2d):
                full_name = f"{parent_name}.{name}" if parent_name else name
                yield full_name, child, behind if isinstance(behind, nn.BatchNorm2d) else None


def folded_convs(network: MattingNetwork) -> dict[str, Conv]:
    """Return all convolutions by their module's name, with batch norm folded in and nothing else."""
    convs = {}
    for name, module, norm in conv_modules(network):
        weight = _float64(module.weight)
        bias = None if module.bias is None else _float64(module.bias)
        if norm is not None:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            assert bias is None
            scale = _float64(norm.weight) / np.sqrt(_float64(norm.running_var) + norm.eps)
            weight = weight * scale[:, None, None, None]
            bias = _float64(norm.bias) - _float64(norm.running_mean) * scale
        conv = Conv(
            name=name,
            weight=weight,
            bias=bias,
            stride=module.stride[0],
            dilation=module.dilation[0],
            groups=module.groups,
        )
        assert module.padding == conv.padding, f"{name}: a padding that program.py does not express"
        convs[name] = conv
    return convs


def folded_state_dict(
    variant: str, refiner: str, kernels: Mapping[str, Array], offsets: Mapping[str, Array | None]
) -> dict[str, torch.Tensor]:
    """Return a float32 state dict with the released keys, from convolutions with batch norm folded in.

    Each batch norm becomes one that only adds the offset. `project_seg` is zeros.

    Args:
        variant: `mobilenetv3` or `resnet50`.
        refiner: `deep_guided_filter` or `fast_guided_filter`.
        kernels: Weights (out, in / groups, height, width) by module.
        offsets: The number added to each output channel, (out,), or None.
    """
    network = MattingNetwork(variant, refiner)
    names = {module: name for name, module in network.named_modules()}
    state_dict = {key: torch.zeros_like(tensor) for key, tensor in network.state_dict().items()}
    for name, _, norm in conv_modules(network):
        if name not in kernels:
            continue
        state_dict[f"{name}.weight"] = _float32(kernels[name])
        offset = offsets[name]
        if norm is not None:
            assert offset is not None
            state_dict[f"{names[norm]}.weight"].fill_(1)
            # In float64, 1 / sqrt(variance + eps) is then so near to 1 that float32 weights do not change.
            state_dict[f"{names[norm]}.running_var"].fill_(1 - norm.eps)
            state_dict[f"{names[norm]}.bias"] = _float32(offset)
        elif offset is not None:
            state_dict[f"{name}.bias"] = _float32(offset)
    return state_dict


def _float32(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _widen(conv: Conv) -> Conv:
    """Add a fourth source channel, last of the input channels, that has no effect."""
    zeros = np.zeros_like(conv.weight[:, :1])
    return replace(conv, weight=np.concatenate([conv.weight, zeros], axis=1))


def _by_input(conv: Conv, **channels: int) -> dict[str, Conv]:
    """Divide a convolution into one for each of the joined images, named after them. The first keeps the bias."""
    assert sum(channels.values()) == conv.weight.shape[1]
    weights = np.split(conv.weight, np.cumsum([*channels.values()])[:-1], axis=1)
    parts = [
        replace(conv, name=f"{conv.name}.{part}", weight=weight, bias=conv.bias if index == 0 else None)
        for index, (part, weight) in enumerate(zip(channels, weights, strict=True))
    ]
    return {part.name: part for part in parts}


def _normalise(conv: Conv, single: bool) -> Conv:
    """Fold the image's mean and standard deviation in, using a fourth channel of ones.

    If the network is float32 (`single`), the weights are first rounded to float32. Then `normalisation.py` can find
    three float32 channels again that give all four, so a checkpoint recovered from a file exports to the same file.
    """
    mean, std = (np.array(values)[None, :, None, None] for values in (MEAN, STD))
    weight = conv.weight.astype(np.float32).astype(np.float64) if single else conv.weight
    scaled = weight / std
    offset = -(scaled * mean).sum(axis=1, keepdims=True)
    return replace(conv, weight=np.concatenate([scaled, offset], axis=1))


def _float64(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().double().numpy()
    return array
