"""Ways to spoil a safetensors file's header, and the tensors of any checkpoint."""

import io
import json
import struct
from random import Random
from typing import Any

import safetensors.torch
import torch

from tools.tests.hostile.home import Home
from tools.tests.hostile.spoil_bytes import Mutation

ODD = (-1, 0, 1, 2**31, 2**62, 2**64 - 1, 10**30, 1.5, "x", None)


def change_header(content: bytes, random: Random, home: Home) -> bytes:
    """Change one tensor's name, type, shape or place in the file."""
    header, data = _parts(content)
    name = random.choice(sorted(header))
    entry = header[name]
    action = random.randrange(6)
    if action == 0:
        header[random.choice(("", "\x1b]52;c;eA==\x07", "\ud800", "x" * 100_000))] = header.pop(name)
    elif action == 1:
        entry["dtype"] = random.choice(("F16", "F64", "I64", "BOOL", "", 7, None, "x"))
    elif action == 2:
        entry["shape"] = random.choice(([2**62], [2**32, 2**32], [-1], [], None, [0], entry["shape"] * 2))
    elif action == 3:
        entry["data_offsets"] = [random.choice(ODD), random.choice((*ODD, len(data)))]
    elif action == 4:
        del entry[random.choice(sorted(entry))]
    else:
        entry["data_offsets"] = header[random.choice(sorted(header))]["data_offsets"]
    return _whole(header, data)


def change_length(content: bytes, random: Random, home: Home) -> bytes:
    """Change the header's length."""
    (length,) = struct.unpack("<Q", content[:8])
    value = random.choice((0, 1, length - 1, length + 1, len(content), 2**31, 2**62, 2**64 - 1))
    return struct.pack("<Q", value) + content[8:]


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _whole(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _changed(state_dict: dict[str, Any], random: Random) -> dict[str, Any]:
    """Change one tensor: its values, type, shape or name."""
    name = random.choice(sorted(state_dict))
    tensor = state_dict[name]
    values = (
        torch.full_like(tensor, random.choice((float("nan"), float("inf"), -1.0)))
        if tensor.is_floating_point()
        else None,
        tensor.to(random.choice((torch.int8, torch.bool, torch.float64, torch.float16))),
        tensor.flatten()[:0],
        torch.zeros(1).expand(2_000_000),
        tensor.unsqueeze(0),
        None,
    )
    value = random.choice(values)
    if value is None:
        other = random.choice(("", "\x1b[2J", "refiner.x", "x" * 10_000))
        return {other if key == name else key: each for key, each in state_dict.items()}
    return state_dict | {name: value.contiguous() if value.numel() < 10**6 else value}


def change_pth_tensor(content: bytes, random: Random, home: Home) -> bytes:
    """Change a tensor of a .pth file, which stays a file of PyTorch's."""
    out = io.BytesIO()
    torch.save(_changed(torch.load(io.BytesIO(content), weights_only=True), random), out)
    return out.getvalue()


def change_safetensors_tensor(content: bytes, random: Random, home: Home) -> bytes:
    """Change a tensor of a safetensors file, which stays a valid one."""
    changed = _changed(safetensors.torch.load(content), random)
    return safetensors.torch.save({key: value.contiguous() for key, value in changed.items()})


SAFETENSORS: tuple[Mutation, ...] = (change_header, change_header, change_length, change_safetensors_tensor)
PTH: tuple[Mutation, ...] = (change_pth_tensor, change_pth_tensor)
