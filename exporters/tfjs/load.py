"""Read a graph model in a folder, and check that graph, manifest and shards agree.

Nothing in it is trusted. What is read here is what a runtime then loads, and no other file.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exporters.artifact import ArtifactError, TensorInfo
from exporters.support.archive import read_member
from exporters.support.enlarging import LARGEST_PADDING, refuse_large
from exporters.support.tensorflow_sizes import PADDINGS, limits
from exporters.tfjs import MODEL
from rvm_model.errors import first_line
from rvm_model.files import check_file

MOST_JSON = 16_000_000
"""The largest model.json, in bytes. The released one has 626,575."""

_GRAPH_DTYPES = {"float32": "DT_FLOAT", "int32": "DT_INT32", "bool": "DT_BOOL"}
_STORED_BYTES = {"float32": 4, "int32": 4, "bool": 1, "float16": 2, "uint16": 2, "uint8": 1}
_CONTROL_FLOW = {
    *("Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond"),
    *("If", "StatelessIf", "While", "StatelessWhile"),
}


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One entry of the manifest. `stored` is the dtype of its bytes, which loading converts to `dtype`."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    stored: str

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * _STORED_BYTES[self.stored]


@dataclass(frozen=True, kw_only=True)
class GraphModel:
    """The content of a model.json. Inputs and outputs have the names of its signature, without their `:0`."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    weights: tuple[Weight, ...]
    operations: tuple[str, ...]
    control_flow: bool
    converter: str
    metadata: Mapping[str, str]


def read(folder: Path, path: Path) -> GraphModel:
    """Return the model in `folder`.

    Args:
        folder: The folder with model.json.
        path: The user's path, for messages.

    Raises:
        ArtifactError: it is no JSON or no graph model, weights do not match its graph, or shards are missing or do not
            have the size of the weights.
    """
    content = _json(folder, path)
    if not isinstance(content, dict) or content.get("format") != "graph-model":
        kind = content.get("format") if isinstance(content, dict) else None
        raise ArtifactError(f"{path} has a {MODEL} of format {str(kind)[:50]!r}; give a TensorFlow.js graph-model")
    try:
        nodes = _nodes(content["modelTopology"])
        groups = [
            ([str(name) for name in group["paths"]], [_weight(path, entry) for entry in group["weights"]])
            for group in content["weightsManifest"]
        ]
        signature = content.get("signature") or content["userDefinedMetadata"]["signature"]
        inputs, outputs = (_tensors(signature[side]) for side in ("inputs", "outputs"))
        constants = {str(node["name"]): node for node in nodes if node["op"] == "Const"}
        listed = [weight for _, weights in groups for weight in weights]
        for weight in listed:
            _check_constant(path, weight, constants.get(weight.name))
        missing = sorted({*constants} - {weight.name for weight in listed})
        if missing:
            raise ArtifactError(f"{path} has no weights for {missing[0][-100:]!r}, a constant of its graph")
        named = [name for shards, _ in groups for name in shards]
        if len({*named}) < len(named):  # a runtime would read it each time
            raise ArtifactError(f"{path} names a file of weights twice, among {', '.join(named)[:200]}")
        for shards, weights in groups:
            _check_shards(path, folder, shards, sum(weight.nbytes for weight in weights))
            _check_integers(path, b"".join(read_member(folder, name, path) for name in shards), weights, nodes)
        metadata = content.get("userDefinedMetadata") or {}
        return GraphModel(
            inputs=inputs,
            outputs=outputs,
            weights=tuple(listed),
            operations=tuple(str(node["op"]) for node in nodes),
            control_flow=any(node["op"] in _CONTROL_FLOW for node in nodes),
            converter=str(content.get("convertedBy")),
            metadata={str(key): value for key, value in metadata.items() if isinstance(value, str)},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__} {first_line(error, 100)}"
        raise ArtifactError(f"{path} has a {MODEL} that is no graph model as converters write it: {what}") from error


def _json(folder: Path, path: Path) -> Any:
    try:
        return json.loads(read_member(folder, MODEL, path, MOST_JSON))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} has a {MODEL} that is truncated, or no JSON: {error}") from error


def _nodes(topology: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of the graph and of all functions that it may call."""
    functions = (topology.get("library") or {}).get("function") or []
    return [*topology["node"], *(node for function in functions for node in function["nodeDef"])]


def _weight(path: Path, entry: dict[str, Any]) -> Weight:
    name, dtype = str(entry["name"]), str(entry["dtype"])
    stored = str((entry.get("quantization") or {}).get("dtype", dtype))
    if dtype not in _GRAPH_DTYPES or stored not in _STORED_BYTES:
        raise ArtifactError(
            f"{path} has a weight {name[-100:]!r} of the unknown dtype {dtype[:50]!r} ({stored[:50]!r})"
        )
    shape = tuple(entry["shape"])
    if not all(isinstance(axis, int) and axis >= 0 for axis in shape):
        raise ArtifactError(f"{path} has a weight {name[-100:]!r} of the impossible shape {str(shape)[:100]}")
    return Weight(name=name, shape=shape, dtype=dtype, stored=stored)


def _check_constant(path: Path, weight: Weight, node: dict[str, Any] | None) -> None:
    """Raise ArtifactError if graph and manifest differ on a weight, since runtimes use the manifest."""
    if node is None:
        raise ArtifactError(f"{path} has a weight {weight.name[-100:]!r} that its graph does not know")
    tensor = node["attr"]["value"]["tensor"]
    expected = (tensor["dtype"], tuple(int(axis.get("size", 0)) for axis in tensor["tensorShape"].get("dim", [])))
    if (_GRAPH_DTYPES[weight.dtype], weight.shape) != expected:
        raise ArtifactError(
            f"{path} has a weight {weight.name[-100:]!r} of {weight.dtype} {weight.shape} in its manifest, but of "
            f"{expected[0]} {expected[1]} in its graph"
        )


def _check_shards(path: Path, folder: Path, shards: list[str], needed: int) -> None:
    found = 0
    for name in shards:
        if Path(name).name != name or name in ("", ".."):
            raise ArtifactError(f"{path} names weights outside its folder: {name[:100]!r}")
        try:
            check_file(folder / name)
            found += (folder / name).stat().st_size
        except OSError as error:
            raise ArtifactError(f"{path} lacks its weights in {name[:100]!r}: {error.strerror}") from error
    if found != needed:
        kind = "truncated" if found < needed else "not this model's"
        raise ArtifactError(
            f"{path} has weights that are {kind}: {', '.join(shards)[:200]} should have {needed} bytes together, and "
            f"has {found}"
        )


def _check_integers(path: Path, content: bytes, weights: list[Weight], nodes: list[dict[str, Any]]) -> None:
    """Raise ArtifactError for a padding or a size that no network has."""
    for node in nodes:
        paddings = (node.get("attr") or {}).get(PADDINGS)
        if paddings:
            refuse_large(path, str(node["name"]), map(int, paddings["list"].get("i") or []), LARGEST_PADDING)
    limit = limits((str(node["op"]), node.get("input", [])) for node in nodes)
    offset = 0
    for weight in weights:
        if weight.stored == "int32" and weight.name in limit:
            numbers = np.frombuffer(content, "<i4", math.prod(weight.shape), offset)
            refuse_large(path, weight.name, numbers.tolist(), limit[weight.name])
        offset += weight.nbytes


def _tensors(side: dict[str, Any]) -> dict[str, TensorInfo]:
    """Return one side of the signature."""
    return {
        (name := key.removesuffix(":0")): TensorInfo(
            name=name,
            dtype={"DT_FLOAT": "float32"}.get(entry["dtype"], str(entry["dtype"])),
            shape=_shape(entry.get("tensorShape") or {}),
        )
        for key, entry in side.items()
    }


def _shape(shape: dict[str, Any]) -> tuple[int | str, ...]:
    if shape.get("unknownRank"):
        return ("any rank",)
    lengths = [int(axis["size"]) for axis in shape.get("dim", [])]
    return tuple(length if length >= 0 else "any" for length in lengths)
