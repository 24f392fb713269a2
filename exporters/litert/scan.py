"""Describe what a LiteRT model holds, without running it."""

from collections import Counter
from pathlib import Path

from exporters.litert.load import read
from exporters.litert.operations import KINDS
from exporters.support.contents import Contents


def scan(path: Path) -> Contents:
    """Return its operations by kind. Custom is what a matting network does not need. Raises ArtifactError."""
    operations = Counter(operation.kind for operation in read(path).operations)
    return Contents(operations=operations, custom={*operations} - {kind.name for kind in KINDS.values()})
