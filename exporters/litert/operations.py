"""The operations of a matting network's file, with the numbers that the schema gives to them and to their options."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of operation. `options` maps names to slots of its options table, kinds of `struct` and default values."""

    name: str
    options: Mapping[str, tuple[int, str, int]] = field(default_factory=dict)


def _windowed(activation: int, dilation: int | None = None) -> dict[str, tuple[int, str, int]]:
    """Return the options of a convolution or a pool. Its padding is in slot 0."""
    options = {"stride_w": (1, "i", 0), "stride_h": (2, "i", 0), "activation": (activation, "b", 0)}
    if dilation is not None:
        options |= {"dilation_w": (dilation, "i", 1), "dilation_h": (dilation + 1, "i", 1)}
    return options


_SUM = {"activation": (0, "b", 0)}

KINDS: Mapping[int, Kind] = {
    0: Kind(name="ADD", options=_SUM),
    1: Kind(name="AVERAGE_POOL_2D", options=_windowed(activation=5)),
    2: Kind(name="CONCATENATION", options={"activation": (1, "b", 0)}),
    3: Kind(name="CONV_2D", options=_windowed(activation=3, dilation=4)),
    4: Kind(name="DEPTHWISE_CONV_2D", options=_windowed(activation=4, dilation=5)),
    6: Kind(name="DEQUANTIZE"),
    14: Kind(name="LOGISTIC"),
    17: Kind(name="MAX_POOL_2D", options=_windowed(activation=5)),
    18: Kind(name="MUL", options=_SUM),
    19: Kind(name="RELU"),
    23: Kind(name="RESIZE_BILINEAR"),
    28: Kind(name="TANH"),
    34: Kind(name="PAD"),
    40: Kind(name="MEAN"),
    41: Kind(name="SUB", options=_SUM),
    42: Kind(name="DIV", options=_SUM),
    45: Kind(name="STRIDED_SLICE"),
    57: Kind(name="MINIMUM"),
    114: Kind(name="QUANTIZE"),
    117: Kind(name="HARD_SWISH"),
}
"""Kinds by their number. Source: BuiltinOperator and BuiltinOptions in tflite/converter/schema/schema.fbs of
github.com/google-ai-edge/LiteRT."""

ACTIVATIONS: Mapping[int, str] = {0: "", 1: "relu"}
"""Functions fused into operations, by their number in ActivationFunctionType."""

DTYPES: Mapping[int, str] = {0: "float32", 1: "float16", 2: "int32", 9: "int8"}
"""Types of tensors, by their number in TensorType."""

GPU_DELEGATE = frozenset(
    {
        *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "DIV"),
        *("HARD_SWISH", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PAD", "PADV2", "QUANTIZE"),
        *("RELU", "RELU6", "RESHAPE", "RESIZE_BILINEAR", "SLICE", "SPLIT", "SPLIT_V", "SQUARE", "STRIDED_SLICE"),
        *("SUB", "SUM", "TANH", "TILE", "TRANSPOSE", "TRANSPOSE_CONV"),
    }
)
"""Operations that the GPU delegate takes, as far as a matting network could have them. Source: NewOperationParser in
tflite/delegates/gpu/common/model_builder.cc of github.com/google-ai-edge/LiteRT, at 34ec5bad, in 2026."""
