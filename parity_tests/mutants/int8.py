"""The wrong int8 files."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from parity_tests.cases import Case
from parity_tests.mutants.mutant import Mutant
from parity_tests.mutants.patched import PatchedOnnx, PatchedTfjs
from parity_tests.mutants.reweighted import Reweighted
from parity_tests.mutants.weights import times

Change = Callable[[NDArray[Any]], NDArray[Any]]


def scaled(factor: float) -> Change:
    return lambda array: array * factor


def one_scaled(factor: float, index: int) -> Change:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        array[index] *= factor
        return array

    return change


def without(channel: int) -> Change:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        array[channel] = 0
        return array

    return change


ONNX = ("onnx",)
TFJS = ("tfjs",)
SMALL = Case(weights="from_tfjs", clip="real", width=320, height=180, ratio=0.5, frames=16)
"""A size that is whole inside, as CoreML needs, and small, as WebAssembly is slow."""

_ONNX = tuple(
    Mutant(name=name, why=why, defect=defect, formats=ONNX, precision="int8")
    for name, why, defect in (
        (
            "int8_scale_1.1",
            "The scales of one kernel are 10 % too large.",
            PatchedOnnx("decoder.decode2.conv.0.weight.scale", scaled(1.1)),
        ),
        (
            "int8_gru_scale_1.25",
            "The scales of a kernel of a GRU are 25 % too large.",
            PatchedOnnx("decoder.decode1.gru.hh.0.x.weight.scale", scaled(1.25)),
        ),
        (
            "int8_channel_scale_2",
            "The scale of one channel is twice as large.",
            PatchedOnnx("decoder.decode3.conv.0.weight.scale", one_scaled(2.0, 3)),
        ),
        (
            "int8_bias_scale",
            "The scales of one bias are halved.",
            PatchedOnnx("decoder.decode1.conv.0.bias.scale", scaled(0.5)),
        ),
        (
            "int8_channel_zeroed",
            "One output of a kernel is zero.",
            PatchedOnnx("decoder.decode1.conv.0.weight.stored", without(4)),
        ),
        (
            "int8_state_cut_off",
            "In eight bits, r1 has half the range that it needs.",
            PatchedOnnx("decoder.decode1.gru/Expand:scale", scaled(0.5)),
        ),
        (
            "int8_image_cut_off",
            "In eight bits, an image of the decoder has a quarter of the range that it needs.",
            PatchedOnnx("decoder.decode2/Relu:scale", scaled(0.25)),
        ),
    )
)

INT8 = (
    *_ONNX,
    Mutant(
        name="tfjs_scale_1.02",
        why="The step of the largest kernel is 2 % too large.",
        defect=PatchedTfjs(0, scale=1.02),
        formats=TFJS,
        precision="int8",
        play=SMALL,
    ),
    Mutant(
        name="tfjs_scale_1.1",
        why="The step of another kernel is 10 % too large.",
        defect=PatchedTfjs(6, scale=1.1),
        formats=TFJS,
        precision="int8",
        play=SMALL,
    ),
    Mutant(
        name="tfjs_zero_off",
        why="The zero of a kernel is one level off.",
        defect=PatchedTfjs(3, shift=1),
        formats=TFJS,
        precision="int8",
        play=SMALL,
    ),
    Mutant(
        name="coreml_scale_1.02",
        why="The steps of one kernel are 2 % too large.",
        defect=Reweighted("decoder.decode3.conv.0.weight", times(1.02)),
        formats=("coreml",),
        precision="int8",
        play=SMALL,
    ),
)
