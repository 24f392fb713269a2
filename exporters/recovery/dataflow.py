"""The dataflow of a graph of any format: convolutions, functions of single numbers, and everything else.

Released files have lost the names of their weights. Three things are left: the order of the convolutions, the inputs of
each, and the functions applied to its outputs. A format's `recovery.py` converts its graph to a `Dataflow`, which
`match.py` reads in the same way for every format.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import Artifact, ArtifactError
from exporters.layers import ConvSteps
from rvm_model.errors import first_line

Array = NDArray[np.float64]
Apply = Callable[..., Array]

GRID = np.linspace(-7.9, 7.9, 80)
"""The points where functions of single numbers are compared: on both sides of every kink of the network's functions."""

FUNCTIONS: Mapping[str, Apply] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hardsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}
"""The functions that the network applies to a convolution's values."""

_SAME_FUNCTION = 5e-3
"""The tolerance for a function's values on the grid. Half precision and eight-bit constants change 1/6."""


ALIGNED_CORNERS = "it resizes with aligned corners"
UNPADDED_MEAN = "the mean of its guided filter has no padding"
ROUNDED_NORMALISATION = "it normalises the image by rounded numbers"
"""Quirks of released files, and of some of ours."""


class RecoveryError(ArtifactError):
    """The network's weights cannot be recovered from the file. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Interval:
    """Numbers as a file computes with them, and bounds of their rounding errors.

    `half` is half a step of the rounding, in the shape of `values`. `stored` describes for people how they are stored.
    """

    values: Array
    half: Array
    stored: str

    @classmethod
    def exactly(cls, values: Array) -> "Interval":
        """Return numbers that were not rounded."""
        return cls(values=values, half=np.zeros_like(values), stored="float64")

    @classmethod
    def of(cls, array: NDArray[np.floating] | NDArray[np.integer]) -> "Interval":
        """Return the numbers of a floating-point array, which were rounded to its dtype."""
        values = np.asarray(array, np.float64)
        half = np.zeros_like(values)
        if np.issubdtype(array.dtype, np.floating) and array.dtype != np.float64:
            with np.errstate(invalid="ignore"):  # for infinities and NaN, which are refused later
                half = np.spacing(np.abs(array)).astype(np.float64) / 2
        return cls(values=values, half=half, stored=str(array.dtype))

    def map(self, change: Callable[[Array], Array]) -> "Interval":
        """Return the same numbers in another shape or order."""
        return replace(self, values=change(self.values), half=change(self.half))

    def times(self, factor: "Interval") -> "Interval":
        """Return the numbers multiplied by a factor that broadcasts."""
        half = (np.abs(self.values) + self.half) * (np.abs(factor.values) + factor.half)
        values = self.values * factor.values
        return replace(self, values=values, half=half - np.abs(values))

    def plus(self, offset: "Interval") -> "Interval":
        """Return the numbers added to an offset of the same shape."""
        return replace(self, values=self.values + offset.values, half=self.half + offset.half)


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernel:
    """The parameters of a convolution: `weight` (out, in / groups, height, width), `bias` (out,) or None."""

    weight: Interval
    bias: Interval | None = None
    stride: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class DataflowNode:
    """One operation, and the values that it reads and writes. Sizes and other controls do not count as values.

    It is a convolution if it has a `kernel`. It is a batch norm if it has a `norm`: scale and offset of each channel.
    It is a function of single numbers if it has an `apply`, whose arguments include constants. Any other node moves or
    mixes numbers.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kernel: Kernel | None = None
    norm: tuple[Array, Array] | None = None
    apply: Apply | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution:
    """A convolution in its graph.

    `kernel` includes the bias added after it and the batch norm, and has no zeros inserted for a dilation. `sources`
    are the convolutions whose outputs it reads, and inputs of the graph, by value. `activation` is one of `FUNCTIONS`,
    or describes what else is applied to its values.
    """

    name: str
    kernel: Kernel
    input: str
    output: str
    sources: frozenset[str]
    activation: str
    normalised: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataflow:
    """A graph, with its nodes in an order in which they can be computed.

    `inputs` maps values to their roles in the network: `src`, `r1` to `r4`. `levels` is the value of white in `src`. A
    value that depends on no input and no convolution, such as a size or a ratio, has no source and is ignored. `quirks`
    are known ways in which the graph computes something else than the network, whatever its weights. `named` are the
    weights of a file that kept the network's own names; such a file needs no nodes.
    """

    nodes: tuple[DataflowNode, ...]
    inputs: Mapping[str, str]
    outputs: frozenset[str]
    constants: Mapping[str, Interval]
    levels: float = 1
    quirks: frozenset[str] = frozenset()
    named: Mapping[str, NDArray[Any]] | None = None

    def __post_init__(self) -> None:
        for node in self.nodes:
            if not node.outputs or ((node.kernel is not None or node.norm is not None) and not node.inputs):
                raise RecoveryError(f"its {node.name[-80:]!r} has no inputs, or no outputs")

    @cached_property
    def readers(self) -> Mapping[str, list[DataflowNode]]:
        """Return the nodes that read each value."""
        found: dict[str, list[DataflowNode]] = {}
        for node in self.nodes:
            for name in {*node.inputs}:
                found.setdefault(name, []).append(node)
        return found

    def convolutions(self) -> Iterator[Convolution]:
        """Yield all convolutions, each after those that it reads.

        Raises:
            RecoveryError: a convolution's weights are computed, or are not finite.
        """
        sources: dict[str, frozenset[str]] = {value: frozenset({value}) for value in self.inputs}
        for node in self.nodes:
            seen = frozenset[str]().union(*(sources.get(name, frozenset()) for name in node.inputs))
            for name in node.outputs:
                sources[name] = seen
            if node.kernel is not None:
                kernel, output, normalised = self._with_bias(node.kernel, node.outputs[0])
                for name in (node.outputs[0], output):
                    sources[name] = frozenset({output})
                yield Convolution(
                    name=node.name,
                    kernel=_unstuffed(kernel),
                    input=node.inputs[0],
                    output=output,
                    sources=seen,
                    activation=self.activation(output),
                    normalised=normalised,
                )
            # A value between a convolution and the end of its bias counts as the convolution.
            for name in node.outputs:
                if name in self._ends:
                    sources[name] = frozenset({name})

    @cached_property
    def _ends(self) -> frozenset[str]:
        return frozenset(
            self._with_bias(node.kernel, node.outputs[0])[1] for node in self.nodes if node.kernel is not None
        )

    def _with_bias(self, kernel: Kernel, value: str) -> tuple[Kernel, str, bool]:
        """Fold the channel offsets, channel factors and batch norm that follow a convolution into its kernel.

        Return the kernel, the value after them, and True if anything was multiplied.
        """
        out = len(kernel.weight.values)
        normalised = False
        while len(readers := self.readers.get(value, [])) == 1 and value not in self.outputs:
            (node,) = readers
            if node.norm is not None and node.inputs[0] == value:
                scale, offset = (Interval.exactly(each) for each in node.norm)
                kernel = _scaled(kernel, scale)
                kernel = replace(kernel, bias=offset if kernel.bias is None else kernel.bias.plus(offset))
                normalised = True
            elif node.apply is np.add and (given := self._vector(node, value, out)) is not None:
                kernel = replace(kernel, bias=given if kernel.bias is None else kernel.bias.plus(given))
            elif node.apply is np.multiply and (given := self._vector(node, value, out)) is not None:
                kernel = _scaled(kernel, given)
                normalised = True
            elif node.apply is _same:
                pass
            else:
                break
            value = node.outputs[0]
        return kernel, value, normalised

    def _vector(self, node: DataflowNode, value: str, length: int) -> Interval | None:
        """Return the other operand of a node if it is one number per channel, else None."""
        others = [name for name in node.inputs if name != value]
        if len(others) != 1 or others[0] not in self.constants:
            return None
        constant = self.constants[others[0]]
        if constant.values.size != length or length == 1 or max(constant.values.shape) != length:
            return None
        return constant.map(np.ravel)

    def activation(self, value: str) -> str:
        """Return the function applied to each number of a value before any other operation: one of `FUNCTIONS`.

        If readers differ, the names are joined by "and".
        """
        computed = self._pointwise({value: GRID}, scalars=True)
        found: set[str] = set()
        for name, given in computed.items():
            ends = any(output not in computed for node in self.readers.get(name, []) for output in node.outputs)
            if ends or name in self.outputs:
                found.add(_function(given))
        return found.pop() if len(found) == 1 else " and ".join(sorted(found)) or "nothing"

    def colours(self, value: str) -> tuple[Array, Array]:
        """Return the scale and offset, one per channel, by which a value depends on the source's channels in [0, 1].

        Raises:
            RecoveryError: the value is no linear function of the source's channels, each by itself.
        """
        probes = []
        for level in (0.0, 0.5, 1.0):
            start = {name: np.full(3, level * self.levels) for name, role in self.inputs.items() if role == "src"}
            # Resizing, padding and reordering do not change an image of one colour.
            computed = self._pointwise(start, scalars=False, up_to=value)
            probes.append(computed.get(value))
        low, middle, high = probes
        if low is None or middle is None or high is None or np.abs(low + high - 2 * middle).max() > 1e-4:
            raise RecoveryError("its first convolution does not look at the source, scaled and shifted by channel")
        return high - low, low

    def _pointwise(self, start: Mapping[str, Array], *, scalars: bool, up_to: str = "") -> dict[str, Array]:
        """Compute the values that depend on `start` number by number.

        If `scalars`, constants must be single numbers, and a node without `apply` ends the path. Otherwise constants
        may have one number for each of three channels, and a node without `apply`, which moves pixels, does not change
        its input.
        """
        computed = dict(start)
        waiting = [*start]
        while waiting and up_to not in computed:
            for node in self.readers.get(waiting.pop(), []):
                if node.outputs[0] in computed or node.kernel is not None:
                    continue
                given = [computed[name] if name in computed else self._constant(name, scalars) for name in node.inputs]
                if node.apply is None:
                    moved = [computed[name] for name in node.inputs if name in computed]
                    if scalars or any(not np.array_equal(each, moved[0]) for each in moved):
                        continue
                    result = moved[0]
                elif any(each is None for each in given):
                    continue
                else:
                    result = _applied(node, [each for each in given if each is not None])
                if np.shape(result) == np.shape(next(iter(start.values()))):
                    for name in node.outputs:
                        computed[name] = result
                        waiting.append(name)
        return computed

    def _constant(self, name: str, scalars: bool) -> Array | None:
        constant = self.constants.get(name)
        if constant is None or constant.values.size not in ((1,) if scalars else (1, 3)):
            return None
        return constant.values.reshape(-1) if constant.values.size > 1 else constant.values.reshape(())


def in_order(nodes: Iterable[DataflowNode]) -> tuple[DataflowNode, ...]:
    """Return the nodes sorted so that each follows those whose values it reads. Raises RecoveryError for a cycle."""
    nodes = [*nodes]
    makers = {name: node for node in nodes for name in node.outputs}
    begun: set[int] = set()
    done: dict[int, DataflowNode] = {}
    for first in nodes:
        stack = [first]
        while stack:
            node = stack[-1]
            if id(node) in done:
                stack.pop()
                continue
            ahead = [makers[name] for name in node.inputs if name in makers and id(makers[name]) not in done]
            if not ahead:
                done[id(stack.pop())] = node
                continue
            if id(node) in begun:
                raise RecoveryError(f"its {node.name[-80:]!r} reads what is computed from it")
            begun.add(id(node))
            stack.extend(reversed(ahead))
    return tuple(done.values())


def with_constants(nodes: Iterable[DataflowNode], constants: Mapping[str, Interval]) -> dict[str, Interval]:
    """Return the constants, and all values computed from constants alone. The nodes must be in order."""
    found = dict(constants)
    for node in nodes:
        given = [found[name] for name in node.inputs if name in found]
        if node.apply is None or not given or len(given) < len(node.inputs) or len(node.outputs) != 1:
            continue
        if node.apply is SAME:
            found[node.outputs[0]] = given[0]
            continue
        with suppress(RecoveryError):  # skip a constant that cannot be computed: a node that needs it fails later
            values = np.asarray(_applied(node, [each.values for each in given]), np.float64)
            found[node.outputs[0]] = Interval(values=values, half=np.zeros_like(values), stored=given[0].stored)
    return found


class RecoveryModule(Protocol):
    def dataflow(self, artifact: Artifact) -> Dataflow:
        """Return the graph of a file. Raises ArtifactError if it is damaged, or has unusable convolutions."""

    def activation_steps(self, artifact: Artifact) -> Mapping[str, ConvSteps]:
        """Return the rounding of each convolution's input and output, by name. Only quantising formats have it."""


_MOST_NUMBERS = 1 << 26
"""The limit for a value computed from a file's constants. No kernel of the network has a twentieth of it."""


def _applied(node: DataflowNode, given: list[Array]) -> Array:
    """Return a node's function of these numbers.

    Raises RecoveryError if there are too many numbers, or shapes do not fit.
    """
    assert node.apply is not None
    with suppress(ValueError):  # shapes that do not broadcast: not a function of single numbers
        if math.prod(np.broadcast_shapes(*(each.shape for each in given))) > _MOST_NUMBERS:
            raise RecoveryError(f"its {node.name[-80:]!r} would give more numbers than any part of the network has")
    try:
        with np.errstate(all="ignore"):
            return node.apply(*given)
    except (TypeError, ValueError, RuntimeError, IndexError, MemoryError) as error:
        raise RecoveryError(f"its {node.name[-80:]!r} cannot be computed: {first_line(error, 200)}") from error


def _same(x: Array) -> Array:
    return x


SAME: Apply = _same
"""The function of a node that returns its input unchanged, number by number."""


def _function(values: Array) -> str:
    for name, function in FUNCTIONS.items():
        if np.abs(function(GRID) - values).max() <= _SAME_FUNCTION * max(1, float(np.abs(values).max())):
            return name
    return "a function that is none of the network's"


def _scaled(kernel: Kernel, scale: Interval) -> Kernel:
    """Return the kernel with its outputs multiplied by one number per channel."""
    bias = None if kernel.bias is None else kernel.bias.times(scale)
    return replace(kernel, weight=kernel.weight.times(scale.map(lambda x: x[:, None, None, None])), bias=bias)


def _unstuffed(kernel: Kernel) -> Kernel:
    """Convert a kernel with zeros between its weights, as some formats write a dilation, back to a dilated kernel."""
    height, width = kernel.weight.values.shape[2:]
    if height != width or height < 5 or height % 2 == 0 or set(kernel.dilation) != {1}:
        return kernel
    between = kernel.weight.values.copy()
    between[:, :, ::2, ::2] = 0
    if between.any():
        return kernel
    return replace(kernel, weight=kernel.weight.map(lambda x: x[:, :, ::2, ::2]), dilation=(2, 2))


def is_helper(kernel: Kernel) -> bool:
    """Return True for the mean of the source's channels, or the channel of ones: convolutions that only files have."""
    weight = kernel.weight.values
    if weight.shape == (1, 3, 1, 1):
        return kernel.bias is None and bool(np.allclose(weight, 1 / 3, rtol=1e-3))
    return weight.shape == (4, 3, 1, 1) and bool((weight[..., 0, 0] == np.eye(4, 3)).all())


def is_mean(kernel: Kernel) -> bool:
    """Return True if it averages its window, channel by channel: the fast guided filter, which has no weights."""
    weight = kernel.weight.values
    count = math.prod(weight.shape[2:])
    return bool(
        weight.shape[1] == 1
        and kernel.groups == len(weight)
        and kernel.bias is None
        and count in (3, 9)
        and np.abs(weight * count - 1).max() < 0.01
    )
