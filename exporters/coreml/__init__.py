"""CoreML: ML programs in packages, neural networks for older devices, converted from the traced network."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from exporters.archive import holds
from exporters.spec import FixableSpec, Format, RuntimeInfo

MANIFEST = "Manifest.json"
TARGETS = ("ios14", "ios16", "ios18")

_LEAST_KIND = 200
"""The field numbers of the kinds of model that CoreML knows begin here; those of other messages are small."""


@dataclass(frozen=True, kw_only=True)
class CoremlSpec(FixableSpec):
    """One CoreML package, or one neural network where the target is iOS 14."""

    target: str = field(default="ios16", metadata={"help": "ios14: a neural network; ios16, ios18: an ML program."})


def recognise(path: Path) -> bool:
    """A package, in a zip file or not, by its manifest; a neural network by the kind of model that it says to be."""
    if path.is_dir() or holds(path, MANIFEST):
        return holds(path, MANIFEST)
    with path.open("rb") as file:
        return any(number >= _LEAST_KIND for number in _fields(file))


def _fields(file: BinaryIO) -> Iterator[int]:
    """Numbers of the fields at the top of a protobuf message, up to where it is none; contents are not read."""
    end = file.seek(0, 2)
    file.seek(0)
    while file.tell() < end:
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        length = _varint(file) if kind == 2 else 0
        if kind == 0:
            _varint(file)
        if kind not in (0, 2) or not number or file.tell() + length > end:
            return
        yield number
        file.seek(length, 1)


def _varint(file: BinaryIO) -> int:
    """The next number; one that never ends is 0."""
    value = 0
    for shift in range(0, 64, 7):
        (byte,) = file.read(1) or b"\0"
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    return 0


FORMAT = Format(
    title="CoreML",
    help="Export CoreML: an ML program or a neural network of one size, images in and out.",
    suffix=".mlpackage",
    precisions=("fp16", "fp32", "int8"),
    extra="coreml",
    packages=("coremltools",),
    runtimes={"evaluator": RuntimeInfo(module="runtime", extra="coreml", packages=("coremltools",))},
    recognise=recognise,
    spec=CoremlSpec,
)
