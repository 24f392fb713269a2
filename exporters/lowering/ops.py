"""The vocabulary in which `program.py` writes the network down, and which each graph format implements.

It says what is meant and shows neither shapes, axes nor layout: a format may keep its images NCHW or NHWC, know its
sizes or not. A value `V` is an image of some number of channels, whatever the format holds it as.
"""

from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from exporters.lowering.folding import Conv

V = TypeVar("V")


class Ops(Protocol[V]):
    """About twenty operations. Where two values meet, they have one size, or one of them is a single pixel."""

    def scope(self, name: str) -> AbstractContextManager[None]:
        """Name what is written inside after a module of the network, such as `decoder.decode3.gru`."""

    def conv(self, x: V, conv: Conv) -> V: ...

    def relu(self, x: V) -> V: ...

    def hardswish(self, x: V) -> V:
        """X * clamp(x / 6 + 1/2, 0, 1)."""

    def hardsigmoid(self, x: V) -> V:
        """clamp(x / 6 + 1/2, 0, 1)."""

    def sigmoid(self, x: V) -> V: ...

    def tanh(self, x: V) -> V: ...

    def clamp(self, x: V) -> V:
        """Into [0, 1]."""

    def add(self, x: V, y: V) -> V: ...

    def sub(self, x: V, y: V) -> V: ...

    def mul(self, x: V, y: V) -> V: ...

    def div(self, x: V, y: V) -> V: ...

    def add_constant(self, x: V, values: tuple[float, ...]) -> V:
        """Add one number to each channel."""

    def concat(self, *xs: V) -> V:
        """Channels of all, in order."""

    def split(self, x: V, *channels: int) -> tuple[V, ...]:
        """So many channels each, in order, all of them."""

    def append_ones(self, x: V) -> V:
        """One more channel, last, that is 1 everywhere."""

    def channel_mean(self, x: V) -> V:
        """One channel: the mean of all."""

    def global_mean(self, x: V) -> V:
        """One pixel: the mean of each channel."""

    def average_pool_ceil(self, x: V) -> V:
        """Mean of 2x2, stride 2, sizes rounded up; a window over the edge divides by the pixels it has.

        Only for the widened source: three channels, and one of ones.
        """

    def max_pool(self, x: V) -> V:
        """Maximum of 3x3, stride 2, one pixel of padding that never wins."""

    def resize_by(self, x: V, ratio: "V | float") -> V:
        """Bilinear with half-pixel centres, source coordinates by 1 / ratio, to the floor of size * ratio.

        The ratio is the graph's input, or a number to bake in.
        """

    def resize_like(self, x: V, ref: V) -> V:
        """Bilinear with half-pixel centres to the size of `ref`, source coordinates by the quotient of the sizes."""

    def strips(self, x: V) -> tuple[V, ...]:
        """An image's rows from top to bottom: all of them, or cut into strips, where that takes less memory.

        What is brought to the size of a strip by `resize_like` is that strip of the whole.
        """

    def stack(self, *strips: V) -> V:
        """The image of which these are the strips."""

    def upsample2_crop(self, x: V, ref: V) -> V:
        """Bilinear with half-pixel centres, twice the size, then the top left part of `ref`'s size."""

    def state_like(self, state: V, x: V) -> V:
        """A state that may still be a single zero, broadcast to the size and channels of `x`."""
