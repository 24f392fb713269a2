"""The vocabulary as ONNX nodes, opset 12 to 21, NCHW.

Nodes are named after the scope they are written in and initialisers after their module, so that a reader of the file
finds `decoder.decode3.gru`. Initialisers are float32 or float16; only the scales of `Resize` are always float32, as its
specification requires.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from exporters.lowering.folding import Conv
from exporters.onnx import OnnxSpec

Dtype = type[np.float32] | type[np.float16]

BLOCK = 16
"""The channels that onnxruntime's CPU kernels keep together, on the widest processors."""

_KEEP_CHANNELS = {"Add", "Sub", "Mul", "Relu", "Sigmoid", "Tanh"}


class OnnxOps:
    """Collects the nodes and initialisers of one graph. A value is its name in the graph."""

    def __init__(self, dtype: Dtype, spec: OnnxSpec) -> None:
        self.dtype = dtype
        self.spec = spec
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._scope = ""
        self._taken: dict[str, int] = {}
        self._shapes: dict[str, str] = {}
        self._channels: dict[str, int] = {}

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        outer, self._scope = self._scope, name
        yield
        self._scope = outer

    def finish(self, values: dict[str, str]) -> None:
        """Rename values to the output names of the file, and drop every node that no output needs.

        `values` maps output names to values.
        """
        known_as = {value: output for output, value in values.items()}
        needed = set(values)
        kept: list[onnx.NodeProto] = []
        for node in reversed(self.nodes):
            for names in (node.input, node.output):
                names[:] = [known_as.get(value, value) for value in names]
            if needed & set(node.output):
                needed |= set(node.input)
                kept.insert(0, node)
        self.nodes = kept
        self.initializers = {name: tensor for name, tensor in self.initializers.items() if name in needed}

    def cast(self, x: str, element: int) -> str:
        """Cast to another element type, a number of `TensorProto`."""
        return self._node("Cast", x, to=element)

    def image_from_bytes(self, x: str, bgr: bool) -> str:
        """Convert (B, H, W, 3) uint8 to the program's images: NCHW, RGB, in [0, 1]."""
        image = self._node("Transpose", self._bgr_to_rgb(x) if bgr else x, perm=[0, 3, 1, 2])
        return self.div(
            self.cast(image, helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))), self._scalar("255", 255)
        )

    def image_to_bytes(self, x: str, bgr: bool) -> str:
        """Convert an image back to bytes, rounded to the nearest level."""
        levels = self._node("Round", self.mul(x, self._scalar("255", 255)))
        image = self._node("Transpose", self.cast(levels, TensorProto.UINT8), perm=[0, 2, 3, 1])
        return self._bgr_to_rgb(image) if bgr else image

    def _bgr_to_rgb(self, x: str) -> str:
        return self._node("Gather", x, self._integers("bgr_to_rgb", 2, 1, 0), axis=3)

    def conv(self, x: str, conv: Conv) -> str:
        inputs = [x, self._initializer(f"{conv.name}.weight", conv.weight.astype(self.dtype))]
        if conv.bias is not None:
            inputs.append(self._initializer(f"{conv.name}.bias", conv.bias.astype(self.dtype)))
        y = self._node(
            "Conv",
            *inputs,
            kernel_shape=conv.weight.shape[2:],
            strides=[conv.stride] * 2,
            pads=conv.padding * 2,
            dilations=[conv.dilation] * 2,
            group=conv.groups,
        )
        self._channels[y] = len(conv.weight)
        return y

    def relu(self, x: str) -> str:
        return self._node("Relu", x)

    def hardswish(self, x: str) -> str:
        if self.spec.opset >= 14 and not self.spec.primitive_activations:
            return self._node("HardSwish", x)
        return self.mul(x, self.hardsigmoid(x))

    def hardsigmoid(self, x: str) -> str:
        if self.spec.primitive_activations:
            sixth, half = self._scalar("sixth", 1 / 6), self._scalar("half", 0.5)
            return self.clamp(self.add(self.mul(x, sixth), half))
        return self._node("HardSigmoid", x, alpha=1 / 6, beta=0.5)

    def sigmoid(self, x: str) -> str:
        return self._node("Sigmoid", x)

    def tanh(self, x: str) -> str:
        return self._node("Tanh", x)

    def clamp(self, x: str) -> str:
        return self._node("Clip", x, self._scalar("zero", 0), self._scalar("one", 1))

    def add(self, x: str, y: str) -> str:
        return self._node("Add", x, y)

    def sub(self, x: str, y: str) -> str:
        return self._node("Sub", x, y)

    def mul(self, x: str, y: str) -> str:
        return self._node("Mul", x, y)

    def div(self, x: str, y: str) -> str:
        return self._node("Div", x, y)

    def add_constant(self, x: str, values: tuple[float, ...]) -> str:
        column = np.array(values, self.dtype)[None, :, None, None]
        return self.add(x, self._initializer(f"{self._scope}.constant_{'_'.join(f'{v:g}' for v in values)}", column))

    def concat(self, *xs: str) -> str:
        y = self._node("Concat", *xs, axis=1)
        if all(x in self._channels for x in xs):
            self._channels[y] = sum(self._channels[x] for x in xs)
        return y

    def split(self, x: str, *channels: int) -> tuple[str, ...]:
        if self.spec.opset < 13:
            parts = self._nodes("Split", x, outputs=len(channels), axis=1, split=channels)
        else:
            sizes = self._integers(f"split_{'_'.join(map(str, channels))}", *channels)
            parts = self._nodes("Split", x, sizes, outputs=len(channels), axis=1)
        self._channels |= zip(parts, channels, strict=True)
        return parts

    def append_ones(self, x: str) -> str:
        pads = self._integers("append_channel", 0, 0, 0, 0, 0, 1, 0, 0)
        return self._node("Pad", x, pads, self._scalar("one", 1), mode="constant")

    def channel_mean(self, x: str) -> str:
        # A product with a row of thirds: ReduceMean over channels is slow, and a convolution changes the layout first.
        rows = self._node("Reshape", x, self._integers("three_rows", 0, 3, -1))
        mean = self._node("MatMul", self._initializer("thirds", np.full((1, 3), 1 / 3, self.dtype)), rows)
        return self._node("Reshape", mean, self._one_channel_like(x))

    def _one_channel_like(self, x: str) -> str:
        return self._node("Concat", self._integers("one_channel", 0, 1), self._shape(x, 2, 4), axis=0)

    def global_mean(self, x: str) -> str:
        return self._node("GlobalAveragePool", x)

    def average_pool_ceil(self, x: str) -> str:
        if not self.spec.ceil_free:
            return self._node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=0)
        # With one more row and column of zeros, rounding down gives the ceiling. The zeros count in the mean at an odd
        # edge. The pooled channel of ones is then 1/2 or 1/4 there, and a division by it is exact.
        pads = self._integers("pad_end", 0, 0, 0, 0, 0, 0, 1, 1)
        padded = self._node("Pad", x, pads, self._scalar("zero", 0), mode="constant")
        pooled = self._node("AveragePool", padded, kernel_shape=[2, 2], strides=[2, 2])
        _, ones = self.split(pooled, 3, 1)
        return self.div(pooled, ones)

    def max_pool(self, x: str) -> str:
        return self._node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])

    def resize_by(self, x: str, ratio: str | float) -> str:
        if isinstance(ratio, float):
            scales = self._initializer(f"scale_{ratio:g}", np.array([1, 1, ratio, ratio], np.float32))
        else:
            batch_and_channels = self._initializer("scale_one", np.ones(2, np.float32))
            scales = self._node("Concat", batch_and_channels, ratio, ratio, axis=0)
        return self._resize(x, scales)

    def resize_like(self, x: str, ref: str) -> str:
        sizes = self._node("Concat", self._shape(x, 0, 2), self._shape(ref, 2, 4), axis=0)
        return self._resize(x, "", sizes)

    def strips(self, x: str) -> tuple[str, ...]:
        return (x,)

    def stack(self, *strips: str) -> str:
        return strips[0] if len(strips) == 1 else self._node("Concat", *strips, axis=2)

    def upsample2_crop(self, x: str, ref: str) -> str:
        twice = self._resize(self._in_blocks(x), self._initializer("scale_2", np.array([1, 1, 2, 2], np.float32)))
        starts, axes = self._integers("origin", 0, 0), self._integers("spatial_axes", 2, 3)
        return self._node("Slice", twice, starts, self._shape(ref, 2, 4), axes)

    def state_like(self, state: str, x: str) -> str:
        return self._node("Expand", state, self._shape(x, 0, 4))

    def _in_blocks(self, x: str) -> str:
        """Add a pooling of single pixels, which changes no value.

        onnxruntime's kernel for it outputs blocks of channels. Resize then works on these blocks, three times as fast,
        and the next convolution reads them without a change of layout. Resize itself does not request blocks.
        """
        if x not in self._channels or self._channels[x] % BLOCK:
            return x
        return self._node("MaxPool", x, kernel_shape=[1, 1])

    def _resize(self, x: str, scales: str, *sizes: str) -> str:
        # Below opset 13 neither the roi, which only another mode reads, nor scales beside sizes can be left out.
        none = self._no_floats() if self.spec.opset < 13 else ""
        return self._node(
            "Resize",
            x,
            none,
            scales or none,
            *sizes,
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def _shape(self, x: str, start: int, stop: int) -> str:
        """Return axes start..stop of a value's shape. Each shape is written once and then reused."""
        key = f"{x}[{start}:{stop}]"
        if key not in self._shapes:
            shape = self._node("Shape", x)
            if (start, stop) != (0, 4):
                bounds = self._integers(f"axis_{start}", start), self._integers(f"axis_{stop}", stop)
                shape = self._node("Slice", shape, *bounds)
            self._shapes[key] = shape
        return self._shapes[key]

    def _node(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self._nodes(op, *inputs, outputs=1, **attributes)[0]

    def _nodes(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]:
        name = f"{self._scope}/{op}"
        count = self._taken[name] = self._taken.get(name, 0) + 1
        if count > 1:
            name += f"_{count}"
        values = (name,) if outputs == 1 else tuple(f"{name}:{k}" for k in range(outputs))
        self.nodes.append(helper.make_node(op, inputs, values, name=name, **attributes))
        if op in _KEEP_CHANNELS:
            # The channels of a single pixel or a state may be unknown, but never differ from the other operand's.
            known = [self._channels[x] for x in inputs if x in self._channels]
            self._channels |= zip(values, known, strict=False)
        return values

    def _initializer(self, name: str, array: NDArray[Any]) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def _scalar(self, name: str, value: float) -> str:
        return self._initializer(name, np.array(value, self.dtype))

    def _integers(self, name: str, *values: int) -> str:
        return self._initializer(name, np.array(values, np.int64))

    def _no_floats(self) -> str:
        return self._initializer("no_floats", np.zeros(0, np.float32))
