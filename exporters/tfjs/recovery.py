"""Read a TensorFlow.js graph model as a `Dataflow`, ours or the released one."""

import base64
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from exporters.artifact import INPUTS, LINE, OUTPUTS, Artifact
from exporters.recovery.dataflow import Dataflow, Interval, RecoveryError
from exporters.recovery.tensorflow_graph import Operation
from exporters.recovery.tensorflow_graph import dataflow as tensorflow_dataflow
from exporters.support.archive import unpacked
from exporters.tfjs import MODEL
from exporters.tfjs.graph import Stored
from exporters.tfjs.load import read
from exporters.tfjs.quantise import restored
from rvm_model.errors import first_line
from rvm_model.files import read_file

_ROLES = dict(zip(INPUTS, ("src", "r1", "r2", "r3", "r4"), strict=False))
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def dataflow(artifact: Artifact) -> Dataflow:
    """Return the graph of a file or folder. Raises ArtifactError if it is damaged, or cannot be recovered."""
    with unpacked(artifact.path, MODEL) as folder:
        read(folder, artifact.path)  # checks everything that is read below
        content = json.loads(read_file(folder / MODEL))
        try:
            constants = dict(_weights(folder, content["weightsManifest"]))
            operations = [_operation(node) for node in content["modelTopology"]["node"]]
            signature = content.get("signature") or content["userDefinedMetadata"]["signature"]
            inputs, outputs = (_names(signature[side]) for side in ("inputs", "outputs"))
        except _UNREADABLE as error:
            what = f"{type(error).__name__} {first_line(error, 100)}"
            raise RecoveryError(f"its {MODEL} is not as converters write it: {what}") from error
    roles = {inputs[name]: role for name, role in _ROLES.items() if name in inputs}
    return tensorflow_dataflow(
        operations, constants, roles, [outputs[name] for name in (*LINE, *OUTPUTS) if name in outputs]
    )


def _names(side: Mapping[str, Any]) -> dict[str, str]:
    return {key.removesuffix(":0"): str(entry["name"]).removesuffix(":0") for key, entry in side.items()}


def _weights(folder: Path, manifest: list[dict[str, Any]]) -> Iterator[tuple[str, Interval]]:
    """Yield the values that a runtime computes from the shards, with bounds of their rounding errors."""
    for group in manifest:
        content = b"".join(read_file(folder / name) for name in group["paths"])
        offset = 0
        for entry in group["weights"]:
            quantization = entry.get("quantization")
            stored = np.dtype(quantization["dtype"] if quantization else entry["dtype"])
            count = math.prod(entry["shape"])
            values = np.frombuffer(content, stored, count, offset).reshape(entry["shape"])
            offset += count * stored.itemsize
            if entry["dtype"] == "float32":
                yield str(entry["name"]), _interval(Stored(values=values, quantization=quantization))
            elif entry["dtype"] == "int32":
                yield str(entry["name"]), Interval.of(values)


def _interval(stored: Stored) -> Interval:
    if stored.values.dtype.kind == "f":
        return Interval.of(stored.values)
    assert stored.quantization is not None
    step = float(stored.quantization.get("scale", 1.0))
    values = restored(stored).astype(np.float64)
    bits = 8 * stored.values.dtype.itemsize
    return Interval(values=values, half=np.full_like(values, abs(step) / 2), stored=f"{bits} bits, per tensor")


def _operation(node: Mapping[str, Any]) -> Operation:
    return Operation(
        name=str(node["name"]),
        op=str(node["op"]),
        inputs=tuple(str(name) for name in node.get("input", []) if not name.startswith("^")),
        attributes={key: _attribute(value) for key, value in node.get("attr", {}).items()},
    )


def _attribute(value: Mapping[str, Any]) -> Any:
    """Return the attribute in plain Python, or None for a kind that nothing here needs."""
    if "list" in value:
        content = value["list"]
        if "i" in content:
            return [int(each) for each in content["i"]]
        return [_text(each) for each in content.get("s", [])]
    if "i" in value:
        return int(value["i"])
    if "f" in value:
        return float(value["f"])
    return _text(value["s"]) if "s" in value else None


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")
