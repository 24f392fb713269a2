"""Export the lowered program as a SavedModel, in a zip file or a folder, with metadata in a file beside the graph."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from exporters.layers import SEGMENTATION
from exporters.lowering.folding import lowered_convs
from exporters.support.archive import pack
from exporters.support.metadata import identity, release
from exporters.tensorflow import METADATA, TensorflowSpec
from exporters.tensorflow.saved_model import installed_version, write_saved_model
from rvm_model.weights.checkpoint import Checkpoint


def export(checkpoint: Checkpoint, spec: TensorflowSpec, path: Path) -> None:
    """Write the file or folder. See `exporters.runtime.Exporter`."""
    convs = lowered_convs(checkpoint.network())
    del convs[SEGMENTATION]
    with TemporaryDirectory() as desk:
        folder = path if spec.folder else Path(desk) / "model"
        write_saved_model(convs, spec.fixed, folder)
        (folder / METADATA).parent.mkdir()
        (folder / METADATA).write_text(json.dumps(metadata(checkpoint, spec), indent=2) + "\n")
        if not spec.folder:
            pack(folder, path, f"rvm_{spec.variant}_tf")


def metadata(checkpoint: Checkpoint, spec: TensorflowSpec) -> dict[str, str]:
    """Return the metadata. See `exporters.support.metadata.identity`."""
    fixed = spec.fixed
    size = {} if fixed is None else fixed.metadata()
    return identity(
        checkpoint,
        spec,
        **size,
        layout="NHWC",
        tensorflow_version=release(installed_version()),
    )
