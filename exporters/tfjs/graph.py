"""Read a graph model from the converter, sort it, and write it with its weights in their stored form.

The converter's own file differs from build to build: in the order of attributes and, worse, of the signature, so that
`model.execute([...])` would take its inputs in another order each time. Here everything is sorted. Parts that TF.js
does not read are left out, and nodes have short names.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import INPUTS, LINE, OUTPUTS
from exporters.tfjs import MODEL

Weights = dict[str, NDArray[Any]]
Json = dict[str, Any]

_INNER = "StatefulPartitionedCall/"
"""The prefix from the call of a signature's function, which precedes every name once or twice."""

_TENSORFLOWS_OWN = {"TArgs", "filter_format", "incompatible_shape_error", "num_host_args", "use_cudnn_on_gpu"}
"""Attributes that TF.js does not read. It also ignores those that begin with an underscore."""

_SHARD_BYTES = 4 * 2**20
"""The converter's shard size; browsers cache files of that size."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """A weight in its stored form. `quantization` is the manifest's entry, or None if it is not quantised."""

    values: NDArray[Any]
    quantization: Json | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphModel:
    """A model. `header` is model.json without nodes and weights. `weights` are the values of constants in `nodes`."""

    header: Json
    nodes: tuple[Json, ...]
    weights: Weights


def read(folder: Path) -> GraphModel:
    """Read what the converter has just written. Nothing is quantised."""
    header = json.loads((folder / MODEL).read_text())
    nodes = header["modelTopology"].pop("node")
    weights = {}
    for group in header.pop("weightsManifest"):
        content = b"".join((folder / name).read_bytes() for name in group["paths"])
        offset = 0
        for entry in group["weights"]:
            values = np.frombuffer(content, entry["dtype"], math.prod(entry["shape"]), offset)
            weights[entry["name"]] = values.reshape(entry["shape"])
            offset += values.nbytes
    return GraphModel(header=header, nodes=tuple(nodes), weights=weights)


def tidy(model: GraphModel) -> GraphModel:
    """Return the model in a fixed order, whatever its order was."""
    nodes = {node["name"]: node for node in model.nodes}
    signature = model.header["signature"]
    sides = {side: {key.removesuffix(":0"): tensor for key, tensor in signature[side].items()} for side in signature}
    # The converter finds an output's name by its shape, and has none for the two of one shape. TensorFlow sorts them.
    unnamed = sorted({*sides["outputs"]} - {*OUTPUTS})
    sides["outputs"] |= {name: sides["outputs"][key] for name, key in zip(LINE, unnamed, strict=False)}
    inputs = [name for name in INPUTS if name in sides["inputs"]]
    outputs = {
        name: sides["outputs"][name]["name"].removesuffix(":0")
        for name in (*LINE, *OUTPUTS)
        if name in sides["outputs"]
    }
    names = {name: name.rpartition(_INNER)[2] for name in nodes}
    names |= {node: name for name, node in outputs.items()}
    assert len({*names.values()}) == len(names), "two nodes of one name"

    kept: dict[str, Json] = {}
    weights: Weights = {}
    for old in _in_order(nodes, [*inputs, *outputs.values()]):
        node = nodes[old]
        if node["op"] == "Const":
            weights[names[old]] = model.weights[old]
        kept[names[old]] = _bare(node, names)

    signature = {
        side: {name: sides[side][name] | {"name": f"{name}:0"} for name in order}
        for side, order in (("inputs", inputs), ("outputs", outputs))
    }
    return GraphModel(header=model.header | {"signature": signature}, nodes=tuple(kept.values()), weights=weights)


def write(model: GraphModel, weights: Mapping[str, Stored], metadata: Json, folder: Path) -> None:
    """Write model.json and its shards.

    Args:
        model: From `tidy`.
        weights: The weights of the model in their stored form.
        metadata: The model's metadata.
        folder: The path to write to, which must exist.
    """
    entries: list[Json] = []
    content = bytearray()
    for name, values in model.weights.items():
        stored = weights[name]
        entry: Json = {"name": name, "shape": list(values.shape), "dtype": values.dtype.name}
        if stored.quantization is not None:
            entry["quantization"] = stored.quantization | {"original_dtype": values.dtype.name}
        entries.append(entry)
        content += stored.values.tobytes()
    parts = [content[start : start + _SHARD_BYTES] for start in range(0, len(content), _SHARD_BYTES)]
    shards = {f"group1-shard{k}of{len(parts)}.bin": part for k, part in enumerate(parts, start=1)}
    for name, part in shards.items():
        (folder / name).write_bytes(part)
    header = model.header
    text = {
        **{key: header[key] for key in ("format", "generatedBy", "convertedBy", "signature")},
        "userDefinedMetadata": metadata,
        "modelTopology": {"node": model.nodes, **header["modelTopology"]},
        "weightsManifest": [{"paths": [*shards], "weights": entries}],
    }
    (folder / MODEL).write_text(json.dumps(text, separators=(",", ":")))


def _in_order(nodes: Mapping[str, Json], wanted: list[str]) -> Iterator[str]:
    """Yield the wanted nodes and all that they need, each after its inputs. TF.js ignores control dependencies."""
    seen: set[str] = set()
    stack = wanted[::-1]
    while stack:
        name = stack[-1]
        ahead = [each for each in inputs_of(nodes[name]) if each not in seen]
        if ahead and name not in seen:
            stack.extend(reversed(ahead))
            continue
        stack.pop()
        if name not in seen:
            seen.add(name)
            yield name


def inputs_of(node: Json) -> list[str]:
    """Return the nodes that a node reads from."""
    return [each.partition(":")[0] for each in node.get("input", []) if not each.startswith("^")]


def _bare(node: Json, names: Mapping[str, str]) -> Json:
    """Return a node under its new name, its attributes sorted, without those that only TensorFlow reads."""

    def renamed(reference: str) -> str:
        name, colon, port = reference.partition(":")
        return names[name] + colon + port

    inputs = [renamed(each) for each in node.get("input", []) if not each.startswith("^")]
    return {
        "name": names[node["name"]],
        "op": node["op"],
        **({"input": inputs} if inputs else {}),
        "attr": {
            key: value
            for key, value in sorted(node.get("attr", {}).items())
            if key not in _TENSORFLOWS_OWN and not key.startswith("_")
        },
    }
