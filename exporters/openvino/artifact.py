"""Describe an IR by its two files. Nothing of it runs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from exporters.artifact import IMAGES, INPUTS, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.openvino import GRAPH, OMZ, STATES
from exporters.openvino.load import Layer, constants_of, kernel_of, read
from exporters.spec import LONGEST_SIDE, Fixed
from exporters.support.archive import unpacked
from exporters.support.identify import identify
from rvm_model.state import REFINERS, STATE_CHANNELS, state_shapes

_DTYPES = {"f32": "float32", "f16": "float16", "i64": "int64", "i32": "int32"}


def inspect(path: Path) -> Artifact:
    """Describe the model. See `exporters.runtime.Runtime`."""
    with unpacked(path, GRAPH) as folder:
        model = read(path, folder)
    inputs, outputs, variables = inputs_of(model.layers), outputs_of(model.layers), variables_of(model.layers)
    names = ({*inputs} - {INPUTS[5]}, {*outputs}, {*variables}, _assigned(model.layers))
    stateless: tuple[set[str], ...] = {*INPUTS[:5]}, {*OUTPUTS}, set(), set()
    stateful = {INPUTS[0]}, {*OUTPUTS[:2]}, {*STATES}, {*STATES}
    try:
        constants = constants_of(model.layers)
        kernels = [kernel for layer in model.layers if (kernel := kernel_of(layer, constants)) is not None]
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged, or no matting network: {error}") from error
    found = identify({kernel.shape for kernel in kernels})
    omz = any(OMZ["r1o"] in layer.names for layer in model.layers)
    if found is None or names not in (stateless, stateful) or omz != _takes_bgr(model.layers, inputs[INPUTS[0]]):
        raise ArtifactError(f"{path} is an OpenVINO IR, but not of a matting network as rvm-export writes it")
    variant, refiner = found
    tensors = {name: _tensor(name, inputs[name].data) for name in INPUTS if name in inputs}
    if {tensor.dtype for tensor in tensors.values()} != {"float32"}:
        raise ArtifactError(f"{path} has inputs of {', '.join(t.dtype for t in tensors.values())}; give one of float32")
    try:
        fixed = None if INPUTS[5] in inputs else _fixed(variant, tensors, model.metadata)
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged, or no matting network: {error}") from error
    if fixed is not None and fixed.ratio == 1 and model.metadata.get("refiner") in REFINERS:
        refiner = model.metadata["refiner"]  # the graph has no refiner, so only the metadata knows the checkpoint's
    described = (*tensors.values(), *_outputs(OUTPUTS[:2] if variables else OUTPUTS, variant, fixed))
    if omz:
        described = tuple(replace(tensor, name=OMZ.get(tensor.name, tensor.name)) for tensor in described)
    return Artifact(
        path=path,
        format="openvino",
        variant=variant,
        refiner=refiner,
        precision="fp16" if "float16" in {kernel.dtype.name for kernel in kernels} else "fp32",
        refine="always" if fixed is None else "auto",
        fixed=fixed,
        inputs=described[: len(tensors)],
        outputs=described[len(tensors) :],
        metadata=model.metadata,
        facts={
            "layers": len(model.layers),
            "parameters": sum(layer.numbers.size for layer in model.layers if layer.numbers is not None),
            **({"states": "inside"} if variables else {}),
            **({"contract": "omz"} if omz else {}),
        },
    )


def inputs_of(layers: Sequence[Layer]) -> dict[str, Layer]:
    """Return the inputs by our names."""
    return {_name(layer.names, INPUTS, layer.name): layer for layer in layers if layer.type == "Parameter"}


def outputs_of(layers: Sequence[Layer]) -> dict[str, str]:
    """Return the values of the outputs by our names."""
    names = {value: layer.names for layer in layers for value in layer.outputs}
    results = [layer for layer in layers if layer.type == "Result"]
    read = [(layer, layer.inputs[0]) for layer in results if layer.inputs]
    return {_name(names[value], OUTPUTS, layer.name): value for layer, value in read}


def _name(names: Iterable[str], ours: Sequence[str], other: str) -> str:
    """Return our name of an input or output that has these names, perhaps Open Model Zoo's; `other` if it has none."""
    return next((each for each in ours if {each, OMZ.get(each, each)} & {*names}), other)


def _takes_bgr(layers: Sequence[Layer], src: Layer) -> bool:
    """Return True if the first that happens to the source is another order of its channels, and then a division."""
    readers = [layer for layer in layers if {*layer.inputs} & {*src.outputs}]
    types = [layer.type for reader in readers for layer in layers if {*layer.inputs} & {*reader.outputs}]
    return [layer.type for layer in readers] == ["Gather"] and types == ["Divide"]


def variables_of(layers: Sequence[Layer]) -> dict[str, str]:
    """Return the values of the states inside by name."""
    return {layer.data.get("variable_id", ""): layer.outputs[0] for layer in layers if layer.type == "ReadValue"}


def _assigned(layers: Sequence[Layer]) -> set[str]:
    return {layer.data.get("variable_id", "") for layer in layers if layer.type == "Assign"}


def _tensor(name: str, data: Mapping[str, str]) -> TensorInfo:
    """Return the description of an input."""
    axes = [each for each in re.split("[, ]+", data.get("shape", "")) if each]
    shape = [int(length) if length.isdecimal() else axis for length, axis in zip(axes, _axes(name), strict=False)]
    return TensorInfo(name=name, dtype=_DTYPES.get(data.get("element_type", ""), "unknown"), shape=tuple(shape))


def _axes(name: str) -> tuple[str, ...]:
    """Return the names of the axes of an input or output of any size. No two states share one."""
    prefix = "" if name in IMAGES else f"{name}_"
    return f"{prefix}batch", f"{prefix}channels", f"{prefix}height", f"{prefix}width"


def _fixed(variant: str, tensors: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> Fixed:
    """Return the only size of a model without a ratio input. Only its metadata has the exact ratio."""
    try:
        ratio = float(metadata.get("downsample_ratio", ""))
    except ValueError as error:
        raise ValueError("it takes no downsample_ratio, and its metadata has none that is baked in") from error
    shape = tensors["src"].shape
    if len(shape) != 4 or not all(isinstance(side, int) and 0 < side <= LONGEST_SIDE for side in shape):
        raise ValueError(f"it takes no downsample_ratio, and its source of {_listed(shape)} is of no one size")
    batch, _, height, width = map(int, shape)
    states = state_shapes(variant, height, width, ratio, batch)
    expected = {"src": (batch, 3, height, width), **dict(zip(INPUTS[1:5], states, strict=True))}
    wrong = [f"{name} of {_listed(each.shape)}" for name, each in tensors.items() if each.shape != expected[name]]
    if wrong:
        raise ValueError(f"its inputs do not go together: {', '.join(wrong)}")
    return Fixed(width=width, height=height, ratio=ratio, batch=batch)


def _listed(shape: Sequence[int | str]) -> str:
    return "x".join(map(str, shape))


def _outputs(names: Sequence[str], variant: str, fixed: Fixed | None) -> tuple[TensorInfo, ...]:
    """Return the descriptions of the outputs, which follow from those of the inputs."""
    channels = dict(zip(OUTPUTS, (3, 1, *STATE_CHANNELS[variant]), strict=True))
    shapes: dict[str, tuple[int | str, ...]] = {}
    for name in names:
        batch, _, height, width = _axes(name)
        shapes[name] = (batch, channels[name], height, width)
    if fixed is not None:
        size = fixed.batch, fixed.height, fixed.width
        states = state_shapes(variant, fixed.height, fixed.width, fixed.ratio, fixed.batch)
        images = [(size[0], channels[name], *size[1:]) for name in OUTPUTS[:2]]
        shapes = dict(zip(OUTPUTS, (*images, *states), strict=True))
    return tuple(TensorInfo(name=name, dtype="float32", shape=shapes[name]) for name in names)
