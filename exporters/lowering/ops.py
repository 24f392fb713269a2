"""The vocabulary in which `program.py` describes the network, and which each graph format implements.

It shows no shapes, axes or layout: a format may keep its images NCHW or NHWC, with known sizes or not. A value `V` is
an image with some number of channels, in whatever form the format holds it.
"""

from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from exporters.lowering.folding import Conv

V = TypeVar("V")


class Ops(Protocol[V]):
    """The operations, about twenty. Operands of one operation have the same size, or one of them is a single pixel."""

    def scope(self, name: str) -> AbstractContextManager[None]:
        """Name the operations written inside after a module of the network, such as `decoder.decode3.gru`."""

    def conv(self, x: V, conv: Conv) -> V: ...

    def relu(self, x: V) -> V: ...

    def hardswish(self, x: V) -> V:
        """Return x * clamp(x / 6 + 1/2, 0, 1)."""

    def hardsigmoid(self, x: V) -> V:
        """Return clamp(x / 6 + 1/2, 0, 1)."""

    def sigmoid(self, x: V) -> V: ...

    def tanh(self, x: V) -> V: ...

    def clamp(self, x: V) -> V:
        """Clamp to [0, 1]."""

    def add(self, x: V, y: V) -> V: ...

    def sub(self, x: V, y: V) -> V: ...

    def mul(self, x: V, y: V) -> V: ...

    def div(self, x: V, y: V) -> V: ...

    def add_constant(self, x: V, values: tuple[float, ...]) -> V:
        """Add one number to each channel."""

    def concat(self, *xs: V) -> V:
        """Join the channels of all images, in order."""

    def split(self, x: V, *channels: int) -> tuple[V, ...]:
        """Split the channels, in order, into images of these many channels each, which add up to all."""

    def append_ones(self, x: V) -> V:
        """Append a channel that is 1 everywhere."""

    def channel_mean(self, x: V) -> V:
        """Return one channel: the mean of all."""

    def global_mean(self, x: V) -> V:
        """Return one pixel: the mean of each channel."""

    def average_pool_ceil(self, x: V) -> V:
        """Average 2x2, stride 2, sizes rounded up. A window over the edge divides by the number of pixels inside.

        Only for the widened source: three channels, and one of ones.
        """

    def max_pool(self, x: V) -> V:
        """Take the maximum of 3x3, stride 2, with one pixel of padding that never wins."""

    def resize_by(self, x: V, ratio: "V | float") -> V:
        """Resize to the floor of size * ratio, bilinear with half-pixel centres, source coordinates by 1 / ratio.

        The ratio is the graph's input, or a number to bake in.
        """

    def resize_like(self, x: V, ref: V) -> V:
        """Resize to `ref`'s size: bilinear, half-pixel centres, source coordinates by the quotient of the sizes."""

    def strips(self, x: V) -> tuple[V, ...]:
        """Return an image's rows from top to bottom: all of them, or cut into strips if that takes less memory.

        `resize_like` with a strip as `ref` returns the matching strip of the whole resized image.
        """

    def stack(self, *strips: V) -> V:
        """Join strips back into the image."""

    def upsample2_crop(self, x: V, ref: V) -> V:
        """Resize to twice the size, bilinear with half-pixel centres, then crop at the top left to `ref`'s size."""

    def state_like(self, state: V, x: V) -> V:
        """Broadcast a state, which may still be a single zero, to the size and channels of `x`."""
