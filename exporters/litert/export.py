"""Export the lowered program as a LiteRT model: converted by TensorFlow, then given its metadata."""

import json
from importlib.metadata import version
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from exporters.artifact import LINE
from exporters.layers import SEGMENTATION
from exporters.litert import MAGIC, METADATA, LitertSpec
from exporters.litert.convert import Request, convert
from exporters.litert.load import HASH, UNHASHED, content_sha256
from exporters.lowering.folding import separate_convs
from exporters.support.metadata import identity, release
from exporters.tensorflow.saved_model import installed_version
from rvm_model.state import state_shapes
from rvm_model.weights.checkpoint import Checkpoint


def export(checkpoint: Checkpoint, spec: LitertSpec, path: Path) -> None:
    """Write the file. See `exporters.runtime.Exporter`."""
    assert spec.fixed is not None
    convs = separate_convs(checkpoint.network())
    del convs[SEGMENTATION]
    size = spec.fixed.internal() if spec.gives_line else spec.fixed
    states = state_shapes(spec.variant, size.height, size.width, size.ratio)
    content = convert(
        Request(
            convs=convs,
            ratio=size.ratio,
            shapes=((1, size.height, size.width, 3), *((b, h, w, c) for b, c, h, w in states)),
            outputs=LINE if spec.gives_line else tuple(spec.outputs.split(",")),
            half=spec.precision == "fp16",
        )
    )
    metadata = identity(
        checkpoint,
        spec,
        **spec.fixed.metadata(),
        layout="NHWC",
        tensorflow_version=release(installed_version()),
        ai_edge_litert_version=release(version("ai-edge-litert")),
    )
    path.write_bytes(with_metadata(content, metadata))


def with_metadata(content: bytes, metadata: dict[str, str]) -> bytes:
    """Return a model with our entry among its metadata, and in it a hash of the whole file."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = [*json.dumps(dict(sorted({**metadata, HASH: UNHASHED}.items())), indent=1).encode()]
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), MAGIC)
    packed = bytes(builder.Output())
    return packed.replace(UNHASHED.encode(), content_sha256(packed, UNHASHED).encode(), 1)
