"""Show a file's facts, as a table for people or JSON for scripts."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from exporters import describe
from exporters.artifact import Artifact, TensorInfo
from tools.companions.calling import how_to_call
from tools.companions.content import size_and_sha256
from tools.shared.console import stderr_console
from tools.shared.stdout import write_stdout


def show(path: Path, as_json: bool) -> None:
    """Print a file's facts: a table on stderr, or a JSON object on stdout. Runs nothing of it, even if it is code.

    Raises:
        UserError: no such file, or one that is damaged or not a matting network.
    """
    artifact = describe(path)
    if as_json:
        write_stdout(json.dumps(to_json(artifact), indent=2) + "\n")
    else:
        stderr_console().print(to_table(artifact))


def to_json(artifact: Artifact) -> dict[str, Any]:
    """Return all facts about the file or folder."""
    size, sha256 = size_and_sha256(artifact.path)
    return {
        "artifact": str(artifact.path),
        "format": artifact.format,
        "variant": artifact.variant,
        "refiner": artifact.refiner,
        "precision": artifact.precision,
        "bytes": size,
        "sha256": sha256,
        **artifact.facts,
        **_tensors(artifact),
        **({"functions": [_function(each) for each in (artifact, *artifact.others)]} if artifact.others else {}),
        "metadata": dict(artifact.metadata),
    }


def to_table(artifact: Artifact) -> Table:
    """Return a table of all facts, a line for each."""
    table = Table(title=str(artifact.path), title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in to_json(artifact).items():
        if key == "metadata":
            for name, text in value.items():
                table.add_row(f"metadata {name}", text)
        elif key in ("inputs", "outputs"):
            _add_tensors(table, key, value)
        elif key == "functions":
            for function in value[1:]:
                table.add_row("function", f"{function['function']}: {function['size']}")
                for kind in ("inputs", "outputs"):
                    _add_tensors(table, kind, function[kind])
        elif key != "artifact":
            table.add_row(key, f"{value:,}" if isinstance(value, int) else str(value))
    table.add_row("how to call it", how_to_call(artifact))
    if not artifact.metadata:
        table.add_row("metadata", "none")
    return table


def _add_tensors(table: Table, kind: str, tensors: list[dict[str, Any]]) -> None:
    for tensor in tensors:
        axes = ", ".join(str(axis) for axis in tensor["shape"])
        table.add_row(f"{kind[:-1]} {tensor['name']}", f"{tensor['dtype']} ({axes})")


def _function(artifact: Artifact) -> dict[str, Any]:
    """Describe one of the sizes that a file has the network at, by the name that its consumer uses."""
    fixed = artifact.fixed
    size = f"{fixed.width}x{fixed.height}, ratio {fixed.ratio:g}" if fixed else "any size"
    return {"function": artifact.function, "size": size, **_tensors(artifact)}


def _tensors(artifact: Artifact) -> dict[str, Any]:
    return {
        "inputs": [_tensor(tensor) for tensor in artifact.inputs],
        "outputs": [_tensor(tensor) for tensor in artifact.outputs],
    }


def _tensor(tensor: TensorInfo) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
