"""Read an ncnn model whole, before any library does: every line of the graph, and the numbers of each layer.

ncnn trusts both files. It allocates what counts and sizes say, and reads beyond its blobs if they do not go together.
Here each layer is of a kind that the network needs, each number has bounds, and `shapes.py` computes all sizes.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import ArtifactError
from exporters.ncnn import GRAPH, METADATA, WEIGHTS
from exporters.ncnn.layer import ARRAY, HALF, KERNELS, MAGIC, SINGLE, Layer, Value
from exporters.support.archive import read_member
from exporters.support.own_metadata import HASH, read_metadata

_MOST_TEXT = 1_000_000
"""The limit of the bytes of a graph. One of this network has 50,000."""

_LARGEST = 10_000_000
"""The limit of any number in a graph. The largest is the number of a convolution's weights, 5 million."""

_MOST_LAYERS = 2000

PARAMS: Mapping[str, frozenset[int]] = {
    "Input": frozenset({0, 1, 2}),
    "Convolution": frozenset({0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16}),
    "ConvolutionDepthWise": frozenset({0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16}),
    "InnerProduct": frozenset({0, 1, 2, 9, 10, 31}),
    "Bias": frozenset({0}),
    "ReLU": frozenset({0}),
    "HardSwish": frozenset({0, 1}),
    "HardSigmoid": frozenset({0, 1}),
    "Sigmoid": frozenset(),
    "TanH": frozenset(),
    "Clip": frozenset({0, 1}),
    "BinaryOp": frozenset({0}),
    "Concat": frozenset({0}),
    "Slice": frozenset({0, 1}),
    "Split": frozenset(),
    "Padding": frozenset({4, 5, 8}),
    "Pooling": frozenset({0, 1, 2, 3, 4, 5}),
    "Interp": frozenset({0, 1, 2, 3, 4, 5}),
    "Crop": frozenset({9, 10, 11, 19, 20, 21}),
}
"""The layers that the network needs, and the keys of their parameters."""

_PARTING = re.compile(r"[\v\f\x1c-\x1f]")
_NUMBER = r"-?\d{1,12}(?:\.\d{0,12})?(?:e[-+]?\d{1,2})?"
_PARAM = re.compile(rf'(-?\d{{1,5}})=(?:"([0-9a-z,]{{1,40}})"|({_NUMBER}(?:,{_NUMBER}){{1,9}})|({_NUMBER}))')


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model. `metadata` is empty if it has none."""

    layers: tuple[Layer, ...]
    metadata: Mapping[str, str]


def read(path: Path, folder: Path) -> Model:
    """Return a model.

    Args:
        path: The user's path, for messages.
        folder: The folder that holds its files.

    Raises:
        ArtifactError: damaged, changed since it was written, or with anything that a matting network does not need.
    """
    graph = read_member(folder, GRAPH, path, _MOST_TEXT)
    weights = read_member(folder, WEIGHTS, path)
    metadata = read_metadata(path, folder, METADATA)
    claimed = metadata.get(HASH)
    if claimed is not None and claimed != content_sha256(graph, weights):
        raise ArtifactError(
            f"{path} has changed since rvm-export wrote it: damaged, or edited; for an edited file remove "
            f"{HASH} from its {METADATA}"
        )
    try:
        layers = _with_weights(parse(graph.decode("ascii")), weights)
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged, or no matting network: {error}") from error
    return Model(layers=layers, metadata=metadata)


def content_sha256(graph: bytes, weights: bytes) -> str:
    """Return the hash of the graph and the weights, the bytes of both files. It detects a damaged file."""
    digest = hashlib.sha256(len(graph).to_bytes(8, "little"))
    digest.update(graph)
    digest.update(weights)
    return digest.hexdigest()


def parse(text: str) -> list[Layer]:
    """Return the layers of a `.param`, without their weights. Raises ValueError for any fault."""
    if _PARTING.search(text):  # they part words for Python, and some not for ncnn
        raise ValueError(f"its {GRAPH} has characters that no graph has")
    lines = text.split("\n")
    if lines[0].strip() != MAGIC:
        raise ValueError(f"its {GRAPH} begins with {lines[0][:20]!r}, not with {MAGIC}")
    counts = lines[1].split() if len(lines) > 1 else []
    layers = [_layer(number, line) for number, line in enumerate(lines[2:], start=3) if line.strip()]
    blobs = [name for layer in layers for name in layer.outputs]
    if counts != [str(len(layers)), str(len(blobs))]:
        claimed = " and ".join(counts)[:40]
        raise ValueError(f"its {GRAPH} counts {claimed!r} layers and blobs, and has {len(layers)} and {len(blobs)}")
    if not 0 < len(layers) <= _MOST_LAYERS:
        raise ValueError(f"its {GRAPH} has {len(layers)} layers; at most {_MOST_LAYERS} are read")
    _check_order(layers)
    return layers


def _layer(number: int, line: str) -> Layer:
    """Return one layer, its names, counts and parameters checked one by one."""
    words = line.split()
    kind, name, *counts = [*words, "", "", ""][:4]
    place = f"line {number} of its {GRAPH}, {' '.join(words[:2])[:80]!r},"
    if kind not in PARAMS:
        raise ValueError(f"{place} has a layer that a matting network does not need")
    if not all(re.fullmatch(r"\d{1,3}", count) for count in counts):
        raise ValueError(f"{place} does not count its inputs and outputs")
    inputs, outputs = map(int, counts)
    names, params = words[4 : 4 + inputs + outputs], words[4 + inputs + outputs :]
    if len(names) != inputs + outputs or not outputs or any("=" in each or len(each) > 200 for each in (name, *names)):
        raise ValueError(f"{place} has other inputs and outputs than it counts")
    found: dict[int, Any] = {}
    for param in params:
        key, value = _param(place, param)
        if key not in PARAMS[kind] or key in found:
            raise ValueError(f"{place} has the parameter {param[:40]!r}, which it does not need or has already")
        found[key] = value
    return Layer(type=kind, name=name, inputs=tuple(names[:inputs]), outputs=tuple(names[inputs:]), params=found)


def _param(place: str, text: str) -> tuple[int, Value]:
    """Return a parameter's key and value: a number, an array that begins with its length, or an expression."""
    match = _PARAM.fullmatch(text)
    if match is None:
        raise ValueError(f"{place} has {text[:40]!r} where a parameter should be")
    key, expression, array, single = int(match[1]), *match.groups()[1:]
    if expression is not None:
        return key, expression
    count, *numbers = [_number(place, each) for each in (array or single).split(",")]
    if key > ARRAY and single is not None:
        return key, count
    if key > ARRAY or count != len(numbers):
        raise ValueError(f"{place} has the array {text[:40]!r}, whose length is another")
    return ARRAY - key, tuple(numbers)


def _number(place: str, text: str) -> int | float:
    value = float(text) if any(mark in text for mark in ".e") else int(text)
    if not abs(value) <= _LARGEST:
        raise ValueError(f"{place} has the number {text[:20]}, which is beyond {_LARGEST}")
    return value


def _check_order(layers: Sequence[Layer]) -> None:
    """Raise ValueError unless each blob is written once, before it is read, and read once."""
    written: set[str] = set()
    read: set[str] = set()
    for layer in layers:
        for name in layer.inputs:
            if name not in written or name in read:
                raise ValueError(f"its layer {layer.name[:60]!r} reads {name[:60]!r}, which is not there to be read")
            read.add(name)
        for name in layer.outputs:
            if name in written:
                raise ValueError(f"its layer {layer.name[:60]!r} writes {name[:60]!r}, which another has written")
            written.add(name)


def _with_weights(layers: Sequence[Layer], content: bytes) -> tuple[Layer, ...]:
    """Return the layers with their numbers. Raises ValueError unless they take exactly all bytes."""
    at = 0

    def take(count: int, what: str) -> bytes:
        nonlocal at
        at += count
        if at > len(content):
            raise ValueError(f"its {WEIGHTS} has {len(content)} bytes and ends before the {what}")
        return content[at - count : at]

    result = []
    for layer in layers:
        what = f"numbers of {layer.name[:60]!r}"
        kernel = bias = None
        out = _count(layer, 0)
        if layer.type in KERNELS:
            has_bias, size = KERNELS[layer.type]
            tag = take(4, what)
            if tag not in (SINGLE, HALF):
                raise ValueError(f"its {WEIGHTS} has the tag {tag.hex()} before the {what}; known are fp32 and fp16")
            count = _count(layer, size)
            kernel = _numbers(take(-(-count * (2 if tag == HALF else 4) // 4) * 4, what), count, half=tag == HALF)
            bias = _numbers(take(4 * out, what), out) if _count(layer, has_bias) else None
        elif layer.type == "Bias":
            bias = _numbers(take(4 * out, what), out)
        result.append(replace(layer, kernel=kernel, bias=bias))
    if at != len(content):
        raise ValueError(f"its {WEIGHTS} has {len(content)} bytes, and its {GRAPH} describes {at}")
    return tuple(result)


def _count(layer: Layer, key: int) -> int:
    value = layer.params.get(key, 0)
    if not isinstance(value, int) or value < 0:
        if layer.type in KERNELS or layer.type == "Bias":
            raise ValueError(f"its layer {layer.name[:60]!r} has {value} for a count")
        return 0
    return value


def _numbers(content: bytes, count: int, *, half: bool = False) -> NDArray[Any]:
    numbers = np.frombuffer(content, "<f2" if half else "<f4", count)
    if not np.isfinite(numbers).all():
        raise ValueError(f"its {WEIGHTS} has numbers that are not finite")
    return numbers
