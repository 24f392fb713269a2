"""Write a SavedModel in a separate process: `python -m exporters.tensorflow.saved_model REQUEST FOLDER`.

TensorFlow's names of functions depend on what the process traced before, and its bytes on hash seeds and on kernels
that differ between machines. A fresh process with a fixed environment writes the same bytes every time.
"""

import pickle
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from exporters.artifact import INPUTS, LINE, OUTPUTS
from exporters.lowering.folding import Conv
from exporters.spec import Fixed
from exporters.support.fresh_process import run_module

ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def write_saved_model(convs: Mapping[str, Conv], fixed: Fixed | None, folder: Path, gives_line: bool = False) -> None:
    """Write `folder`, a SavedModel for any size, or for one.

    Args:
        convs: From `folding.lowered_convs`.
        fixed: The one size, or None.
        folder: The path to write, which must not exist.
        gives_line: Leave out the full-size steps, see `Artifact.gives_line`. Such a model is for any size.

    Raises:
        ArtifactError: TensorFlow failed. The message ends with its last line.
    """
    with TemporaryDirectory() as desk:
        request = Path(desk) / "request"
        request.write_bytes(pickle.dumps((convs, fixed, gives_line)))
        run_module(
            "exporters.tensorflow.saved_model",
            request,
            folder,
            failure="TensorFlow could not write a SavedModel",
            environment=ENVIRONMENT,
        )
    # The only file with a random number in it; nothing reads it.
    (folder / "fingerprint.pb").unlink()


def installed_version() -> str:
    """Return TensorFlow's version without importing it. Its package for machines without a GPU has another name."""
    for package in ("tensorflow", "tensorflow-cpu"):
        with suppress(PackageNotFoundError):
            return version(package)
    return "unknown"


def main(request: Path, folder: Path) -> None:
    """Write the SavedModel, in the separate process."""
    import tensorflow as tf

    from exporters.lowering.program import line_program, program
    from exporters.tensorflow.ops import TensorFlowOps, variables

    # Our own pickle, just written by the process that waits for this one.
    convs: Mapping[str, Conv]
    fixed: Fixed | None
    gives_line: bool
    convs, fixed, gives_line = pickle.loads(request.read_bytes())  # noqa: S301
    baked_ratio = None if fixed is None else fixed.ratio
    size = [None] * 3 if fixed is None else [fixed.batch, fixed.height, fixed.width]
    names = INPUTS[:5] if gives_line or fixed is not None else INPUTS
    shapes = [[*size, 3], *[None] * 4, []]
    specs = [tf.TensorSpec(shape, tf.float32, name=name) for name, shape in zip(names, shapes, strict=False)]

    def named(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
        return {name: tf.identity(value, name) for name, value in zip(names, values, strict=True)}

    class Network(tf.Module):  # type: ignore[misc]
        """Called with a list, as the released one is: `model([src, r1, r2, r3, r4, downsample_ratio])`."""

        def __init__(self) -> None:
            super().__init__()
            self.weights = variables(convs)

        @tf.function(input_signature=[specs], autograph=False)  # type: ignore[untyped-decorator]
        def __call__(self, inputs: list[Any]) -> dict[str, Any]:
            src, r1, r2, r3, r4, *ratios = inputs
            if gives_line:
                line = line_program(TensorFlowOps(self.weights), convs, src, (r1, r2, r3, r4))
                return named((*LINE, *OUTPUTS[2:]), (line.A, line.b, *line.states))
            is_one = None
            if ratios:
                one = tf.reshape(tf.cast(tf.equal(ratios[0], 1.0), tf.float32), [1, 1, 1, 1])
                is_one = one, 1 - one
            matte = program(
                TensorFlowOps(self.weights),
                convs,
                src,
                (r1, r2, r3, r4),
                ratios[0] if baked_ratio is None else baked_ratio,
                "blend" if baked_ratio is None else "skip",
                is_one,
            )
            return named(OUTPUTS, (matte.fgr, matte.pha, *matte.states))

        @tf.function(input_signature=specs, autograph=False)  # type: ignore[untyped-decorator]
        def serve(self, *inputs: Any) -> dict[str, Any]:
            outputs: dict[str, Any] = self([*inputs])
            return outputs

    network = Network()
    tf.saved_model.save(network, str(folder), signatures={"serving_default": network.serve})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
