"""Describe the network's convolutions and what each of them reads, to compare a file's convolutions with.

This is not written by hand: `program.py` runs on values that only record where they come from.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from exporters.layers import BOX_FILTER, SEGMENTATION
from exporters.lowering.folding import Conv, divided_convs, folded_convs
from exporters.lowering.program import program
from rvm_model.network.matting_network import MattingNetwork

STATES = ("r1", "r2", "r3", "r4")
SOURCE = "src"


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkConv:
    """One convolution in a form that a file may have: a whole module, or a module's part for one of its joined images.

    `name` is that of the module, or of the part as in `divided_convs`. `sources` are modules and names of inputs.
    """

    name: str
    module: str
    shape: tuple[int, ...]
    stride: int
    dilation: int
    groups: int
    activation: str
    sources: frozenset[str]

    @property
    def part(self) -> str:
        """Return the part's own name if the module is computed in parts, else an empty string."""
        return self.name.removeprefix(self.module).removeprefix(".")


@dataclass(frozen=True, kw_only=True, eq=False)
class Architecture:
    """The convolutions of one variant and refiner.

    `modules` have the network's shapes, in its order. `layers` are all forms in which files write them. `parts` are the
    names of a module's parts, in the order of their channels. `sums` are the activations of the parts' sums.
    """

    variant: str
    refiner: str
    modules: dict[str, Conv]
    layers: tuple[NetworkConv, ...]
    parts: dict[str, tuple[str, ...]]
    sums: dict[str, str]


@lru_cache
def architecture(variant: str, refiner: str) -> Architecture:
    """Return the architecture of a variant and refiner. Raises ValueError for an unknown one."""
    network = MattingNetwork(variant, refiner).eval()
    modules = folded_convs(network)
    del modules[SEGMENTATION]
    lowered = divided_convs(network)
    ops = _Ops(modules=frozenset(modules))
    program(
        ops,
        lowered,
        _Value(sources=frozenset({SOURCE})),
        tuple(_Value(sources=frozenset({state})) for state in STATES),  # type: ignore[arg-type]
        0.5,
        at_ratio_one="refine",
    )
    module_of = {name: name if name in modules else name.rpartition(".")[0] for name in ops.sources}
    layers = []
    for name, sources in ops.sources.items():
        module = module_of[name]
        if name == BOX_FILTER or module not in modules:
            continue  # the refiner's mean, which `match.py` recognises
        layers.append(_layer(lowered[name], module, ops, sources, module_of))
    parts: dict[str, tuple[str, ...]] = {}
    for layer in layers:
        if layer.part:
            parts[layer.module] = (*parts.get(layer.module, ()), layer.name)
    # The modules in the network's own shape, if the lowered shape differs.
    for module, conv in modules.items():
        names = parts.get(module, (module,))
        if module != BOX_FILTER and (module in parts or conv.weight.shape != lowered[module].weight.shape):
            sources = frozenset[str]().union(*(ops.sources[name] for name in names))
            layers.append(_layer(conv, module, ops, sources, module_of))
    return Architecture(
        variant=variant,
        refiner=refiner,
        modules=modules,
        layers=tuple(layers),
        parts=parts,
        sums={module: ops.activations.get(module, "linear") for module in parts},
    )


def _layer(conv: Conv, module: str, ops: "_Ops", sources: frozenset[str], module_of: dict[str, str]) -> NetworkConv:
    is_part = conv.name != module
    return NetworkConv(
        name=conv.name,
        module=module,
        shape=conv.weight.shape,
        stride=conv.stride,
        dilation=conv.dilation,
        groups=conv.groups,
        activation="linear" if is_part else ops.activations.get(module, "linear"),
        sources=frozenset(module_of.get(source, source) for source in sources),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Value:
    """The origin of a value. `made_by` is the convolution, or the sum of a module's parts, that computes it."""

    sources: frozenset[str]
    made_by: str = ""


@dataclass(kw_only=True, eq=False)
class _Ops:
    """The vocabulary of `ops.py` on these values."""

    modules: frozenset[str]
    sources: dict[str, frozenset[str]] = field(default_factory=dict)
    activations: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:  # noqa: ARG002
        yield

    def conv(self, x: _Value, conv: Conv) -> _Value:
        self.sources[conv.name] = x.sources
        return _Value(sources=frozenset({conv.name}), made_by=conv.name)

    def _activated(self, x: _Value, name: str) -> _Value:
        if x.made_by:
            self.activations[x.made_by] = name
        return _joined(x)

    def relu(self, x: _Value) -> _Value:
        return self._activated(x, "relu")

    def hardswish(self, x: _Value) -> _Value:
        return self._activated(x, "hardswish")

    def hardsigmoid(self, x: _Value) -> _Value:
        return self._activated(x, "hardsigmoid")

    def sigmoid(self, x: _Value) -> _Value:
        return self._activated(x, "sigmoid")

    def tanh(self, x: _Value) -> _Value:
        return self._activated(x, "tanh")

    def add(self, x: _Value, y: _Value) -> _Value:
        """Return the sum. The sum of two parts stands for their module, whose name is the prefix of both."""
        modules = {each.made_by.rpartition(".")[0] for each in (x, y)}
        is_module = len(modules) == 1 and modules <= self.modules and x.made_by != y.made_by
        return _Value(sources=x.sources | y.sources, made_by=modules.pop() if is_module else "")

    def sub(self, x: _Value, y: _Value) -> _Value:
        return _joined(x, y)

    def mul(self, x: _Value, y: _Value) -> _Value:
        return _joined(x, y)

    def div(self, x: _Value, y: _Value) -> _Value:
        return _joined(x, y)

    def add_constant(self, x: _Value, values: tuple[float, ...]) -> _Value:  # noqa: ARG002
        return _joined(x)

    def concat(self, *xs: _Value) -> _Value:
        return _joined(*xs)

    def split(self, x: _Value, *channels: int) -> tuple[_Value, ...]:
        return (_joined(x),) * len(channels)

    def append_ones(self, x: _Value) -> _Value:
        return _joined(x)

    def clamp(self, x: _Value) -> _Value:
        return _joined(x)

    def channel_mean(self, x: _Value) -> _Value:
        return _joined(x)

    def global_mean(self, x: _Value) -> _Value:
        return _joined(x)

    def average_pool_ceil(self, x: _Value) -> _Value:
        return _joined(x)

    def max_pool(self, x: _Value) -> _Value:
        return _joined(x)

    def resize_by(self, x: _Value, ratio: _Value | float) -> _Value:  # noqa: ARG002
        return _joined(x)

    def resize_like(self, x: _Value, ref: _Value) -> _Value:  # noqa: ARG002
        return _joined(x)

    def strips(self, x: _Value) -> tuple[_Value, ...]:
        return (x,)

    def stack(self, *strips: _Value) -> _Value:
        (whole,) = strips
        return whole

    def upsample2_crop(self, x: _Value, ref: _Value) -> _Value:  # noqa: ARG002
        return _joined(x)

    def state_like(self, state: _Value, x: _Value) -> _Value:  # noqa: ARG002
        return _joined(state)


def _joined(*values: _Value) -> _Value:
    return _Value(sources=frozenset[str]().union(*(value.sources for value in values)))
