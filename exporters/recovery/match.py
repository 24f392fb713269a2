"""Match a file's convolutions to the architecture: find the module of the network for each of them.

It compares a convolution's properties (shape, stride, dilation, groups, activation) and the sources that it reads. It
ignores names. The error for a convolution that does not fit names it and the expected layer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from exporters.layers import BOX_FILTER
from exporters.recovery.architecture import SOURCE, Architecture, NetworkConv, architecture
from exporters.recovery.dataflow import (
    ROUNDED_NORMALISATION,
    Array,
    Convolution,
    Dataflow,
    Interval,
    Kernel,
    RecoveryError,
    is_mean,
)
from exporters.recovery.normalisation import with_network_normalisation, without_ones
from exporters.support.identify import identify

STEM = {"mobilenetv3": "backbone.features.0.0", "resnet50": "backbone.conv1"}
_LISTED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """The network's weights in a file, by module: kernels (out, in / groups, height, width) and offsets (out,).

    The offset of a module without one is None. `remarks` describe for people how a file's numbers were changed.

    A file whose normalisation is rounded also convolves an image of ones by `remainder` (out, height, width), and adds
    the result to its first convolution. The offset here has the sum of `remainder`: the same, but for the border.
    """

    architecture: Architecture
    kernels: Mapping[str, Interval]
    offsets: Mapping[str, Interval | None]
    remarks: tuple[str, ...]
    quirks: frozenset[str] = frozenset()
    remainder: Array | None = None


def match(graph: Dataflow) -> Weights:
    """Return the network's weights in a graph.

    Raises:
        RecoveryError: it is not a matting network, or a changed one. The message names the first convolution that does
            not fit.
    """
    convolutions = [*graph.convolutions()]
    identified = identify({conv.kernel.weight.values.shape for conv in convolutions})
    if identified is None:
        raise RecoveryError("it has no convolutions like those of a matting network")
    matcher = _Matcher(graph=graph, architecture=architecture(*identified))
    for conv in convolutions:
        matcher.add(conv)
    return matcher.finish()


class _Matcher:
    def __init__(self, *, graph: Dataflow, architecture: Architecture) -> None:
        self.graph = graph
        self.architecture = architecture
        self.found: dict[str, Convolution] = {}  # by the layer's name
        self.module_of: dict[str, str] = dict(graph.inputs)  # by value
        self.transparent: dict[str, frozenset[str]] = {}
        self.boxes: list[Convolution] = []
        self.remarks: list[str] = []
        self.quirks = set(graph.quirks)
        self.remainder: Array | None = None

    def add(self, conv: Convolution) -> None:
        """Match the next convolution of the file."""
        weight = conv.kernel.weight
        for each in (weight, conv.kernel.bias):
            if each is not None and not np.isfinite(each.values).all():
                raise RecoveryError(f"its convolution {_shown(conv)} holds a value that is not finite")
        sources = self._sources(conv)
        if self.architecture.refiner == "fast_guided_filter" and is_mean(conv.kernel):
            self.transparent[conv.output] = sources  # it has no weights, and files write it in more than one way
            return
        if self._is_box_filter(conv, sources):
            self.boxes.append(conv)
            self.module_of[conv.output] = BOX_FILTER
            return
        fitting = [layer for layer in self._open() if _differences(layer, conv, sources) == []]
        if not fitting:
            raise RecoveryError(self._misfit(conv, sources))
        layer = fitting[0]
        self.found[layer.name] = conv
        self.module_of[conv.output] = layer.module

    def finish(self) -> Weights:
        """Return the weights after the last convolution."""
        modules = self.architecture.modules
        kernels: dict[str, Interval] = {}
        offsets: dict[str, Interval | None] = {}
        for module in modules:
            kernel = self._box_filter() if module == BOX_FILTER else self._kernel(module)
            kernels[module], offsets[module] = kernel.weight, kernel.bias
        was = "is" if any(conv.normalised for conv in self.found.values()) else "was"
        self.remarks.insert(0, f"batch norm {was} folded into the convolutions; it becomes identity and offset")
        return Weights(
            architecture=self.architecture,
            kernels=kernels,
            offsets=offsets,
            remarks=tuple(self.remarks),
            quirks=frozenset(self.quirks),
            remainder=self.remainder,
        )

    def _sources(self, conv: Convolution) -> frozenset[str]:
        found: set[str] = set()
        for value in conv.sources:
            found |= self.transparent[value] if value in self.transparent else {self.module_of[value]}
        return frozenset(found)

    def _open(self) -> Iterator[NetworkConv]:
        """Yield the layers that have not been found yet, neither in parts nor whole."""
        taken = {layer.module: layer for layer in self.architecture.layers if layer.name in self.found}
        for layer in self.architecture.layers:
            other = taken.get(layer.module)
            if other is None or (layer.part and other.part and layer.name not in self.found):
                yield layer

    def _misfit(self, conv: Convolution, sources: frozenset[str]) -> str:
        """Return the error message, with the nearest layer as the expected one."""
        candidates = [(len(_differences(layer, conv, sources)), k, layer) for k, layer in enumerate(self._open())]
        if not candidates:
            return f"its convolution {_shown(conv)} is one more than the network has"
        _, _, nearest = min(candidates)
        what = "; ".join(_differences(nearest, conv, sources))
        return f"its convolution {_shown(conv)} does not fit; nearest is {nearest.name}, but it has {what}"

    def _is_box_filter(self, conv: Convolution, sources: frozenset[str]) -> bool:
        """Return True for the refiner's mean, called four times or once for all images."""
        shape = conv.kernel.weight.values.shape
        return (
            BOX_FILTER in self.architecture.modules
            and shape[1:] == (1, 3, 3)
            and shape[0] in (4, 16)
            and conv.kernel.groups == shape[0]
            and conv.kernel.stride == conv.kernel.dilation == (1, 1)
            and bool(sources)
            and sources <= {SOURCE, "project_mat.conv"}
        )

    def _box_filter(self) -> Kernel:
        parts = [Kernel(weight=part) for conv in self.boxes for part in _in_fours(conv.kernel.weight)]
        if len(parts) != 4:
            raise RecoveryError(f"its refiner takes {len(parts)} means of images, and the network's takes 4")
        for conv in self.boxes:
            if conv.kernel.bias is not None and conv.kernel.bias.values.any():
                raise RecoveryError(f"its convolution {_shown(conv)} has a bias, and {BOX_FILTER} has none")
        first = parts[0].weight.values
        for part in parts:
            if not np.array_equal(part.weight.values, first):
                raise RecoveryError(f"its {BOX_FILTER} has other weights from one image to the next")
        return parts[0]

    def _kernel(self, module: str) -> Kernel:
        """Return a module's kernel, joined from its parts, without the additions that a file makes to it."""
        names = (module,) if module in self.found else self.architecture.parts.get(module, (module,))
        missing = [name for name in names if name not in self.found]
        if missing:
            raise RecoveryError(f"it lacks a convolution, {missing[0]}")
        convs = [self.found[name] for name in names]
        if len(convs) > 1:
            self._check_sum(module, convs)
        kernel = _joined([conv.kernel for conv in convs])
        channels = self.architecture.modules[module].weight.shape[1]
        widened = kernel.weight.values.shape[1] == channels + 1
        if module == STEM["mobilenetv3"]:
            kernel = self._without_normalisation(convs[0], kernel, widened)
        elif widened:
            if kernel.weight.values[:, -1].any():
                raise RecoveryError(f"its {module} makes use of a fourth source channel, which the network has not")
            kernel = replace(kernel, weight=kernel.weight.map(lambda x: x[:, :-1]))
        if module == STEM["resnet50"] and not widened:
            scale, offset = self.graph.colours(convs[0].input)
            if max(np.abs(scale - 1).max(), np.abs(offset).max()) > 1e-3:
                raise RecoveryError("it scales or shifts the image before its first convolution, the network does not")
        expects_bias = self.architecture.modules[module].bias is not None
        if not expects_bias and kernel.bias is not None:
            if kernel.bias.values.any():
                raise RecoveryError(f"its {module} has a bias, which the network's has not")
            kernel = replace(kernel, bias=None)
        if expects_bias and kernel.bias is None:
            # Some tools leave out a bias of zeros.
            kernel = replace(kernel, bias=Interval.exactly(np.zeros(len(kernel.weight.values))))
        return kernel

    def _without_normalisation(self, conv: Convolution, kernel: Kernel, widened: bool) -> Kernel:
        if widened:
            self.remarks.append("the image's normalisation was folded into the first convolution")
            kernel, rounding, remainder = without_ones(kernel)
        else:
            kernel, rounding, remainder = with_network_normalisation(kernel, *self.graph.colours(conv.input))
        if rounding:
            self.quirks.add(ROUNDED_NORMALISATION)
            self.remainder = remainder
            self.remarks.append(
                f"the image's normalisation was rounded, by up to {rounding:.0e}, and is absorbed by the first "
                "convolution"
            )
        return kernel

    def _check_sum(self, module: str, convs: list[Convolution]) -> None:
        """Raise RecoveryError unless the module's parts are summed, and the sum has the module's activation."""
        values = {conv.output for conv in convs}
        sums = [node for node in self.graph.nodes if node.apply is np.add and set(node.inputs) == values]
        wanted = self.architecture.sums[module]
        if len(sums) != 1 or self.graph.activation(sums[0].outputs[0]) != wanted:
            raise RecoveryError(f"its {module}, which it computes in {len(convs)} parts, is not their sum and {wanted}")


def _in_fours(weight: Interval) -> list[Interval]:
    count = len(weight.values) // 4
    return [weight.map(lambda x, k=k: x[4 * k : 4 * k + 4]) for k in range(count)]  # type: ignore[misc]


def _joined(kernels: list[Kernel]) -> Kernel:
    """Join the convolutions of single images into one of the joined images."""
    if len(kernels) == 1:
        return kernels[0]
    first = kernels[0].weight
    weight = replace(
        first,
        values=np.concatenate([each.weight.values for each in kernels], axis=1),
        half=np.concatenate([each.weight.half for each in kernels], axis=1),
    )
    biases = [each.bias for each in kernels if each.bias is not None]
    bias = biases[0] if biases else None
    for other in biases[1:]:
        assert bias is not None
        bias = bias.plus(other)
    return replace(kernels[0], weight=weight, bias=bias)


def _differences(layer: NetworkConv, conv: Convolution, sources: frozenset[str]) -> list[str]:
    """Return, in words, how a convolution differs from a layer."""
    kernel = conv.kernel
    pairs = (
        ("weights of", kernel.weight.values.shape, layer.shape),
        ("stride", kernel.stride, (layer.stride,) * 2),
        ("dilation", kernel.dilation, (layer.dilation,) * 2),
        ("groups", kernel.groups, layer.groups),
        ("activation", conv.activation, layer.activation),
    )
    found = [f"{what} {given}, not {wanted}" for what, given, wanted in pairs if given != wanted]
    if sources != layer.sources:
        more, fewer = sources - layer.sources, layer.sources - sources
        looks = [f"looks at {_listed(more)}" if more else "", f"does not look at {_listed(fewer)}" if fewer else ""]
        found.append(" and ".join(each for each in looks if each))
    return found


def _listed(names: frozenset[str]) -> str:
    shown = sorted(names)[:_LISTED]
    return ", ".join(shown) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _shown(conv: Convolution) -> str:
    return repr(conv.name[-80:])
