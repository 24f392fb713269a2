"""Describe a TensorFlow.js model by its content, whatever runtime runs it."""

import math
from pathlib import Path

from exporters.artifact import INPUTS, LINE, OUTPUTS, Artifact, ArtifactError
from exporters.support.archive import unpacked
from exporters.support.identify import identify
from exporters.tfjs import MODEL
from exporters.tfjs.load import Weight, read

_LINE_OUTPUTS = (*LINE, *OUTPUTS[2:])

_PRECISIONS = {"uint8": "int8", "uint16": "fp16", "float16": "fp16", "float32": "fp32"}
"""Precisions by stored dtype, coarsest first: a file may keep some weights in a finer one."""


def inspect(path: Path) -> Artifact:
    """Describe the model. See `exporters.runtime.Runtime`."""
    with unpacked(path, MODEL) as folder:
        model = read(folder, path)
    kernels = [weight for weight in model.weights if len(weight.shape) == 4]
    found = identify({_as_in_pytorch(weight) for weight in kernels})
    dtypes = {each.dtype for each in (*model.inputs.values(), *model.outputs.values())}
    if (
        found is None
        or ({*model.inputs}, {*model.outputs}) not in (({*INPUTS}, {*OUTPUTS}), ({*INPUTS[:5]}, {*_LINE_OUTPUTS}))
        or dtypes | {kernel.dtype for kernel in kernels} != {"float32"}
    ):
        raise ArtifactError(
            f"{path} is a TensorFlow.js model, but not of a matting network as rvm-export and RVM v1.0.0 write it"
        )
    variant, refiner = found
    gives_line = LINE[0] in model.outputs
    stored = {weight.stored for weight in kernels}
    return Artifact(
        path=path,
        format="tfjs",
        variant=variant,
        refiner=refiner,
        precision=next(precision for dtype, precision in _PRECISIONS.items() if dtype in stored),
        refine="always" if gives_line else "auto",
        fixed=None,
        inputs=tuple(model.inputs[name] for name in INPUTS if name in model.inputs),
        outputs=tuple(model.outputs[name] for name in (_LINE_OUTPUTS if gives_line else OUTPUTS)),
        metadata=model.metadata,
        facts={
            "converter": model.converter,
            "nodes": len(model.operations),
            "control flow": "yes" if model.control_flow else "no",
            "parameters": sum(math.prod(weight.shape) for weight in model.weights if weight.dtype == "float32"),
        },
    )


def _as_in_pytorch(kernel: Weight) -> tuple[int, ...]:
    """Convert (height, width, in, out) to (out, in, height, width).

    Depthwise kernels get another order, but identify no network.
    """
    height, width, into, out = kernel.shape
    return out, into, height, width
