"""An ONNX file opened at its convolutions: which of the network's modules each of them is, and what it gives.

Our files call a convolution's weights `<module>.weight`, and so do foreign ones where nothing was folded into them. The
others are told by their values, among those of equal shape, nearest first, so that one wrong weight does not hide the
module it belongs to. Where ours convolve two joined images each by itself, the module's value is the sum.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import GraphProto, NodeProto, ValueInfoProto

from exporters.layers import BOX_FILTER, SEGMENTATION, STATES, Array, Layers, Values, call_name, module_of, regrouped
from exporters.lowering.folding import conv_modules, divided_convs, folded_convs
from exporters.onnx.load import read
from exporters.onnx.recovery import ROUNDING, known_constants
from exporters.onnx.runtimes.onnxruntime import runner
from exporters.onnx.runtimes.step import to_image, to_matte
from exporters.recovery.dataflow import RecoveryError
from exporters.runtime import Frame
from exporters.spec import OUTPUTS, Artifact, ArtifactError
from rvm_model.network.matting_network import MattingNetwork

# Half precision moves a convolution's weights by about 3e-4 of their norm.
_SAME_WEIGHTS = 0.01
_LISTED = 3


def open_layers(artifact: Artifact, network: MattingNetwork) -> Layers:
    """A file at its convolutions. See `exporters.layers.Opener`."""
    model = read(artifact.path)
    try:
        convs = _file_convs(model.graph)
    except RecoveryError as error:
        raise ArtifactError(f"{artifact.path} cannot be opened: {error}") from error
    modules = _match(artifact.path, convs, network)
    found = {
        call_name(modules[conv.weight_name], call): node.output[0]
        for conv in convs
        if conv.weight_name in modules
        for call, node in enumerate(conv.nodes)
    }
    own = {name for name, _, _ in conv_modules(network)}
    points = {name: value for name, value in found.items() if module_of(name) in own}
    points |= (sums := _sums(model.graph, {value: name for name, value in found.items() if name not in points}))
    points |= _calls_at_once(model.graph, {value: name for name, value in points.items()})
    outputs = {value.name for value in model.graph.output}
    points |= STATES | {name: name for name in OUTPUTS[:2] if name in outputs}
    model.graph.output.extend(ValueInfoProto(name=value) for value in points.values() if value not in outputs)
    run = runner(artifact, model)
    inputs = [tensor.name for tensor in artifact.inputs]
    dtypes = [tensor.dtype for tensor in artifact.inputs[1:5]]

    def step(frame: Frame, states: tuple[Array, ...], ratio: float) -> Values:
        before = (state.astype(dtype, copy=False) for state, dtype in zip(states, dtypes, strict=True))
        images = (to_image(artifact, frame), *before, np.array([ratio], np.float32))
        values = dict(zip(points, run([*points.values()], dict(zip(inputs, images, strict=False))), strict=True))
        matte = to_matte(artifact, values)
        given = zip(OUTPUTS, (matte.fgr, matte.pha), strict=False)
        return values | {name: image for name, image in given if image is not None}

    def compared(conv: _FileConv) -> bool:
        module = modules.get(conv.weight_name, "")
        return module in own or _joined(module) in sums

    return Layers(step=step, parts=tuple(conv.title for conv in convs if not compared(conv)))


def _sums(graph: GraphProto, parts: Mapping[str, str]) -> dict[str, str]:
    """Where joined images are convolved each by itself: the module that does it at once, and the value of the sum.

    `parts` is value to the name of the part.
    """
    rounded = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ROUNDING}

    def before_rounding(value: str) -> str:
        while value in rounded:
            value = rounded[value]
        return value

    modules = [
        ({_joined(parts.get(before_rounding(value), "")) for value in node.input}, node.output[0])
        for node in graph.node
        if node.op_type == "Add"
    ]
    return {both.pop(): value for both, value in modules if len(both) == 1 and both != {""}}


def _calls_at_once(graph: GraphProto, points: Mapping[str, str]) -> dict[str, str]:
    """The refiner's mean of several images joined, taken apart behind it: each is a call. `points` is value to name."""
    return {
        call_name(points[node.input[0]], call): value
        for node in graph.node
        if node.op_type == "Split" and points.get(node.input[0]) == BOX_FILTER
        for call, value in enumerate(node.output)
    }


def _joined(part: str) -> str:
    """The module of which this is the part for one image: `decoder.decode4.gru.ih.0` of its `.x` and `.h`."""
    return part.rpartition(".")[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class _FileConv:
    """The nodes of a file that convolve with the same weights, in order; `weight` is None where it is computed."""

    weight_name: str
    weight: Array | None
    nodes: tuple[NodeProto, ...]

    @property
    def title(self) -> str:
        """What it is called in the file: by its weights if they are named after a module, else by its first node."""
        named = self.weight_name.removesuffix(".weight")
        return named if named != self.weight_name else self.nodes[0].name or self.nodes[0].output[0]


def _file_convs(graph: GraphProto) -> list[_FileConv]:
    """In the order of their first nodes. Some exporters write the same constant once for every use of it."""
    constants = {name: known.values for name, known in known_constants(graph)}
    first: dict[object, str] = {}
    nodes: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        if node.op_type == "Conv":
            name = node.input[1]
            if name in constants and not name.endswith(".weight"):
                weight = constants[name]
                name = first.setdefault((*weight.shape, weight.tobytes()), name)
            nodes.setdefault(name, []).append(node)
    return [
        _FileConv(
            weight_name=name,
            weight=constants.get(name),
            nodes=tuple(same),
        )
        for name, same in nodes.items()
    ]


def _match(path: Path, convs: list[_FileConv], network: MattingNetwork) -> dict[str, str]:
    """Name of weights in the file to module of the network, or to a part of one that `divided_convs` names."""
    folded = folded_convs(network)
    del folded[SEGMENTATION]
    # Ours have a fourth source channel, and the filter that has no module; foreign files have neither.
    lowered = divided_convs(network)
    known = {name: [conv.weight for conv in (folded.get(name), lowered.get(name)) if conv] for name in folded | lowered}
    del known[SEGMENTATION]

    modules: dict[str, str] = {}
    distances: dict[str, float] = {}
    pairs = [
        (conv.weight_name != f"{name}.weight", _distance(conv.weight, weight), conv.weight_name, name)
        for conv in convs
        for name, weights in known.items()
        for weight in weights
        if conv.weight is not None and conv.weight.shape == weight.shape
    ]
    joined: set[str] = set()
    # A module's own name says more than any value.
    for _, distance, weight_name, name in sorted(pairs):
        if weight_name not in modules and name not in distances and name not in joined:
            modules[weight_name], distances[name] = name, distance
            if name not in folded:
                joined.add(_joined(name))

    strange = [conv.title for conv in convs if conv.weight_name not in modules and not regrouped(conv.title)]
    missing = [name for name in folded if name not in distances.keys() | joined and not regrouped(name)]
    if strange or missing:
        faults = [
            f"{what} {', '.join(names[:_LISTED])}{' and others' if len(names) > _LISTED else ''}"
            for what, names in (("it has none for", missing), ("it has one too many,", strange))
            if names
        ]
        raise ArtifactError(f"{path} has other convolutions than {network.variant}: {'; '.join(faults)}")
    agreeing = sum(distance <= _SAME_WEIGHTS for distance in distances.values())
    if agreeing * 2 < len(distances):
        raise ArtifactError(
            f"{path} holds other weights than the checkpoint, or batch norm that is not folded in: {agreeing} of "
            f"{len(distances)} convolutions agree; give its checkpoint with --checkpoint"
        )
    return modules


def _distance(given: Array, expected: Array) -> float:
    """Relative to what was expected; infinite where a weight is not finite."""
    distance = float(np.linalg.norm(given - expected) / (np.linalg.norm(expected) or 1))
    return distance if math.isfinite(distance) else math.inf
