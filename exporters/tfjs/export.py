"""A TensorFlow.js graph model, converted from our SavedModel, in a zip file."""

from pathlib import Path
from tempfile import TemporaryDirectory

from exporters.archive import pack
from exporters.layers import SEGMENTATION
from exporters.metadata import identity
from exporters.tensorflow.saved_model import write_saved_model
from exporters.tfjs import CONVERTER, TfjsSpec
from exporters.tfjs.convert import convert
from exporters.tfjs.dilate import dilated
from exporters.tfjs.graph import read, tidy, write
from exporters.tfjs.quantise import STORES
from exporters.weights import lowered_convs
from rvm_model.checkpoint import Checkpoint


def export(checkpoint: Checkpoint, spec: TfjsSpec, path: Path) -> None:
    """Write the file. See `exporters.runtime.Exporter`."""
    convs = lowered_convs(checkpoint.network())
    del convs[SEGMENTATION]
    with TemporaryDirectory() as desk:
        saved_model, converted, folder = (Path(desk) / name for name in ("saved_model", "converted", "model"))
        write_saved_model(convs, None, saved_model)
        convert(saved_model, converted)
        model = dilated(tidy(read(converted)))
        metadata = identity(
            checkpoint,
            spec,
            layout="NHWC",
            tensorflow_version=model.header["generatedBy"],
            tensorflowjs_version=CONVERTER,
        )
        folder.mkdir()
        write(model, STORES[spec.precision](model.weights), metadata, folder)
        pack(folder, path, f"rvm_{spec.variant}_tfjs_{spec.precision}")
