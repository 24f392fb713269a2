"""The contracts: how other programs call an ONNX file of this network, read from `contracts.toml`."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, cast

Order = Literal["inputs", "outputs"]


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A program's way of calling. `contracts.toml` says what each field is."""

    name: str
    title: str
    source: str
    command: str
    width: int
    height: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    first_states: Literal["one", "full", "declared"]
    ratio: float | None = None
    levels: int = 1
    bgr: bool = False
    by_position: tuple[Order, ...] = ()
    skipped: int = 0
    buffers: bool = False
    feeds_back: bool = True
    opsets: tuple[int, int] | None = None


def read_contracts() -> dict[str, Contract]:
    """Return all contracts by name, in the order of the file."""
    tables = tomllib.loads(files("tools.doctor").joinpath("contracts.toml").read_text())
    return {name: _contract(name, table) for name, table in tables.items()}


def _contract(name: str, table: dict[str, Any]) -> Contract:
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Contract(name=name, **cast(Any, fields))
