"""The vocabulary as TensorFlow operations, NHWC. Sizes may be known only when the graph runs.

It uses only operations that TF.js supports in all its backends: no SpaceToBatch (a dilated kernel is written with zeros
between its weights), and no `_FusedHardSwish`, into which TF.js's converter turns the usual form.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from exporters.lowering.folding import Conv

Tensor = Any  # tf.Tensor; TensorFlow has no types for a type checker


class TensorFlowOps:
    """An `exporters.lowering.ops.Ops[tf.Tensor]`. `variables` are the convolutions' weights, from `variables` below."""

    def __init__(self, variables: Mapping[str, Tensor]) -> None:
        self.variables = variables

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        with tf.name_scope(name):
            yield

    def conv(self, x: Tensor, conv: Conv) -> Tensor:
        kernel = self.variables[f"{conv.name}.weight"]
        if conv.stride > 1 or kernel.shape[0] != kernel.shape[1]:
            # TensorFlow's SAME pads less before than after; the network pads both sides alike.
            rows, columns = conv.padding
            x = tf.pad(x, [[0, 0], [rows, rows], [columns, columns], [0, 0]])
            padding = "VALID"
        else:
            padding = "SAME"
        if conv.groups == 1:
            x = tf.nn.conv2d(x, kernel, strides=conv.stride, padding=padding)
        else:
            x = tf.nn.depthwise_conv2d(x, kernel, strides=[1, conv.stride, conv.stride, 1], padding=padding)
        return x if conv.bias is None else tf.nn.bias_add(x, self.variables[f"{conv.name}.bias"])

    def relu(self, x: Tensor) -> Tensor:
        return tf.nn.relu(x)

    def hardswish(self, x: Tensor) -> Tensor:
        return x * self.hardsigmoid(x)

    def hardsigmoid(self, x: Tensor) -> Tensor:
        return self.clamp(x * (1 / 6) + 0.5)

    def sigmoid(self, x: Tensor) -> Tensor:
        return tf.sigmoid(x)

    def tanh(self, x: Tensor) -> Tensor:
        return tf.tanh(x)

    def clamp(self, x: Tensor) -> Tensor:
        return tf.clip_by_value(x, 0.0, 1.0)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y

    def sub(self, x: Tensor, y: Tensor) -> Tensor:
        return x - y

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y

    def div(self, x: Tensor, y: Tensor) -> Tensor:
        return x / y

    def add_constant(self, x: Tensor, values: tuple[float, ...]) -> Tensor:
        return x + tf.constant(values, tf.float32)

    def concat(self, *xs: Tensor) -> Tensor:
        return tf.concat(xs, axis=-1)

    def split(self, x: Tensor, *channels: int) -> tuple[Tensor, ...]:
        return tuple(tf.split(x, channels, axis=-1))

    def append_ones(self, x: Tensor) -> Tensor:
        return tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, 1]], constant_values=1.0)

    def channel_mean(self, x: Tensor) -> Tensor:
        return tf.reduce_mean(x, axis=-1, keepdims=True)

    def global_mean(self, x: Tensor) -> Tensor:
        return tf.reduce_mean(x, axis=[1, 2], keepdims=True)

    def average_pool_ceil(self, x: Tensor) -> Tensor:
        return tf.nn.avg_pool2d(x, 2, 2, "SAME")

    def max_pool(self, x: Tensor) -> Tensor:
        # The input comes from a ReLU, so that zeros never win.
        return tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")

    def resize_by(self, x: Tensor, ratio: Tensor | float) -> Tensor:
        """Resize rows, then columns, each as a mean of two. TensorFlow's own resize uses the quotient of the sizes."""
        for axis in (1, 2):
            size = x.shape[axis] if isinstance(ratio, float) and x.shape[axis] else tf.shape(x)[axis]
            first, second, share = _samples(size, ratio)
            shape = [-1 if each == axis else 1 for each in range(4)]
            share = tf.reshape(share, shape)
            before, after = _rows(x, first, axis), _rows(x, second, axis)
            x = before + (after - before) * share
        return x

    def resize_like(self, x: Tensor, ref: Tensor) -> Tensor:
        return _resize(x, *_size(ref))

    def strips(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x,)

    def stack(self, *strips: Tensor) -> Tensor:
        (whole,) = strips
        return whole

    def upsample2_crop(self, x: Tensor, ref: Tensor) -> Tensor:
        height, width = _size(x)
        twice = _resize(x, 2 * height, 2 * width)
        height, width = _size(ref)
        return twice[:, :height, :width]

    def state_like(self, state: Tensor, x: Tensor) -> Tensor:
        return tf.broadcast_to(state, tf.shape(x))


def variables(convs: Mapping[str, Conv]) -> dict[str, Tensor]:
    """Return kernels (height, width, in, out), or (height, width, channels, 1) if depthwise, and biases (out,)."""
    arrays: dict[str, NDArray[np.float64]] = {}
    for name, conv in convs.items():
        weight = _stuffed(conv)
        arrays[f"{name}.weight"] = weight.transpose((2, 3, 1, 0) if conv.groups == 1 else (2, 3, 0, 1))
        if conv.bias is not None:
            arrays[f"{name}.bias"] = conv.bias
    return {
        name: tf.Variable(array.astype(np.float32), trainable=False, name=name.replace(".", "_"))
        for name, array in arrays.items()
    }


def _stuffed(conv: Conv) -> NDArray[np.float64]:
    """Return a dilated kernel as a larger one, with zeros between its weights."""
    if conv.dilation == 1:
        return conv.weight
    height, width = ((length - 1) * conv.dilation + 1 for length in conv.weight.shape[2:])
    weight = np.zeros((*conv.weight.shape[:2], height, width))
    weight[:, :, :: conv.dilation, :: conv.dilation] = conv.weight
    return weight


def _samples(size: Tensor | int, ratio: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for every pixel of the result, the two pixels that it lies between and the weight of the second."""
    if isinstance(ratio, float) and isinstance(size, int):
        to_size: Tensor | int = int(np.floor(size * ratio))
        step: Tensor | float = np.float32(1) / np.float32(ratio)  # the precision of the other formats
    else:
        ratio = tf.convert_to_tensor(ratio, tf.float32)
        to_size = tf.cast(tf.floor(tf.cast(size, tf.float32) * ratio), tf.int32)
        step = 1 / ratio
    centres = tf.cast(tf.range(to_size), tf.float32) + 0.5
    position = tf.maximum(centres * step - 0.5, 0.0)
    first = tf.cast(tf.floor(position), tf.int32)
    share = position - tf.cast(first, tf.float32)
    last = size - 1
    return tf.minimum(first, last), tf.minimum(first + 1, last), share


def _rows(x: Tensor, numbers: Tensor, axis: int) -> Tensor:
    """Select rows (axis 1) or columns (axis 2) by their numbers, from all rows or columns in one list.

    So TF.js copies each of them as a whole. With `tf.gather` it would compute the origin of every value of the result.
    A position is two small numbers, not a large one: on a GPU with only half floats TF.js keeps integers in them, and
    they are exact up to 2048.
    """
    shape = tf.unstack(tf.shape(x))
    length, count = shape[axis], tf.size(numbers)
    ahead, behind = (shape[0], shape[2] * shape[3]) if axis == 1 else (shape[0] * shape[1], shape[3])
    pieces = tf.reshape(x, [ahead, length, behind])
    places = tf.stack(tf.meshgrid(tf.range(ahead), numbers, indexing="ij"), -1)
    picked = tf.gather_nd(pieces, tf.reshape(places, [ahead * count, 2]))
    shape[axis] = count
    return tf.reshape(picked, shape)


def _size(x: Tensor) -> tuple[Tensor | int, Tensor | int]:
    """Return height and width, as numbers if they are known."""
    shape = tf.shape(x)
    height, width = (x.shape[axis] if x.shape[axis] is not None else shape[axis] for axis in (1, 2))
    return height, width


def _resize(x: Tensor, height: Tensor | int, width: Tensor | int) -> Tensor:
    return tf.image.resize(x, [height, width])
