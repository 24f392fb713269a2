"""The vocabulary for LiteRT: TensorFlow's operations of known sizes, in the forms that its delegates take.

XNNPACK computes a whole file in one piece only if all its operations are of those forms. `tf.split` and the mean of
channels would end a piece; slices and a convolution by thirds do not.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from exporters.lowering.folding import Conv
from exporters.tensorflow.ops import TensorFlowOps

Tensor = Any  # tf.Tensor; TensorFlow has no types for a type checker

CHANNEL_MEAN, APPEND_ONES = "channel_mean", "append_ones"
"""The scopes of convolutions that the network has not."""


class LiteRtOps(TensorFlowOps):
    """An `exporters.lowering.ops.Ops[tf.Tensor]` of known sizes, with weights as constants."""

    def __init__(self) -> None:
        super().__init__({})

    def conv(self, x: Tensor, conv: Conv) -> Tensor:
        with tf.name_scope(conv.name):
            (rows, columns), padding = conv.padding, "SAME"
            if conv.stride > 1:  # TensorFlow's SAME pads less before than after; the network pads both sides alike
                x, padding = tf.pad(x, [[0, 0], [rows, rows], [columns, columns], [0, 0]]), "VALID"
            strides, dilations = ([1, each, each, 1] for each in (conv.stride, conv.dilation))
            kernel = conv.weight.transpose((2, 3, 1, 0) if conv.groups == 1 else (2, 3, 0, 1)).astype(np.float32)
            convolve = tf.raw_ops.Conv2D if conv.groups == 1 else tf.raw_ops.DepthwiseConv2dNative
            x = convolve(input=x, filter=kernel, strides=strides, padding=padding, dilations=dilations)
            return x if conv.bias is None else tf.nn.bias_add(x, conv.bias.astype(np.float32))

    def hardswish(self, x: Tensor) -> Tensor:
        return x * tf.nn.relu6(x + 3) * (1 / 6)  # the form that the converter takes for one operation

    def split(self, x: Tensor, *channels: int) -> tuple[Tensor, ...]:
        ends = np.cumsum(channels)
        return tuple(x[..., end - count : end] for count, end in zip(channels, ends, strict=True))

    def append_ones(self, x: Tensor) -> Tensor:
        return self.conv(x, Conv(name=APPEND_ONES, weight=np.eye(4, 3)[..., None, None], bias=np.eye(4)[3]))

    def channel_mean(self, x: Tensor) -> Tensor:
        return self.conv(x, Conv(name=CHANNEL_MEAN, weight=np.full((1, x.shape[-1], 1, 1), 1 / x.shape[-1])))

    def resize_by(self, x: Tensor, ratio: Tensor | float) -> Tensor:
        """Resize by the quotient of the sizes, which is the ratio since both are whole."""
        return tf.image.resize(x, [round(side * ratio) for side in x.shape[1:3]])

    def upsample2_crop(self, x: Tensor, ref: Tensor) -> Tensor:
        twice = tf.image.resize(x, [2 * side for side in x.shape[1:3]])
        height, width = ref.shape[1:3]
        return twice if twice.shape[1:3] == ref.shape[1:3] else twice[:, :height, :width]

    def state_like(self, state: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002
        return state
