"""Describe what an ExecuTorch program holds, without running it."""

from collections import Counter
from pathlib import Path

from exporters.executorch.load import read
from exporters.support.contents import Contents


def scan(path: Path) -> Contents:
    """Return its XNNPACK operations by kind. It has no others, or reading it fails. Raises ArtifactError."""
    return Contents(operations=Counter(operation.kind for operation in read(path).operations), custom=set())
