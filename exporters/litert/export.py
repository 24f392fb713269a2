"""Export the lowered program as a LiteRT model: converted by TensorFlow, quantised, then given its metadata."""

import json
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import flatbuffers
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporters.artifact import LINE
from exporters.layers import SEGMENTATION
from exporters.litert import MAGIC, METADATA, LitertSpec
from exporters.litert.convert import Request, convert
from exporters.litert.quantise import Request as QuantiseRequest
from exporters.litert.quantise import quantised
from exporters.lowering.folding import separate_convs
from exporters.spec import COEFFICIENTS, Fixed
from exporters.support.calibration import BUILTIN, Calibration, load_calibration
from exporters.support.metadata import identity, release
from exporters.support.own_metadata import HASH, UNHASHED, hashed
from exporters.tensorflow.saved_model import installed_version
from rvm_model.full_size import reduced
from rvm_model.state import state_shapes
from rvm_model.weights.checkpoint import Checkpoint

_BITS = {"fp16": 16, "int8": 8}


def export(checkpoint: Checkpoint, spec: LitertSpec, path: Path) -> None:
    """Write the file. See `exporters.runtime.Exporter`."""
    assert spec.fixed is not None
    calibration = None
    if spec.is_calibrated:  # before the conversion, which takes longer
        calibration = load_calibration(BUILTIN if spec.calibration is None else spec.calibration, spec.fixed)
    content = _converted(checkpoint, spec.fixed, spec.outputs)
    more = {}
    if spec.precision != "fp32":
        frames = None if calibration is None else _frames(calibration, spec)
        content = quantised(QuantiseRequest(content=content, bits=_BITS[spec.precision], frames=frames))
        more["ai_edge_quantizer_version"] = release(version("ai-edge-quantizer"))
    if calibration is not None:
        more |= calibration.metadata()
    metadata = identity(
        checkpoint,
        spec,
        **spec.fixed.metadata(),
        **more,
        layout="NHWC",
        tensorflow_version=release(installed_version()),
    )
    path.write_bytes(with_metadata(content, metadata))


@lru_cache(maxsize=1)
def _converted(checkpoint: Checkpoint, fixed: Fixed, outputs: str) -> bytes:
    """Return the float32 model of a size, without metadata.

    The latest one is cached: conversion takes long, and the files of all precisions are made from it.
    """
    convs = separate_convs(checkpoint.network())
    del convs[SEGMENTATION]
    gives_line = outputs == COEFFICIENTS
    size = fixed.internal() if gives_line else fixed
    states = state_shapes(checkpoint.variant, size.height, size.width, size.ratio)
    return convert(
        Request(
            convs=convs,
            ratio=size.ratio,
            shapes=((1, size.height, size.width, 3), *((b, h, w, c) for b, c, h, w in states)),
            outputs=LINE if gives_line else tuple(outputs.split(",")),
        )
    )


def _frames(calibration: Calibration, spec: LitertSpec) -> NDArray[np.float32]:
    """Return the frames as the file's `src`, (T, H, W, 3) in [0, 1]."""
    assert spec.fixed is not None
    frames = calibration.fitted(spec.fixed).astype(np.float32) / np.float32(255)
    if not spec.gives_line:
        return frames
    small = reduced(torch.from_numpy(frames.transpose(0, 3, 1, 2)), spec.fixed.ratio)
    return np.ascontiguousarray(small.numpy().transpose(0, 2, 3, 1))


def with_metadata(content: bytes, metadata: dict[str, str]) -> bytes:
    """Return a model with our entry among its metadata, and in it a hash of the whole file."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for each in model.buffers:
        if each.offset > 1:  # ai-edge-quantizer puts data behind the flatbuffer, where old runtimes do not look
            each.data = np.frombuffer(content, np.uint8, each.size, each.offset)
            each.offset = each.size = 0
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = [*json.dumps(dict(sorted({**metadata, HASH: UNHASHED}.items())), indent=1).encode()]
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), MAGIC)
    return hashed(bytes(builder.Output()))
