"""Describe an ExecuTorch program by its flatbuffers. Nothing of it runs."""

from collections.abc import Sequence
from pathlib import Path

from exporters.artifact import INPUTS, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.executorch.load import Model, Tensor, read
from exporters.executorch.xnnpack import Operation
from exporters.spec import LONGEST_SIDE, Fixed
from exporters.support.identify import identify
from rvm_model.state import REFINERS, state_shapes

_PRECISIONS = {"float16": "fp16", "float32": "fp32"}

CONVOLUTIONS = ("Conv2d", "DepthwiseConv2d")


def inspect(path: Path) -> Artifact:
    """Describe the program. See `exporters.runtime.Runtime`."""
    model = read(path)
    convolutions = [each for each in model.operations if each.kind in CONVOLUTIONS]
    found = identify({_as_in_pytorch(model, each) for each in convolutions})
    counts = len(model.inputs), len(model.outputs)
    dtypes = {tensor.dtype for tensor in (*model.inputs, *model.outputs)}
    if found is None or counts != (5, 6) or len(dtypes) != 1:
        raise ArtifactError(f"{path} is an ExecuTorch program, but not of a matting network as rvm-export writes it")
    variant, refiner = found
    try:
        fixed = _fixed(model, variant)
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged, or no matting network: {error}") from error
    if fixed.ratio == 1 and model.metadata.get("refiner") in REFINERS:
        refiner = model.metadata["refiner"]  # the graph has no refiner, so only the metadata knows the checkpoint's
    stored = {model.values[each.inputs[1]].dtype for each in convolutions}
    return Artifact(
        path=path,
        format="executorch",
        variant=variant,
        refiner=refiner,
        precision=next(precision for dtype, precision in _PRECISIONS.items() if dtype in stored),
        refine="auto",
        fixed=fixed,
        inputs=_infos(INPUTS[:5], model.inputs),
        outputs=_infos(OUTPUTS, model.outputs),
        metadata=model.metadata,
        facts={
            "operations": len(model.operations),
            "parameters": sum(value.data.size for value in model.values.values() if value.data is not None),
            "backend": "XNNPACK, in one piece",
        },
    )


def _as_in_pytorch(model: Model, operation: Operation) -> tuple[int, ...]:
    """Convert (out, height, width, in) to (out, in, height, width). Depthwise kernels identify no network."""
    shape = model.values[operation.inputs[1]].shape
    return (shape[0], *shape[3:], *shape[1:3])


def _infos(names: Sequence[str], tensors: Sequence[Tensor]) -> tuple[TensorInfo, ...]:
    """Return the inputs or outputs, which have no names in the file, under ours by their order."""
    return tuple(
        TensorInfo(name=name, dtype=each.dtype, shape=each.shape) for name, each in zip(names, tensors, strict=True)
    )


def _fixed(model: Model, variant: str) -> Fixed:
    """Return the size. Only the metadata has the exact ratio; all shapes must agree. Raises ValueError."""
    if "downsample_ratio" not in model.metadata:
        raise ValueError("it does not say in its metadata which downsample_ratio is baked in")
    ratio = float(model.metadata["downsample_ratio"])
    source = model.inputs[0].shape
    if len(source) != 4 or max(source) > LONGEST_SIDE:
        raise ValueError(f"its first input has the shape {source}, and a frame has four axes")
    _, _, height, width = source
    states = state_shapes(variant, height, width, ratio)
    image, alpha = (1, 3, height, width), (1, 1, height, width)
    expected = [image, *states, image, alpha, *states]
    given = [tensor.shape for tensor in (*model.inputs, *model.outputs)]
    if given != expected:
        names = (*INPUTS[:5], *OUTPUTS)
        wrong = [name for name, has, wants in zip(names, given, expected, strict=True) if has != wants]
        raise ValueError(f"it has shapes that do not go together: {', '.join(wrong)}")
    return Fixed(width=width, height=height, ratio=ratio)
