"""Export the reference network as a scripted module.

torch writes the file first. Then its archive is rewritten in a fixed order, and without the records that identify the
machine (debug records hold source paths). So the same weights give the same bytes, unless the process has scripted
other modules before: torch then gives some classes other numbers.
"""

import io
import re
import warnings
import zipfile
from pathlib import Path

import torch

from exporters.spec import ExportSpec
from exporters.support.archive import torch_archive
from exporters.support.metadata import identity, release
from rvm_model.weights.checkpoint import Checkpoint

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
_FINAL_LINES = re.compile(rb"(?:^  \w+ : Final\[.*\n)+", re.MULTILINE)


def export(checkpoint: Checkpoint, spec: ExportSpec, path: Path) -> None:
    """Write the file. See `exporters.runtime.Exporter`."""
    network = checkpoint.network().to(_DTYPES[spec.precision])
    metadata = identity(checkpoint, spec, layout="NCHW or BTCHW", torch_version=release(torch.__version__))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # for all of torch.jit, since torch 2.9
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(network), buffer, _extra_files=metadata)
    path.write_bytes(_normalised(buffer.getvalue()))


def _normalised(archive: bytes) -> bytes:
    """Return the archive in a fixed order, without debug records, dates and serialisation id."""
    records = {}
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        for name in source.namelist():
            if not name.endswith((".debug_pkl", "/.data/serialization_id")):
                content = source.read(name)
                records[name] = _FINAL_LINES.sub(_sorted_lines, content) if "/code/" in name else content
    return torch_archive(records)


def _sorted_lines(lines: re.Match[bytes]) -> bytes:
    """Sort a class's constants, which torch writes in the order of a set."""
    return b"".join(sorted(lines[0].splitlines(keepends=True)))
