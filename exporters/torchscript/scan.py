"""Describe what a TorchScript file holds, without running it."""

import re
import zipfile
from collections import Counter
from pathlib import Path

from exporters.artifact import ArtifactError
from exporters.support.contents import Contents
from rvm_model.zip_files import find_damage

_CALL = re.compile(r"(?<![\w.])(torch|ops\.\w+)\.(\w+)\(")
"""A call of an operation in the source that TorchScript stores: `torch.relu(...)`, `ops.prim.dtype(...)`."""

_CLASS = re.compile(r"__torch__\.torch\.classes\.[\w.]+")
"""A class that is written in C++ and must be loaded from elsewhere."""

_OWN = ("torch", "ops.aten", "ops.prim")
_MOST_SOURCE = 4_000_000


def scan(path: Path) -> Contents:
    """Return the calls in its source. Custom is what does not come with PyTorch. Raises ArtifactError."""
    damage = find_damage(path)
    if damage:
        raise ArtifactError(f"{path} {damage}")
    calls: Counter[str] = Counter()
    classes: set[str] = set()
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if "/code/" in entry.filename and entry.filename.endswith(".py"):
                if entry.file_size > _MOST_SOURCE:
                    raise ArtifactError(f"{path} is refused: its source {entry.filename[:100]!r} is too large")
                source = archive.read(entry).decode(errors="replace")
                calls.update(f"{space}.{name}" for space, name in _CALL.findall(source))
                classes.update(_CLASS.findall(source))
    custom = {call for call in calls if call.rpartition(".")[0] not in _OWN} | classes
    return Contents(operations=calls, custom=custom)
