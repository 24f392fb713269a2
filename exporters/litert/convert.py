"""Write a LiteRT model in a separate process: `python -m exporters.litert.convert REQUEST FILE`.

The converter prints much, and its bytes could depend on what the process traced before.
"""

import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from exporters.artifact import INPUTS, LINE, OUTPUTS
from exporters.lowering.folding import Conv
from exporters.support.fresh_process import answer_of
from exporters.tensorflow.saved_model import ENVIRONMENT

SIGNATURE = "serving_default"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One model to write. `shapes` are the inputs', NHWC; `outputs` are fgr, pha, or A and b."""

    convs: Mapping[str, Conv]
    ratio: float
    shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[str, ...]


def convert(request: Request) -> bytes:
    """Return a model without metadata. Raises ArtifactError if TensorFlow fails, with its last line."""
    failure = "TensorFlow could not write a LiteRT model"
    return answer_of("exporters.litert.convert", request, failure=failure, environment=ENVIRONMENT)


def main(asked: Path, given: Path) -> None:
    """Write the model, in the separate process."""
    import tensorflow as tf

    from exporters.litert.ops import LiteRtOps
    from exporters.lowering.program import line_program, program

    # Our own pickle, just written by the process that waits for this one.
    request: Request = pickle.loads(asked.read_bytes())  # noqa: S301
    specs = [tf.TensorSpec(shape, tf.float32, name=name) for name, shape in zip(INPUTS, request.shapes, strict=False)]

    @tf.function(input_signature=specs, autograph=False)  # type: ignore[untyped-decorator]
    def serve(src: Any, r1i: Any, r2i: Any, r3i: Any, r4i: Any) -> dict[str, Any]:
        ops, before = LiteRtOps(), (r1i, r2i, r3i, r4i)
        if request.outputs == LINE:
            line = line_program(ops, request.convs, src, before)
            values = dict(zip((*LINE, *OUTPUTS[2:]), (line.A, line.b, *line.states), strict=True))
        else:
            matte = program(ops, request.convs, src, before, request.ratio, "skip")
            values = dict(zip(OUTPUTS, (matte.fgr, matte.pha, *matte.states), strict=True))
        return {name: tf.identity(values[name], name) for name in (*request.outputs, *OUTPUTS[2:])}

    network = tf.Module()
    network.serve = serve
    with TemporaryDirectory() as desk:
        tf.saved_model.save(network, desk, signatures={SIGNATURE: serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(desk, signature_keys=[SIGNATURE])
        given.write_bytes(converter.convert())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
