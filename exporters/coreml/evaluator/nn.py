"""Read a neural network's layers, and the preprocessing of its images, as a graph."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from exporters.artifact import ArtifactError
from exporters.coreml.evaluator.graph import Graph, Instruction
from exporters.coreml.evaluator.nn_layers import LAYERS

_MAPPINGS = {"arrayInputShapeMapping": 1, "imageInputShapeMapping": 1}
"""The mappings by which a tensor has the axes in its description, and an image has four."""


def graph(network: Any, outputs: Sequence[str], images: Mapping[str, str]) -> Graph:
    """Return the graph of a `NeuralNetwork` message.

    Args:
        network: The message.
        outputs: The names of the outputs to compute.
        images: The order of channels of its image inputs: RGB, BGR or GRAYSCALE.

    Raises:
        ArtifactError: a layer is unknown or has invalid parameters, or the network uses older rules for axes.
    """
    for mapping, exact in _MAPPINGS.items():
        if getattr(network, mapping) != exact:
            raise ArtifactError(f"it is a neural network of an older kind, whose {mapping} is 0; only 1 is known here")
    renamed = {}
    nodes = []
    for each in network.preprocessing:
        node = _preprocessed(each, images)
        renamed[node.inputs[0]] = node.outputs[0]
        nodes.append(node)
    if len(renamed) != len(network.preprocessing):
        raise ArtifactError("it prepares one image twice")
    for layer in network.layers:
        nodes.append(
            Instruction(
                kind=layer.WhichOneof("layer") or "layer without a kind",
                inputs=tuple(renamed.get(name, name) for name in layer.input),
                outputs=tuple(layer.output),
                types=(None,) * len(layer.output),
                compute=_compute(layer),
            )
        )
    return Graph(nodes=nodes, constants={}, outputs=outputs)


def _compute(layer: Any) -> Any:
    kind = layer.WhichOneof("layer")
    if kind not in LAYERS:
        raise ArtifactError(f"it has a layer {kind!r}, {layer.name[:100]!r}, which is not known here")
    try:
        return LAYERS[kind](getattr(layer, kind))
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise ArtifactError(f"its {kind} {layer.name[:100]!r} makes no sense: {error}") from error


def _preprocessed(message: Any, images: Mapping[str, str]) -> Instruction:
    """Scale levels and add a bias per channel. A message without a name means the only image."""
    if message.WhichOneof("preprocessor") != "scaler":
        raise ArtifactError(f"it prepares images by {message.WhichOneof('preprocessor')}, which is not known here")
    name = message.featureName or (next(iter(images)) if len(images) == 1 else "")
    if name not in images:
        raise ArtifactError(f"it prepares {name[:100]!r}, which is no image that goes in")
    scaler, scale = message.scaler, float(message.scaler.channelScale)
    colour = [scaler.redBias, scaler.greenBias, scaler.blueBias]
    biases = torch.tensor({"RGB": colour, "BGR": colour[::-1], "GRAYSCALE": [scaler.grayBias]}[images[name]])

    def compute(x: Tensor) -> Tensor:
        return x * scale + biases.to(x.device).reshape(1, -1, 1, 1)

    return Instruction(kind="scaler", inputs=(name,), outputs=(f"{name} scaled",), types=(None,), compute=compute)
