"""Describe a .pt2 file by its program and its tensors, without loading it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporters.artifact import INPUTS, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.pt2.archive import Archive, read_archive
from exporters.pt2.program import DTYPES
from exporters.spec import LONGEST_SIDE, Fixed
from rvm_model.state import state_shapes

_PRECISIONS = {"float32": "fp32", "float16": "fp16"}
_RESIZE = "torch.ops.aten.upsample_bilinear2d.vec"
_SOURCE = {"name": "input", "arg": {"as_tensor": {"name": "src"}}, "kind": 1}
_BATCH = "batch"


def inspect(path: Path) -> Artifact:
    """Describe the file. See `exporters.runtime.Runtime`."""
    archive = read_archive(path)
    inputs, outputs = _contract(path, archive)
    dtypes = {tensor.dtype for tensor in (*inputs, *outputs)}
    dtypes |= {array.dtype.name for array in archive.weights.values() if array.ndim == 4}
    if len(dtypes) != 1 or not dtypes <= _PRECISIONS.keys():
        raise ArtifactError(f"{path} has tensors of {', '.join(sorted(dtypes))}; give a file of float32 or of float16")
    (dtype,) = dtypes
    nodes = archive.program["graph_module"]["graph"]["nodes"]
    return Artifact(
        path=path,
        format="pt2",
        variant=archive.variant,
        refiner=archive.refiner,
        precision=_PRECISIONS[dtype],
        refine="auto",
        fixed=_fixed(path, archive.variant, _ratio(nodes), (*inputs, *outputs)),
        inputs=inputs,
        outputs=outputs,
        metadata=archive.metadata,
        facts={
            "torch version": archive.program["torch_version"],
            "schema version": "{major}.{minor}".format(**archive.program["schema_version"]),
            "nodes": len(nodes),
        },
    )


def _contract(path: Path, archive: Archive) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Return inputs and outputs. The inputs have our names in the program, the outputs only an order."""
    module = archive.program["graph_module"]
    values, signature = module["graph"]["tensor_values"], module["signature"]
    given = [spec["user_input"]["arg"] for spec in signature["input_specs"] if "user_input" in spec]
    returned = [spec["user_output"]["arg"] for spec in signature["output_specs"]]
    inputs, outputs = ([arg["as_tensor"]["name"] for arg in args] for args in (given, returned))
    if inputs != [*INPUTS[:5]] or len(outputs) != len(OUTPUTS) or not {*inputs, *outputs} <= values.keys():
        raise ArtifactError(f"{path} is a torch.export program, but not called as rvm-export writes it")
    return (
        tuple(_tensor(name, values[name]) for name in inputs),
        tuple(_tensor(name, values[value]) for name, value in zip(OUTPUTS, outputs, strict=True)),
    )


def _tensor(name: str, meta: Mapping[str, Any]) -> TensorInfo:
    shape = tuple(size.get("as_int", _BATCH) for size in meta["sizes"])
    return TensorInfo(name=name, dtype=DTYPES[meta["dtype"]], shape=shape)


def _ratio(nodes: list[Any]) -> float:
    """Return the ratio of the program's first resize of `src`, or 1 if there is none."""
    for node in nodes:
        if node["target"] == _RESIZE and _SOURCE in node["inputs"]:
            scales: Mapping[str, list[float]] = next(
                (each["arg"] for each in node["inputs"] if each["name"] == "scale_factors"), {}
            )
            return float((scales.get("as_floats") or [0])[0])
    return 1.0


def _fixed(path: Path, variant: str, ratio: float, tensors: tuple[TensorInfo, ...]) -> Fixed:
    """Return the size of the program. Raises ArtifactError unless all shapes agree."""
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    height, width = (side if isinstance(side, int) else 0 for side in (*shapes["src"], 0, 0, 0, 0)[2:4])
    try:
        states = [(_BATCH, *shape[1:]) for shape in state_shapes(variant, height, width, ratio)]
    except ValueError as error:
        raise ArtifactError(f"{path} is for a size that no clip has: {error}") from error
    expected: dict[str, tuple[int | str, ...]] = {
        "src": (_BATCH, 3, height, width),
        "fgr": (_BATCH, 3, height, width),
        "pha": (_BATCH, 1, height, width),
        **dict(zip(INPUTS[1:5], states, strict=True)),
        **dict(zip(OUTPUTS[2:], states, strict=True)),
    }
    wrong = [name for name, shape in shapes.items() if shape != expected[name]]
    if wrong or max(height, width) > LONGEST_SIDE:
        raise ArtifactError(f"{path} has shapes that do not go together: {', '.join(wrong) or 'src'}")
    return Fixed(width=width, height=height, ratio=ratio)
