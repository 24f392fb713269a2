"""Open an ONNX file at its convolutions: find the network's module for each of them, and return its values.

Our files name a convolution's weights `<module>.weight`, and so do foreign ones if nothing was folded into them. All
others are matched by their values, among those of equal shape, nearest first, so that one wrong weight does not hide
the module it belongs to. If a file convolves two joined images separately, the module's value is the sum.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import GraphProto, NodeProto, ValueInfoProto

from exporters.artifact import LINE, OUTPUTS, Artifact, ArtifactError
from exporters.full_size import at_full_size
from exporters.layers import BOX_FILTER, SEGMENTATION, STATES, Array, Layers, Values, call_name, module_of, regrouped
from exporters.lowering.folding import conv_modules, divided_convs, folded_convs
from exporters.onnx.load import read_model
from exporters.onnx.recovery import ROUNDING, constant_intervals
from exporters.onnx.runtimes.onnxruntime import runner
from exporters.onnx.runtimes.step import to_image, to_matte
from exporters.recovery.dataflow import RecoveryError
from exporters.runtime import Frame, Line, Matte
from rvm_model.network.matting_network import MattingNetwork

# Half precision moves a convolution's weights by about 3e-4 of their norm.
_SAME_WEIGHTS = 0.01
_LISTED = 3


def open_layers(artifact: Artifact, network: MattingNetwork) -> Layers:
    """Open a file at its convolutions. See `exporters.layers.Opener`."""
    model = read_model(artifact.path)
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
    edges = {name: name for name in (*OUTPUTS[:2], *LINE) if name in outputs}
    points |= STATES | edges
    model.graph.output.extend(ValueInfoProto(name=value) for value in points.values() if value not in outputs)
    run = runner(artifact, model)
    inputs = [tensor.name for tensor in artifact.inputs]
    dtypes = [tensor.dtype for tensor in artifact.inputs[1:5]]

    def step(frame: Frame, states: tuple[Array, ...], ratio: float) -> Values:
        before = (state.astype(dtype, copy=False) for state, dtype in zip(states, dtypes, strict=True))
        values: dict[str, Array] = {}

        def file_step(frame: Frame, _: object) -> tuple[Matte | Line, None]:
            given = (to_image(artifact, frame), *before, np.array([ratio], np.float32))
            values.update(zip(points, run([*points.values()], dict(zip(inputs, given, strict=False))), strict=True))
            return to_matte(artifact, {name: values.pop(name) for name in edges}), None

        matte, _ = at_full_size(artifact, ratio, file_step)(frame, None)
        given = zip(OUTPUTS, (matte.fgr, matte.pha), strict=False)
        return values | {name: image for name, image in given if image is not None}

    def compared(conv: _FileConv) -> bool:
        module = modules.get(conv.weight_name, "")
        return module in own or _joined(module) in sums

    return Layers(step=step, parts=tuple(conv.title for conv in convs if not compared(conv)))


def _sums(graph: GraphProto, parts: Mapping[str, str]) -> dict[str, str]:
    """Find modules of joined images that the file computes in parts. Return module to the value of the sum.

    `parts` maps values to the names of parts.
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
    """Return the calls of the refiner's mean if the file joins its images before and splits them after.

    `points` maps values to names.
    """
    return {
        call_name(points[node.input[0]], call): value
        for node in graph.node
        if node.op_type == "Split" and points.get(node.input[0]) == BOX_FILTER
        for call, value in enumerate(node.output)
    }


def _joined(part: str) -> str:
    """Return the module of a part: `decoder.decode4.gru.ih.0` for its `.x` and `.h`."""
    return part.rpartition(".")[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class _FileConv:
    """The nodes of a file that convolve with the same weights, in order. `weight` is None if it is computed."""

    weight_name: str
    weight: Array | None
    nodes: tuple[NodeProto, ...]

    @property
    def title(self) -> str:
        """Return the name in the file: that of its weights if they are named after a module, else its first node's."""
        named = self.weight_name.removesuffix(".weight")
        return named if named != self.weight_name else self.nodes[0].name or self.nodes[0].output[0]


def _file_convs(graph: GraphProto) -> list[_FileConv]:
    """Return the convolutions in the order of their first nodes.

    Some exporters write the same constant once for every use; these nodes count as one convolution.
    """
    constants = {name: interval.values for name, interval in constant_intervals(graph)}
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
    """Map the names of a file's weights to modules of the network, or to parts that `divided_convs` names."""
    folded = folded_convs(network)
    del folded[SEGMENTATION]
    # Our files have a fourth source channel, and the filter without a module; foreign files have neither.
    lowered = divided_convs(network)
    candidates = {
        name: [conv.weight for conv in (folded.get(name), lowered.get(name)) if conv] for name in folded | lowered
    }
    del candidates[SEGMENTATION]

    modules: dict[str, str] = {}
    distances: dict[str, float] = {}
    pairs = [
        (conv.weight_name != f"{name}.weight", _distance(conv.weight, weight), conv.weight_name, name)
        for conv in convs
        for name, weights in candidates.items()
        for weight in weights
        if conv.weight is not None and conv.weight.shape == weight.shape
    ]
    joined: set[str] = set()
    # A match by the module's own name has priority over any match by values.
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
    """Return the distance relative to the expected weights; infinite if a weight is not finite."""
    distance = float(np.linalg.norm(given - expected) / (np.linalg.norm(expected) or 1))
    return distance if math.isfinite(distance) else math.inf
