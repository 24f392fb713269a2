"""Describe what a .pt2 file holds, without loading it."""

from collections import Counter
from pathlib import Path

from exporters.pt2.archive import read_archive
from exporters.pt2.program import ANY_OPERATORS, OPERATORS
from exporters.support.contents import Contents


def scan(path: Path) -> Contents:
    """Return its operators. Custom are those that the network does not need. Raises ArtifactError."""
    nodes = read_archive(path, ANY_OPERATORS).program["graph_module"]["graph"]["nodes"]
    operations = Counter(str(node["target"]) for node in nodes)
    return Contents(operations=operations, custom={*operations} - OPERATORS)
