"""A file made smaller by onnxsim, if it leaves the contract alone."""

from typing import cast

import onnx

from exporters.onnx.load import first_line
from exporters.spec import ArtifactError, MissingPackage

_UNDOES_CEIL_FREE = "fuse_pad_into_pool"


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph after onnxsim's constant folding and fusions.

    Raises:
        MissingPackage: onnxsim is not installed.
        ArtifactError: it gave up, or changed the name, type or an axis of an input or output.
    """
    try:
        import onnxsim
    except ModuleNotFoundError as error:
        if error.name != "onnxsim":
            raise
        raise MissingPackage("--simplify needs onnxsim; run: pip install 'rvm-export[onnx-simplify]'") from error
    try:
        simpler = cast(onnx.ModelProto, onnxsim.simplify(model, skipped_optimizers=[_UNDOES_CEIL_FREE])[0])
    except Exception as error:  # whatever its C++ part throws, as RuntimeError and others
        raise ArtifactError(f"onnxsim cannot simplify this graph: {first_line(error)}") from error
    # It writes down the output axes that it inferred, so that ours are held against what can be inferred of them.
    inferred = onnx.shape_inference.infer_shapes(model)
    refuse_other_axes(inferred, simpler)
    del simpler.graph.output[:]
    simpler.graph.output.extend(model.graph.output)
    return simpler


def refuse_other_axes(model: onnx.ModelProto, simpler: onnx.ModelProto) -> None:
    """Raises ArtifactError, naming what differs, if inputs or outputs are not what they were."""
    for before, after in ((model.graph.input, simpler.graph.input), (model.graph.output, simpler.graph.output)):
        changed = [old.name for old, new in zip(before, after, strict=False) if old != new]
        if changed or len(before) != len(after):
            raise ArtifactError(
                f"onnxsim changed the axes of {', '.join(changed) or 'the inputs or outputs'}; leave --simplify out"
            )
