"""Ways to spoil files of every format for `recover`, each drawn from a seed: the same number gives the same file.

ONNX files are spoiled as in `mutations.py`. Of the other formats, some files are spoiled in their bytes, or in those of
a member of the archive. Most are spoiled in their content: sizes, wiring, the storage of weights.
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from exporters.coreml.protobufs import protobuf_module
from tools.tests.mutations import flip_bits, mutant, splice, truncate

BASES = ("onnx", "tfjs", "tensorflow", "mlmodel", "mlpackage", "torchscript")
"""The kinds of files, in turn."""

ODD = (0, -1, 1, 3, 2**31 - 1, 2**31, 2**40, 2**62)
ODD_FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e308, 1e-308)


def spoiled(number: int, bases: Mapping[str, bytes], folder: Path) -> tuple[str, bytes]:
    """Return (kind, content) of the spoiled file of a number; `bases` are good files."""
    name = BASES[number % len(BASES)]
    turn, random = number // len(BASES), Random(number)
    if name == "onnx":
        kind, content = mutant(turn, bases[name], folder)
        return f"onnx {kind}", content
    changes = _CHANGES[name]
    change = changes[turn % len(changes)]
    return f"{name} {change.__name__}", change(bases[name], random)


def spoil_bytes(content: bytes, random: Random) -> bytes:
    """Spoil the bytes of the whole file."""
    return random.choice((flip_bits, truncate, splice))(content, random)


def spoil_member(content: bytes, random: Random) -> bytes:
    """Spoil a member of an archive, which itself stays valid."""

    def change(name: str, inner: bytes) -> bytes:
        return random.choice((_flip, _cut))(inner, random) if name == chosen else inner

    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    chosen = random.choice([name for name in names if not name.endswith("/")])
    return _repacked(content, change)


def spoil_names(content: bytes, random: Random) -> bytes:
    """Remove a member of an archive, or replace it by another."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        gone, out = random.choice(names), io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
            for name in names:
                if name == gone and random.random() < 0.5:
                    continue
                other = random.choice(("../outside", "/etc/outside", name + "x")) if name == gone else name
                target.writestr(zipfile.ZipInfo(other), archive.read(name), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def spoil_json(content: bytes, random: Random) -> bytes:
    """Spoil a TensorFlow.js model's graph, manifest or signature."""

    def change(name: str, inner: bytes) -> bytes:
        if not name.endswith("model.json"):
            return inner
        model = json.loads(inner)
        random.choice(_JSON)(model, random)
        return json.dumps(model).encode()

    return _repacked(content, change)


def _wire(model: Any, random: Random) -> None:
    nodes = model["modelTopology"]["node"]
    node = random.choice([each for each in nodes if each.get("input")])
    node["input"][random.randrange(len(node["input"]))] = random.choice((*[each["name"] for each in nodes], "nowhere"))


def _shorten(model: Any, random: Random) -> None:
    node = random.choice([each for each in model["modelTopology"]["node"] if each.get("input")])
    del node["input"][random.randrange(len(node["input"])) :]


def _rename_operation(model: Any, random: Random) -> None:
    node = random.choice(model["modelTopology"]["node"])
    node["op"] = random.choice(
        ("", "Nonsense", "While", "PyFunc", "Conv2D", "SpaceToBatchND", "Const", "Relu6", "Identity")
    )


def _change_attribute(model: Any, random: Random) -> None:
    node = random.choice([each for each in model["modelTopology"]["node"] if each.get("attr")])
    key = random.choice([*node["attr"]])
    node["attr"][key] = random.choice(
        ({}, {"i": "x"}, {"list": {"i": ["-1"] * 4}}, {"s": "%%%"}, {"f": "nan"}, None, 7, [])
    )


def _change_stored(model: Any, random: Random) -> None:
    weight = random.choice(model["weightsManifest"][0]["weights"])
    weight["quantization"] = random.choice(
        (
            {"dtype": "uint8", "scale": random.choice(ODD_FLOATS), "min": random.choice(ODD_FLOATS)},
            {"dtype": "float16"},
            {"dtype": "uint8"},
            {"dtype": "complex64", "scale": 1, "min": 0},
            {"dtype": "uint8", "scale": "x", "min": None},
            [],
        )
    )


def _change_shape(model: Any, random: Random) -> None:
    weight = random.choice(model["weightsManifest"][0]["weights"])
    weight["shape"] = random.choice(([2**40], [-1], [], [1, 1, 1, 1, 1], [2**31, 2**31, 4], ["3"], None, [1.5]))


def _change_signature(model: Any, random: Random) -> None:
    side = random.choice(("inputs", "outputs"))
    key = random.choice([*model["signature"][side]])
    model["signature"][side][key]["name"] = random.choice(("", "nowhere:0", "src:0", 7, None))


def _drop(model: Any, random: Random) -> None:
    place = random.choice((model, model["modelTopology"], random.choice(model["modelTopology"]["node"])))
    del place[random.choice([*place])]


_JSON = (_wire, _shorten, _rename_operation, _change_attribute, _change_stored, _change_shape, _change_signature, _drop)


def spoil_network(content: bytes, random: Random) -> bytes:
    """Spoil the layers of a CoreML neural network."""
    model = protobuf_module("Model").Model.FromString(content)
    del model.description.metadata.userDefined["graph_sha256"]
    layers = model.neuralNetwork.layers
    convolutions = [layer for layer in layers if layer.WhichOneof("layer") == "convolution"]
    layer = random.choice(convolutions)
    convolution, odd = layer.convolution, random.choice(ODD)
    action = random.randrange(9)
    if action == 0:
        convolution.outputChannels = abs(odd)
    elif action == 1:
        convolution.kernelSize[:] = random.choice(([], [3], [3, 3, 3], [abs(odd), 3]))
    elif action == 2:
        convolution.stride[:] = random.choice(([0, 0], [2], [2, 1, 1], [abs(odd), abs(odd)]))
    elif action == 3:
        convolution.nGroups = abs(odd)
    elif action == 4:
        convolution.weights.rawValue = bytes(random.randrange(20))
    elif action == 5:
        layer.input[0] = random.choice((layers[-1].output[0], layer.output[0], "nowhere"))
    elif action == 6:
        convolution.isDeconvolution = True
    elif action == 7:
        random.choice(layers).ClearField("output")
    else:
        other = random.choice(layers)
        other.ClearField(other.WhichOneof("layer") or "name")
    return bytes(model.SerializeToString())


def _repacked(content: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in archive.namelist():
            target.writestr(zipfile.ZipInfo(name), change(name, archive.read(name)), zipfile.ZIP_DEFLATED, 1)
    return out.getvalue()


def _flip(content: bytes, random: Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(random.choice((1, 8, 64))):
        if damaged:
            end = min(len(damaged), random.choice((200, 5_000, len(damaged))))
            damaged[random.randrange(end)] ^= 1 << random.randrange(8)
    return bytes(damaged)


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


_ARCHIVE = (spoil_bytes, spoil_member, spoil_member, spoil_names)
_CHANGES: Mapping[str, tuple[Callable[[bytes, Random], bytes], ...]] = {
    "tfjs": (spoil_json, spoil_json, spoil_json, spoil_json, spoil_member, spoil_names, spoil_bytes),
    "tensorflow": _ARCHIVE,
    "mlmodel": (spoil_network, spoil_network, spoil_network, spoil_bytes),
    "mlpackage": _ARCHIVE,
    "torchscript": _ARCHIVE,
}
