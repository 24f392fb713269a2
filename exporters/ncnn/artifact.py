"""Describe an ncnn model by its two files. Nothing of it runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from exporters.artifact import Artifact, ArtifactError, TensorInfo
from exporters.ncnn import GRAPH
from exporters.ncnn.contract import CONTRACTS, Contract
from exporters.ncnn.layer import Layer
from exporters.ncnn.load import read
from exporters.ncnn.shapes import Shape, shapes_of
from exporters.spec import LONGEST_SIDE, Fixed
from exporters.support.archive import unpacked
from exporters.support.identify import identify
from rvm_model.state import REFINERS, state_shapes

_PROBES = ((1080, 1920), (723, 517))
"""Frame heights and widths for which a graph of any size is checked: even at most scales, and odd at all."""

_PROBED_RATIO = 0.25
"""The ratio of these frames, for a graph that takes any."""


def inspect(path: Path) -> Artifact:
    """Describe the model. See `exporters.runtime.Runtime`."""
    with unpacked(path, GRAPH) as folder:
        model = read(path, folder)
    layers, metadata = model.layers, model.metadata
    names = {layer.name: layer for layer in layers if layer.type == "Input"}
    read_by = {name for layer in layers for name in layer.inputs}
    outputs = {name for layer in layers for name in layer.outputs} - read_by - {*names}
    found = identify({_shape(layer) for layer in layers if layer.kernel is not None})
    known = (
        (word, each)
        for word, each in CONTRACTS.items()
        if ({*names}, outputs) == ({*each.inputs}, {*each.outputs, *each.others})
    )
    called, contract = next(known, ("", None))
    if found is None or contract is None:
        raise ArtifactError(f"{path} is an ncnn model, but not of a matting network as rvm-export writes it")
    variant, refiner = found
    try:
        ratio = None if contract.reads_small else _ratio(layers, metadata, contract.src)
        fixed = None if ratio is None else _fixed(names[contract.src], ratio)
        for height, width in _PROBES if fixed is None else [(fixed.height, fixed.width)]:
            check_shapes(layers, contract, variant, height, width, ratio or _PROBED_RATIO)
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged, or no matting network: {error}") from error
    if ratio == 1 and metadata.get("refiner") in REFINERS:
        refiner = metadata["refiner"]  # the graph has no refiner, so only the metadata knows the checkpoint's
    tensors = _tensors(contract, variant, fixed, ratio or _PROBED_RATIO)
    halves = {layer.kernel.dtype == np.float16 for layer in layers if layer.kernel is not None}
    return Artifact(
        path=path,
        format="ncnn",
        variant=variant,
        refiner=refiner,
        precision="fp16" if True in halves else "fp32",
        refine="always" if contract.reads_small else "auto",
        fixed=fixed,
        inputs=tuple(tensors[name] for name in contract.inputs),
        outputs=tuple(tensors[name] for name in contract.outputs),
        metadata=metadata,
        facts={
            "layers": len(layers),
            "ratio": "any" if ratio is None else f"{ratio:g}",
            "parameters": sum(_numbers(layer) for layer in layers),
            **({"contract": called} if called else {}),
        },
        ratio=ratio if fixed is None else None,
    )


def check_shapes(
    layers: Sequence[Layer], contract: Contract, variant: str, height: int, width: int, ratio: float
) -> None:
    """Raise ValueError unless a graph takes a frame of this size, and gives images and states of the right sizes."""
    inside = contract.inside(height, width, ratio)
    states = [shape[1:] for shape in state_shapes(variant, *inside, 1.0)]
    image = 3, height, width
    given: dict[str, Shape] = dict(zip(contract.inputs, (image, *states, (3, *inside)), strict=False))
    expected = dict(zip(contract.outputs, (image, (1, height, width), *states), strict=True))
    shapes = shapes_of(layers, given)
    wrong = [f"{name} of {shapes[name]}" for name, shape in expected.items() if shapes[name] != shape]
    if wrong:
        raise ValueError(f"a frame of {width}x{height} gives {', '.join(wrong)}")


def _ratio(layers: Sequence[Layer], metadata: Mapping[str, str], src: str) -> float:
    """Return the ratio of the layer that resizes the source, as exactly as the metadata has it."""
    copies = {name for layer in layers if layer.type == "Split" and layer.inputs == (src,) for name in layer.outputs}
    ratios = [layer.params.get(1) for layer in layers if layer.type == "Interp" and layer.inputs[0] in copies]
    ratio = ratios[0] if ratios else 1.0
    if len(ratios) > 1 or not isinstance(ratio, float) or not 0 < ratio <= 1:
        raise ValueError("it does not resize the source by one ratio in (0, 1]")
    exact = float(metadata.get("downsample_ratio", ratio))
    if np.float32(exact) != np.float32(ratio):
        raise ValueError(f"its metadata has the ratio {exact:g}, and its graph {ratio:g}")
    return exact


def _fixed(src: Layer, ratio: float) -> Fixed | None:
    """Return the size that the source's layer has, if it has one."""
    if not src.params:
        return None
    width, height, channels = (src.params.get(key) for key in (0, 1, 2))
    if channels != 3 or not all(isinstance(side, int) and 0 < side <= LONGEST_SIDE for side in (width, height)):
        raise ValueError(f"its source is {width}x{height} with {channels} channels")
    return Fixed(width=width, height=height, ratio=ratio)  # type: ignore[arg-type]


def _tensors(contract: Contract, variant: str, fixed: Fixed | None, ratio: float) -> dict[str, TensorInfo]:
    """Return the descriptions of inputs and outputs, without a batch axis, which ncnn has none of."""
    probe = (1080, 1920) if fixed is None else (fixed.height, fixed.width)
    inside = contract.inside(*probe, ratio)
    states = [shape[1:] for shape in state_shapes(variant, *inside, 1.0)]
    given = zip(contract.inputs, ((3, *probe), *states, (3, *inside)), strict=False)
    made = zip(contract.outputs, ((3, *probe), (1, *probe), *states), strict=True)
    images = {contract.src, *contract.outputs[:2]}
    return {
        name: TensorInfo(
            name=name,
            dtype="float32",
            shape=shape if fixed is not None else (shape[0], *_axes(name, name in images)),
        )
        for name, shape in (*given, *made)
    }


def _axes(name: str, is_image: bool) -> tuple[str, str]:
    return ("height", "width") if is_image else (f"{name}_height", f"{name}_width")


def _shape(layer: Layer) -> tuple[int, ...]:
    """Return the shape of a kernel: (out, in / groups, height, width)."""
    assert layer.kernel is not None
    out, columns = layer.params.get(0), layer.params.get(1)
    rows = layer.params.get(11, columns)
    if layer.type == "InnerProduct":
        columns = rows = 1
    if not (isinstance(out, int) and isinstance(rows, int) and isinstance(columns, int) and out * rows * columns):
        return ()
    return out, layer.kernel.size // (out * rows * columns), rows, columns


def _numbers(layer: Layer) -> int:
    return sum(each.size for each in (layer.kernel, layer.bias) if each is not None)
