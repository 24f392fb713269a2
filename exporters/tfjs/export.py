"""Convert our SavedModel to a TensorFlow.js graph model, in a zip file."""

import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from exporters.layers import SEGMENTATION
from exporters.lowering.folding import Conv, separate_convs
from exporters.support.archive import pack
from exporters.support.metadata import BY_THE_CALLER, identity
from exporters.tensorflow.saved_model import write_saved_model
from exporters.tfjs import CONVERTER, TfjsSpec
from exporters.tfjs.convert import convert
from exporters.tfjs.graph import GraphModel, read, tidy, write
from exporters.tfjs.quantise import STORES
from exporters.tfjs.rewrite import clipped, dilated, direct, merged, sizes_on_cpu, unfused
from rvm_model.weights.checkpoint import Checkpoint

_ALMOST_ZERO = 1e-30
_SHADERS = Path(__file__).parents[1] / "support" / "web"


def export(checkpoint: Checkpoint, spec: TfjsSpec, path: Path) -> None:
    """Write the file. See `exporters.runtime.Exporter`."""
    model = _graph_model(checkpoint, spec.gives_line)
    with TemporaryDirectory() as desk:
        folder = Path(desk) / "model"
        metadata = identity(
            checkpoint,
            spec,
            layout="NHWC",
            **({"downsample_ratio": BY_THE_CALLER} if spec.gives_line else {}),
            tensorflow_version=model.header["generatedBy"],
            tensorflowjs_version=CONVERTER,
        )
        folder.mkdir()
        write(model, STORES[spec.precision](model.weights), metadata, folder)
        shutil.copy(Path(__file__).with_name("rvm.js"), folder)
        if spec.gives_line:
            for name in ("full_size.js", "full_size_webgpu.js"):
                shutil.copy(_SHADERS / name, folder)
        pack(folder, path, spec.file_name("", seeded=False))


@lru_cache(maxsize=1)
def _graph_model(checkpoint: Checkpoint, gives_line: bool) -> GraphModel:
    """Return the model with float32 weights.

    The latest one is cached: conversion takes long, and the files of all precisions use the same model.
    """
    convs = {name: _with_bias(conv) for name, conv in separate_convs(checkpoint.network()).items()}
    del convs[SEGMENTATION]
    with TemporaryDirectory() as desk:
        saved_model, converted = Path(desk) / "saved_model", Path(desk) / "converted"
        write_saved_model(convs, None, saved_model, gives_line=gives_line)
        convert(saved_model, converted)
        return sizes_on_cpu(merged(unfused(clipped(dilated(direct(tidy(read(converted))))))))


def _with_bias(conv: Conv) -> Conv:
    """Replace a bias of zeros by numbers as near to zero as is safe.

    The converter drops a bias of zeros, and then takes the next added value for the bias. TF.js refuses that if it is a
    number ("only supports rank-1 bias").
    """
    if conv.bias is None or conv.bias.any():
        return conv
    return replace(conv, bias=np.full_like(conv.bias, _ALMOST_ZERO))
