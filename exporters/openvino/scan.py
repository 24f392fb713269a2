"""Describe what an IR holds, without running it."""

from collections import Counter
from pathlib import Path

from exporters.openvino import GRAPH
from exporters.openvino.load import ATTRIBUTES, read
from exporters.support.archive import unpacked
from exporters.support.contents import Contents


def scan(path: Path) -> Contents:
    """Return its layers by type. Custom is what a matting network does not need. Raises ArtifactError."""
    with unpacked(path, GRAPH) as folder:
        layers = Counter(layer.type for layer in read(path, folder).layers)
    return Contents(operations=layers, custom={*layers} - {*ATTRIBUTES})
