"""Describe what a SavedModel holds, without running it."""

from collections import Counter
from pathlib import Path

from exporters.support.archive import unpacked
from exporters.support.contents import Contents
from exporters.tensorflow import GRAPH
from exporters.tensorflow.allowed_ops import OPERATIONS, SAVING
from exporters.tensorflow.serving import read_graph


def scan(path: Path) -> Contents:
    """Return its operations, of all functions. Custom is what a matting network does not need. Raises ArtifactError."""
    with unpacked(path, GRAPH) as folder:
        graph = read_graph(path, folder)
    functions = graph.graph_def.library.function
    own = {each.signature.name for each in functions}
    nodes = [*graph.graph_def.node, *(node for each in functions for node in each.node_def)]
    operations = Counter(node.op for node in nodes if node.op not in own)
    return Contents(
        operations=operations,
        custom={*operations} - OPERATIONS - SAVING,
        external=[each.filename for each in graph.asset_file_def],
    )
