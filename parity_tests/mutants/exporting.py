"""Export with the `exporters` package that is imported now, which may be an edited copy."""

import pickle
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from exporters.spec import ExportSpec
from rvm_model.weights.checkpoint import Checkpoint


def export(format_name: str, checkpoint: Checkpoint, spec: ExportSpec, path: Path) -> None:
    """Write one file. TensorFlow runs in this process, because a fresh one takes longer than the export."""
    exporters = import_module("exporters")
    values = {field.name: getattr(spec, field.name) for field in fields(spec)}
    exporter = exporters.load_exporter(format_name)
    if format_name != "tensorflow":
        exporter.export(checkpoint, exporters.FORMATS[format_name].spec(**values), path)
        return
    exporters.load_runtime(format_name)  # imports TensorFlow as it is set up for playing
    with patch.object(exporter, "write_saved_model", _write_saved_model):
        exporter.export(checkpoint, exporters.FORMATS[format_name].spec(**values), path)


def _write_saved_model(convs: Mapping[str, Any], fixed: Any, folder: Path) -> None:
    with TemporaryDirectory() as desk:
        request = Path(desk) / "request"
        request.write_bytes(pickle.dumps((convs, fixed)))
        import_module("exporters.tensorflow.saved_model").main(request, folder)
