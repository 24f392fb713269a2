"""The wrong weights."""

from collections.abc import Callable

import torch
from torch import Tensor

from parity_tests.mutants.mutant import GRAPHS, Mutant
from parity_tests.mutants.reweighted import Reweighted

Change = Callable[[Tensor], Tensor]


def times(factor: float) -> Change:
    return lambda weight: weight * factor


def plus(number: float, index: int | None = None) -> Change:
    """Add to all numbers, or to one."""

    def change(weight: Tensor) -> Tensor:
        weight.view(-1)[slice(None) if index is None else index] += number
        return weight

    return change


def largest_times(factor: float) -> Change:
    """Scale only the largest number."""

    def change(weight: Tensor) -> Tensor:
        weight.view(-1)[weight.abs().argmax()] *= factor
        return weight

    return change


def without_output(channel: int) -> Change:
    def change(weight: Tensor) -> Tensor:
        weight[channel] = 0
        return weight

    return change


def without_input(channel: int) -> Change:
    def change(weight: Tensor) -> Tensor:
        weight[:, channel] = 0
        return weight

    return change


def swapped_outputs(one: int, other: int) -> Change:
    def change(weight: Tensor) -> Tensor:
        weight[[one, other]] = weight[[other, one]]
        return weight

    return change


WEIGHTS = (
    Mutant(
        name="kernel_1.001",
        why="One kernel of the encoder is scaled by 1.001.",
        defect=Reweighted("backbone.features.4.block.3.0.weight", times(1.001)),
    ),
    Mutant(
        name="gru_1.001",
        why="One kernel of a GRU is scaled by 1.001.",
        defect=Reweighted("decoder.decode2.gru.hh.0.weight", times(1.001)),
        formats=GRAPHS,
    ),
    Mutant(
        name="last_kernel_1.001",
        why="The kernel in front of the refiner is scaled by 1.001.",
        defect=Reweighted("project_mat.conv.weight", times(1.001)),
        formats=("onnx",),
    ),
    Mutant(
        name="refiner_1.001",
        why="One kernel of the refiner is scaled by 1.001.",
        defect=Reweighted("refiner.conv.3.weight", times(1.001)),
    ),
    Mutant(
        name="one_weight_1.01",
        why="One number of a kernel of the decoder is 1 % too large.",
        defect=Reweighted("decoder.decode1.conv.0.weight", largest_times(1.01)),
    ),
    Mutant(
        name="one_deep_weight_1.01",
        why="One number of a depthwise kernel is 1 % too large.",
        defect=Reweighted("backbone.features.8.block.1.0.weight", largest_times(1.01)),
        formats=("onnx",),
    ),
    Mutant(
        name="bias_1e-3",
        why="Alpha's bias is 1e-3 too large.",
        defect=Reweighted("project_mat.conv.bias", plus(1e-3, 3)),
        formats=GRAPHS,
    ),
    Mutant(
        name="gru_bias_1e-3",
        why="All biases of two gates are 1e-3 too large.",
        defect=Reweighted("decoder.decode4.gru.ih.0.bias", plus(1e-3)),
        formats=("onnx",),
    ),
    Mutant(
        name="candidate_bias_1e-3",
        why="All biases of a candidate are 1e-3 too large.",
        defect=Reweighted("decoder.decode1.gru.hh.0.bias", plus(1e-3)),
        formats=("onnx",),
    ),
    Mutant(
        name="channel_zeroed",
        why="One channel of a depthwise convolution is missing.",
        defect=Reweighted("backbone.features.7.block.1.0.weight", without_output(5)),
        formats=("onnx",),
    ),
    Mutant(
        name="decoder_channel_zeroed",
        why="One output of a convolution of the decoder is missing.",
        defect=Reweighted("decoder.decode3.conv.0.weight", without_output(7)),
        formats=("onnx",),
    ),
    Mutant(
        name="source_channel_zeroed",
        why="A convolution of the decoder does not see the pooled source's blue.",
        defect=Reweighted("decoder.decode2.conv.0.weight", without_input(-1)),
        formats=("onnx",),
    ),
    Mutant(
        name="outputs_swapped",
        why="Two outputs of a GRU's convolution change places.",
        defect=Reweighted("decoder.decode1.gru.hh.0.weight", swapped_outputs(0, 1)),
        formats=("onnx",),
    ),
    Mutant(
        name="gru_inputs_swapped",
        why="A GRU takes its state for its input, and its input for its state.",
        defect=Reweighted("decoder.decode4.gru.ih.0.weight", lambda weight: weight.roll(64, 1)),
    ),
    Mutant(
        name="stem_bgr",
        why="The first convolution sees BGR, normalised as RGB.",
        defect=Reweighted("backbone.features.0.0.weight", lambda weight: weight.flip(1)),
        formats=("torchscript",),
    ),
    Mutant(
        name="kernel_flipped",
        why="A depthwise kernel is turned by 180 degrees: a convolution, not a correlation.",
        defect=Reweighted("backbone.features.5.block.1.0.weight", lambda weight: weight.flip((2, 3))),
        formats=("onnx",),
    ),
    Mutant(
        name="kernel_transposed",
        why="A kernel's rows are its columns.",
        defect=Reweighted("decoder.decode0.conv.3.weight", lambda weight: weight.transpose(2, 3).contiguous()),
        formats=("onnx",),
    ),
    Mutant(
        name="alpha_first",
        why="The last convolution gives alpha before the foreground.",
        defect=Reweighted("project_mat.conv.", lambda weight: weight.roll(1, 0)),
        formats=("onnx",),
    ),
    Mutant(
        name="box_filter_1/8",
        why="The refiner's mean divides by 8, not by 9.",
        defect=Reweighted("refiner.box_filter.weight", times(9 / 8)),
    ),
    Mutant(
        name="half_weights",
        why="A float32 file holds weights that were rounded to half precision.",
        defect=Reweighted("", lambda weight: weight.half().float()),
        formats=("onnx",),
    ),
    Mutant(
        name="bfloat16_kernel",
        why="One kernel was rounded to bfloat16.",
        defect=Reweighted("decoder.decode1.conv.0.weight", lambda weight: weight.to(torch.bfloat16).float()),
        formats=("onnx",),
    ),
    Mutant(
        name="norm_offset_lost",
        why="A batch norm of the encoder loses its offset.",
        defect=Reweighted("backbone.features.3.block.1.1.bias", times(0.0)),
        formats=("onnx",),
    ),
    Mutant(
        name="norm_scale_1.002",
        why="A batch norm of the decoder scales by 1.002 times too much.",
        defect=Reweighted("decoder.decode2.conv.1.weight", times(1.002)),
        formats=("onnx",),
    ),
)
