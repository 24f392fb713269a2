"""Export the traced network as a CoreML package, zipped or not, or as a neural network."""

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from exporters.coreml import CoremlSpec
from exporters.coreml.convert import convert
from exporters.coreml.package import write_package
from exporters.support.archive import pack
from exporters.support.metadata import identity, release
from rvm_model.weights.checkpoint import Checkpoint


def export(checkpoint: Checkpoint, spec: CoremlSpec, path: Path) -> None:
    """Write the file or folder. See `exporters.runtime.Exporter`."""
    with TemporaryDirectory(dir=path.parent) as desk:
        model, package = Path(desk) / "model", Path(desk) / "package"
        convert(checkpoint, spec, metadata(checkpoint, spec), model)
        if spec.is_neural_network:
            (model / "model.mlmodel").rename(path)
            return
        write_package(model, package)
        if spec.zip:
            pack(package, path, spec.file_name(".mlpackage", checkpoint.seeded))
        else:
            package.rename(path)


def metadata(checkpoint: Checkpoint, spec: CoremlSpec) -> dict[str, str]:
    """Return the metadata. A file of several sizes lists them with commas, in the order of its functions."""
    sizes = [size.metadata() for size in spec.sizes]
    images = "src, fgr, pha: {}, fgr not premultiplied"
    levels = "RGB and opacity in [0, 1]" if spec.has_tensors else "8-bit images, RGB and grayscale"
    return identity(
        checkpoint,
        spec,
        **{key: ", ".join(size[key] for size in sizes) for key in ("resolution", "downsample_ratio")},
        batch="1",
        coremltools_version=version("coremltools"),
        deployment_target=spec.system,
        layout="NCHW" if spec.has_tensors else "images; states NCHW",
        torch_version=release(torch.__version__),
        value_range=images.format(levels),
    )
