"""Checkpoints that lie about themselves, or hold what no network has."""

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

import torch
from safetensors.torch import save_file

from rvm_model import load_checkpoint
from tools.tests.hostile.constructions.construction import ESC, Build, Construction
from tools.tests.hostile.home import Home

Tensors = dict[str, Any]
_GIVEN = 1_000_000


def _header(change: Callable[[dict[str, Any], int], Any]) -> Build:
    """Return a safetensors file whose header was changed. `change` gets it and the length of the data."""

    def build(home: Home) -> Construction:
        content = (home.good / "weights.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        data = content[8 + length :]
        header = change(json.loads(content[8 : 8 + length]), len(data))
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        (home.files / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
        return Construction("weights", home.files / "x.safetensors")

    return build


def _claimed(length: int) -> Build:
    def build(home: Home) -> Construction:
        (home.files / "x.safetensors").write_bytes(struct.pack("<Q", length) + b"{}" + bytes(100))
        return Construction("weights", home.files / "x.safetensors")

    return build


def _all_entries(change: Mapping[str, Any]) -> Build:
    def changed(header: dict[str, Any], _: int) -> dict[str, Any]:
        return {name: entry | change if name != "__metadata__" else entry for name, entry in header.items()}

    return _header(changed)


def _pth(change: Callable[[Tensors], Any]) -> Build:
    def build(home: Home) -> Construction:
        torch.save(change(dict(load_checkpoint("seeded").state_dict)), home.files / "x.pth")
        return Construction("weights", home.files / "x.pth")

    return build


def names_that_terminals_act_on(home: Home) -> Construction:
    state_dict = {f"{ESC}{key}": value for key, value in load_checkpoint("seeded").state_dict.items()}
    save_file(state_dict, home.files / "x.safetensors")
    return Construction("weights", home.files / "x.safetensors")


def _first(state_dict: Tensors, value: Callable[[torch.Tensor], Any]) -> Tensors:
    key = next(key for key, tensor in state_dict.items() if tensor.is_floating_point())
    return state_dict | {key: value(state_dict[key])}


def _tower(_: Tensors) -> Any:
    """Nest lists, deeper than a recursive reader can go but not than the pickler."""
    nested: list[Any] = []
    for _ in range(300):
        nested = [nested]
    return nested


WEIGHTS: dict[str, Build] = {
    "safetensors with a header of 8 exabytes": _claimed(2**63 - 1),
    "safetensors with a header of 90 MB that is not there": _claimed(90_000_000),
    "safetensors with data beyond the file": _all_entries({"data_offsets": [2**40, 2**41]}),
    "safetensors with all tensors at the same place": _all_entries({"data_offsets": [0, 1728]}),
    "safetensors with shapes of exabytes": _all_entries({"shape": [2**31, 2**31]}),
    "safetensors with negative shapes": _all_entries({"shape": [-1]}),
    "safetensors nested deeply": _header(lambda _header, _size: b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "safetensors with a million tensors": _header(
        lambda _header, _size: {
            f"{k}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for k in range(_GIVEN // 10)
        }
    ),
    "safetensors with names that terminals act on": names_that_terminals_act_on,
    ".pth with names that terminals act on": _pth(lambda given: {ESC + key: each for key, each in given.items()}),
    ".pth with weights that are not numbers": _pth(
        lambda given: _first(given, lambda each: torch.full_like(each, float("nan")))
    ),
    ".pth with a tensor that repeats one number": _pth(
        lambda given: _first(given, lambda _: torch.zeros(1).expand(2**40))
    ),
    ".pth with complex numbers": _pth(lambda given: _first(given, lambda each: each.to(torch.complex64))),
    ".pth with a sparse tensor": _pth(lambda given: _first(given, lambda each: each.to_sparse())),
    ".pth that is a tensor": _pth(lambda _: torch.zeros(3)),
    ".pth of nested lists": _pth(_tower),
    ".pth with numbers as names": _pth(lambda given: dict(enumerate(given.values()))),
}
