"""Export the reference network as a scripted module.

torch writes the file first. Then its archive is rewritten in a fixed order, and without the records that identify the
machine (debug records hold source paths). So the same weights give the same bytes.
"""

import io
import re
import warnings
import zipfile
from pathlib import Path

import torch

from exporters.spec import ExportSpec
from exporters.support.metadata import identity, release
from rvm_model.weights.checkpoint import Checkpoint

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
_ALIGNMENT = 64  # torch maps tensors from the file into memory, and aligns them to this.
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
    """Return the archive without debug records, dates and serialisation id, its tensors aligned as torch does."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(out, "w") as target:
        for name in sorted(source.namelist()):
            if name.endswith((".debug_pkl", "/.data/serialization_id")):
                continue
            content = source.read(name)
            if "/code/" in name:
                content = _FINAL_LINES.sub(_sorted_lines, content)
            record = zipfile.ZipInfo(name)
            # A zip entry's content starts after 30 bytes, its name and its extra field, which holds the filler here.
            filler = -(out.tell() + 30 + len(name) + 4) % _ALIGNMENT
            record.extra = b"FB" + filler.to_bytes(2, "little") + b"Z" * filler
            target.writestr(record, content)
    return out.getvalue()


def _sorted_lines(lines: re.Match[bytes]) -> bytes:
    """Sort a class's constants, which torch writes in the order of a set."""
    return b"".join(sorted(lines[0].splitlines(keepends=True)))
