"""Simplify a file with onnxsim, if the inputs and outputs stay the same."""

from typing import cast

import onnx

from exporters.artifact import ArtifactError
from exporters.format import MissingPackage
from rvm_model.errors import first_line

_UNDOES_CEIL_FREE = "fuse_pad_into_pool"


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph after onnxsim's constant folding and fusions.

    Raises:
        MissingPackage: onnxsim is not installed.
        ArtifactError: onnxsim failed, or changed the name, type or an axis of an input or output.
    """
    try:
        import onnxsim
    except ModuleNotFoundError as error:
        if error.name != "onnxsim":
            raise
        raise MissingPackage("--simplify needs onnxsim; run: pip install 'rvm-export[onnx-simplify]'") from error
    try:
        simpler = cast(onnx.ModelProto, onnxsim.simplify(model, skipped_optimizers=[_UNDOES_CEIL_FREE])[0])
    except Exception as error:  # its C++ code throws RuntimeError and others
        raise ArtifactError(f"onnxsim cannot simplify this graph: {first_line(error)}") from error
    # onnxsim writes the output axes that it inferred, so compare them with the axes inferred for our graph.
    inferred = onnx.shape_inference.infer_shapes(model)
    refuse_other_axes(inferred, simpler)
    del simpler.graph.output[:]
    simpler.graph.output.extend(model.graph.output)
    return simpler


def refuse_other_axes(model: onnx.ModelProto, simpler: onnx.ModelProto) -> None:
    """Raise ArtifactError, with the names, if inputs or outputs have changed."""
    for before, after in ((model.graph.input, simpler.graph.input), (model.graph.output, simpler.graph.output)):
        changed = [old.name for old, new in zip(before, after, strict=False) if old != new]
        if changed or len(before) != len(after):
            raise ArtifactError(
                f"onnxsim changed the axes of {', '.join(changed) or 'the inputs or outputs'}; leave --simplify out"
            )
