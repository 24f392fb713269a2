"""Export the reference network by torch.export, as a program for one size and any batch.

torch writes the file first. Then its program is written again without what identifies the machine (the stack traces of
its operators hold source paths), and without the example inputs, which are a pickle. So a file holds no pickle, and the
same weights give the same bytes.
"""

import io
import json
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from exporters.pt2 import Pt2Spec
from exporters.pt2.archive import EXTRA, PROGRAM, SAMPLE_INPUTS, digests
from exporters.pt2.installed import check_torch, quiet_torch
from exporters.support.archive import torch_archive
from exporters.support.metadata import identity, release
from rvm_model.network.matting_network import MattingNetwork
from rvm_model.state import state_shapes
from rvm_model.weights.checkpoint import Checkpoint

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
_ROOT = "rvm/"
_TRACED_BATCH = 2  # torch.export takes a batch of 1 for a constant
_SERIALISATION_ID = ".data/serialization_id"


class OneSize(MattingNetwork):
    """The network with its ratio baked in, and with the names of a file's inputs. Its state dict is the network's."""

    ratio = 1.0

    def forward(  # type: ignore[override]
        self, src: Tensor, r1i: Tensor, r2i: Tensor, r3i: Tensor, r4i: Tensor
    ) -> tuple[Tensor, ...]:
        return tuple(super().forward(src, r1i, r2i, r3i, r4i, self.ratio))


def export(checkpoint: Checkpoint, spec: Pt2Spec, path: Path) -> None:
    """Write the file. See `exporters.runtime.Exporter`."""
    check_torch()
    assert spec.fixed is not None
    buffer = io.BytesIO()
    torch.export.save(_trace(checkpoint, spec), buffer)
    records = _normalised(buffer)
    metadata = identity(
        checkpoint,
        spec,
        **spec.fixed.metadata() | {"batch": "any"},
        torch_version=release(torch.__version__),
        **digests(records),
    )
    records |= {f"{EXTRA}{key}": value.encode() for key, value in sorted(metadata.items())}
    path.write_bytes(torch_archive({f"{_ROOT}{name}": content for name, content in records.items()}))


def _trace(checkpoint: Checkpoint, spec: Pt2Spec) -> torch.export.ExportedProgram:
    assert spec.fixed is not None
    height, width, ratio = spec.fixed.height, spec.fixed.width, spec.fixed.ratio
    network = OneSize(spec.variant, spec.refiner)
    network.load_state_dict(checkpoint.network().state_dict())
    network.ratio = ratio
    network = network.to(_DTYPES[spec.precision]).eval().requires_grad_(False)
    shapes = [
        (_TRACED_BATCH, 3, height, width),
        *state_shapes(spec.variant, height, width, ratio, _TRACED_BATCH),
    ]
    inputs = tuple(torch.zeros(shape, dtype=_DTYPES[spec.precision]) for shape in shapes)
    batch = torch.export.Dim("batch", min=1)
    with quiet_torch(), torch.no_grad():
        return torch.export.export(network, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs), strict=False)


def _normalised(archive: io.BytesIO) -> dict[str, bytes]:
    """Return the records of an archive without its top folder, serialisation id, example inputs and stack traces."""
    with zipfile.ZipFile(archive) as source:
        records = {name.partition("/")[2]: source.read(name) for name in source.namelist()}
    records.pop(_SERIALISATION_ID, None)
    records[SAMPLE_INPUTS] = b""
    program = json.loads(records[PROGRAM])
    program["torch_version"] = release(program["torch_version"])
    for node in program["graph_module"]["graph"]["nodes"]:
        node["metadata"].pop("stack_trace", None)
    records[PROGRAM] = json.dumps(program, separators=(",", ":")).encode()
    return records
