"""Read an IR whole, before OpenVINO does: every element of its graph, and the numbers of each constant.

An IR may name other libraries, and constants that lie outside of its weights. Here each layer is of a kind that the
network needs, with the attributes that it needs, and OpenVINO gets the graph as it was understood here.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, tostring

import defusedxml.ElementTree
import numpy as np
from defusedxml import DefusedXmlException
from numpy.typing import NDArray

from exporters.artifact import ArtifactError
from exporters.openvino import GRAPH, WEIGHTS
from exporters.support.archive import read_member
from exporters.support.budget import Budget
from exporters.support.own_metadata import HASH

METADATA = "rvm_export"
"""The section of `rt_info` with our metadata."""

_OF_ONNX = "framework"
"""The section in which OpenVINO keeps the metadata of an ONNX file that it converted."""

_MOST_TEXT = 8_000_000
"""The limit of a graph's bytes. One of this network has 450,000."""

_MOST_LAYERS = 5000
_LARGEST = 10_000_000
"""The limit of any number in a graph, but for the places of constants."""

_LARGEST_INDEX = 65_535
"""The limit of a constant integer: a side, an axis, a number of channels or a place among them."""

_MOST_NUMBERS = 1_000_000_000
"""The limit of the product of constant integers that may be a shape. An 8K frame has a tenth of it."""

_MOST_AXES = 6
_LARGEST_SCALE = 2

_PADS = frozenset({"strides", "dilations", "pads_begin", "pads_end", "auto_pad"})
_POOL = _PADS | {"kernel", "rounding_type"}
_BROADCAST = frozenset({"auto_broadcast"})
_NONE: frozenset[str] = frozenset()

ATTRIBUTES: Mapping[str, frozenset[str]] = {
    "Parameter": frozenset({"shape", "element_type"}),
    "Result": _NONE,
    "Const": frozenset({"element_type", "shape", "offset", "size"}),
    "ReadValue": frozenset({"variable_id", "variable_type", "variable_shape"}),
    "Assign": frozenset({"variable_id"}),
    "Convolution": _PADS,
    "GroupConvolution": _PADS,
    "AvgPool": _POOL | {"exclude-pad"},
    "MaxPool": _POOL | {"index_element_type", "axis"},
    "Interpolate": frozenset(
        {
            *("mode", "shape_calculation_mode", "coordinate_transformation_mode", "nearest_mode", "antialias"),
            *("pads_begin", "pads_end", "cube_coeff"),
        }
    ),
    "ReLU": _NONE,
    "HSwish": _NONE,
    "HardSigmoid": _NONE,
    "Sigmoid": _NONE,
    "Tanh": _NONE,
    "Clamp": frozenset({"min", "max"}),
    "Add": _BROADCAST,
    "Subtract": _BROADCAST,
    "Multiply": _BROADCAST,
    "Divide": _BROADCAST | {"m_pythondiv"},
    "MatMul": frozenset({"transpose_a", "transpose_b"}),
    "Convert": frozenset({"destination_type"}),
    "Concat": frozenset({"axis"}),
    "VariadicSplit": _NONE,
    "Slice": _NONE,
    "Gather": frozenset({"batch_dims"}),
    "Pad": frozenset({"pad_mode"}),
    "Reshape": frozenset({"special_zero"}),
    "Broadcast": frozenset({"mode"}),
    "ShapeOf": frozenset({"output_type"}),
    "ReduceMean": frozenset({"keep_dims"}),
    # The rows of the matte, from the sizes of a frame.
    **dict.fromkeys(("Maximum", "Minimum", "FloorMod", "Equal", "Select"), _BROADCAST),
    **dict.fromkeys(("Floor", "Ceiling", "Abs", "Squeeze"), _NONE),
    "Range": frozenset({"output_type"}),
    "ReduceMax": frozenset({"keep_dims"}),
}
"""The layers that the network needs, and their attributes."""

_HINTS = frozenset({"decompression", "DisablePrecisionConversion", "fused_names"})
"""Notes of OpenVINO's on a layer, which change nothing that it computes."""

_ELEMENTS = {
    "net": frozenset({"name", "version"}),
    "layers": _NONE,
    "edges": _NONE,
    "layer": frozenset({"id", "name", "type", "version", "output_names"}),
    "input": _NONE,
    "output": _NONE,
    "port": frozenset({"id", "precision", "names"}),
    "dim": _NONE,
    "edge": frozenset({"from-layer", "from-port", "to-layer", "to-port"}),
    "rt_info": _NONE,
    "attribute": frozenset({"name", "version", "value"}),
}
"""The elements of a graph besides `data`, and their attributes."""

_DTYPES = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4"}
_WORD = re.compile(r"[a-z]\w*|\?", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,12})?(e[-+]?\d{1,2})?", re.ASCII)
_INDEX = re.compile(r"\d{1,5}", re.ASCII)
_VERSION = re.compile(r"opset\d{1,2}", re.ASCII)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One layer. Values have the names of the layer and port that make them; `names` are those that users give them.

    `numbers` are those of a Const.
    """

    name: str
    type: str
    data: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    names: frozenset[str]
    numbers: NDArray[Any] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model. `metadata` is empty if it has none. `graph` and `weights` are what OpenVINO may read."""

    layers: tuple[Layer, ...]
    metadata: Mapping[str, str]
    graph: bytes
    weights: bytes


def read(path: Path, folder: Path) -> Model:
    """Return a model.

    Args:
        path: The user's path, for messages.
        folder: The folder that holds its files.

    Raises:
        ArtifactError: damaged, changed since it was written, or with anything that a matting network does not need.
    """
    text, weights = read_member(folder, GRAPH, path, _MOST_TEXT), read_member(folder, WEIGHTS, path)
    try:
        root = parse(text)
        metadata = _metadata(root)
        claimed = metadata.get(HASH)
        layers = _layers(root, weights)
        for notes in root.findall("rt_info"):  # OpenVINO takes settings from them
            root.remove(notes)
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged, or no matting network: {error}") from error
    if claimed is not None and claimed != content_sha256(root, weights):
        raise ArtifactError(
            f"{path} has changed since rvm-export wrote it: damaged, or edited; for an edited file remove "
            f"{HASH} from the rt_info of its {GRAPH}"
        )
    return Model(layers=layers, metadata=metadata, graph=tostring(root), weights=weights)


def parse(text: bytes) -> Element:
    """Return the root of a graph. Raises ValueError if it is no XML, or declares a document type or entities."""
    try:
        root: Element = defusedxml.ElementTree.fromstring(text, forbid_dtd=True)
    except DefusedXmlException as error:
        raise ValueError(f"its {GRAPH} declares a document type or entities, which no IR needs") from error
    except (ParseError, LookupError, ValueError) as error:
        raise ValueError(f"its {GRAPH} is no XML ({error})") from error
    return root


def constants_of(layers: Iterable[Layer]) -> dict[str, NDArray[Any]]:
    """Return the numbers of constants by value. Those in half precision are also what their Convert makes."""
    found: dict[str, NDArray[Any]] = {}
    for layer in layers:
        numbers = found.get(layer.inputs[0]) if layer.type == "Convert" and layer.inputs else layer.numbers
        if numbers is not None:
            found |= dict.fromkeys(layer.outputs, numbers)
    return found


def kernel_of(layer: Layer, constants: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    """Return the weights of a convolution, (out, in / groups, height, width). None for any other layer.

    Raises ValueError for weights that are not constant, or have another shape.
    """
    if layer.type not in ("Convolution", "GroupConvolution"):
        return None
    numbers = constants.get(layer.inputs[1]) if len(layer.inputs) == 2 else None
    axes = 5 if layer.type == "GroupConvolution" else 4
    if numbers is None or numbers.ndim != axes or not numbers.size:
        raise ValueError(f"its convolution {layer.name[-80:]!r} has no constant weights of {axes} axes")
    return numbers.reshape(-1, *numbers.shape[-3:])


def content_sha256(root: Element, weights: bytes) -> str:
    """Return the hash of the graph without its metadata, and of the weights. It detects a damaged file."""
    digest = hashlib.sha256()
    for content in (*(tostring(each) for each in root if each.tag != "rt_info"), weights):
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _metadata(root: Element) -> dict[str, str]:
    for section in (METADATA, _OF_ONNX):
        found = {each.tag: each.get("value", "") for each in root.iterfind(f"rt_info/{section}/*")}
        if found:
            return found
    return {}


def _layers(root: Element, weights: bytes) -> tuple[Layer, ...]:
    """Return all layers, in an order in which they can be computed. Raises ValueError for any fault."""
    _check_element(root, "net", ["layers", "edges", "rt_info"])
    parts = [each.tag for each in root if each.tag != "rt_info"]
    if parts != ["layers", "edges"] or root.get("version") not in ("10", "11"):
        raise ValueError(f"its {GRAPH} is no IR of version 10 or 11")
    edges = _edges(root[1])
    layers: list[Layer] = []
    constants: dict[str, NDArray[Any] | None] = {}
    made: set[str] = set()
    _check_element(root[0], "layers", ["layer"])
    if len(root[0]) > _MOST_LAYERS:
        raise ValueError(f"it has {len(root[0])} layers; at most {_MOST_LAYERS} are read")
    budget = Budget(weights)
    for element in root[0]:
        layer = _layer(element, edges, weights, budget)
        if made & {*layer.outputs} or not made.issuperset(layer.inputs):
            raise ValueError(f"its layer {layer.name[:60]!r} reads a value that is not there yet, or makes one again")
        scales = constants.get(layer.inputs[1]) if layer.type == "Interpolate" and len(layer.inputs) > 1 else None
        if scales is not None and scales.dtype.kind == "f" and (scales > _LARGEST_SCALE).any():
            raise ValueError(f"its layer {layer.name[:60]!r} enlarges an image more than {_LARGEST_SCALE} times")
        constants |= dict.fromkeys(layer.outputs, layer.numbers)
        made.update(layer.outputs)
        layers.append(layer)
    if edges:
        raise ValueError(f"its edge to {next(iter(edges))!r} leads to no layer")
    return tuple(layers)


def _edges(element: Element) -> dict[str, str]:
    """Return the value that each input reads, by layer and port."""
    _check_element(element, "edges", ["edge"])
    found: dict[str, str] = {}
    for edge in element:
        _check_element(edge, "edge", [])
        ends = [edge.get(key, "") for key in ("from-layer", "from-port", "to-layer", "to-port")]
        target = f"{ends[2]}:{ends[3]}"
        if not all(map(_INDEX.fullmatch, ends)) or target in found:
            raise ValueError(f"its edge to {target[:20]!r} is damaged, or there twice")
        found[target] = f"{ends[0]}:{ends[1]}"
    return found


def _layer(element: Element, edges: dict[str, str], weights: bytes, budget: Budget) -> Layer:
    """Return one layer, and take its edges away."""
    _check_element(element, "layer", ["data", "rt_info", "input", "output"])
    key, name, kind = (element.get(each, "") for each in ("id", "name", "type"))
    place = f"its layer {name[:60]!r}"
    if not _INDEX.fullmatch(key) or len(name) > 200:
        raise ValueError(f"{place} has the id {key[:20]!r}, or a name that is too long")
    if kind not in ATTRIBUTES or not _VERSION.fullmatch(element.get("version", "")):
        raise ValueError(
            f"{place} is a {kind[:40]!r} of {element.get('version', '')[:20]!r}, which a matting network does not need"
        )
    for note in element.iterfind("rt_info/*"):
        _check_element(note, "attribute", [])
        if note.get("name") not in _HINTS:
            raise ValueError(f"{place} has the note {note.get('name', '')[:40]!r}, which it does not need")
    data = {key: value for each in element.iterfind("data") for key, value in each.attrib.items()}
    for child in element.iterfind("data/*"):
        _check_element(child, "data", [])
    _check_data(place, data, ATTRIBUTES[kind])
    ports = {side: [*_ports(place, element.find(side))] for side in ("input", "output")}
    if not ports["input" if kind == "Result" else "output"]:
        raise ValueError(f"{place} has no port for its value")
    inputs = [edges.pop(f"{key}:{port.get('id')}", "") for port in ports["input"]]
    return Layer(
        name=name,
        type=kind,
        data=data,
        inputs=tuple(inputs),
        outputs=tuple(f"{key}:{port.get('id')}" for port in ports["output"]),
        names=frozenset(each for port in ports["output"] for each in port.get("names", "").split(",") if each),
        numbers=_numbers(place, data, weights, budget) if kind == "Const" else None,
    )


def _ports(place: str, element: Element | None) -> Iterator[Element]:
    """Yield the inputs or outputs of a layer."""
    if element is None:
        return
    _check_element(element, element.tag, ["port"])
    for port in element:
        _check_element(port, "port", ["dim"])
        for dim in port:
            _check_element(dim, "dim", [])
        sides = [dim.text or "" for dim in port]
        if not _INDEX.fullmatch(port.get("id", "")) or not all(_is_number(side) for side in sides):
            raise ValueError(f"{place} has a damaged port")
        yield port


def _check_element(element: Element, tag: str, children: Iterable[str]) -> None:
    """Raise ValueError unless an element has this tag, no other attributes than it needs, and only such children."""
    tags = [child.tag for child in element]
    many = tag in ("layers", "edges", "input", "output", "port")
    if (
        element.tag != tag
        or not element.attrib.keys() <= _ELEMENTS[tag]
        or not {*tags} <= {*children}
        or (not many and len({*tags}) < len(tags))
    ):
        raise ValueError(
            f"its {GRAPH} has an element {element.tag[:40]!r} with a name, attributes or parts that no IR has"
        )


def _check_data(place: str, data: Mapping[str, str], known: frozenset[str]) -> None:
    """Raise ValueError for an attribute that a layer does not need, or whose value is neither words nor numbers."""
    for key, value in data.items():
        words = [word for word in re.split("[, ]+", value) if word]
        # The places of constants are checked with the weights.
        if key not in known or not (
            key in ("offset", "size") or all(_WORD.fullmatch(word) or _is_number(word) for word in words)
        ):
            raise ValueError(f"{place} has {key[:40]}={value[:40]!r}, which it does not need, or beyond {_LARGEST}")


def _is_number(word: str) -> bool:
    return _NUMBER.fullmatch(word) is not None and abs(float(word)) <= _LARGEST


def _numbers(place: str, data: Mapping[str, str], weights: bytes, budget: Budget) -> NDArray[Any]:
    """Return the numbers of a constant. Raises ValueError unless they lie in the weights."""
    dtype = _DTYPES.get(data.get("element_type", ""))
    places = [data.get(key, "") for key in ("offset", "size")]
    shape = [int(side) if side.isdecimal() else -1 for side in re.split("[, ]+", data.get("shape", "")) if side]
    if dtype is None or not all(re.fullmatch(r"\d{1,12}", each) for each in places) or min(shape, default=0) < 0:
        raise ValueError(f"{place} is a constant of no known kind, place or shape")
    offset, size = map(int, places)
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    if size != max(needed, 1):  # OpenVINO stores a byte for an empty constant
        raise ValueError(f"{place} has {size} bytes for the shape {'x'.join(map(str, shape))[:60]} of {dtype}")
    if offset + size > len(weights):
        raise ValueError(f"its {WEIGHTS} has {len(weights)} bytes and ends before the numbers of {place[4:]}")
    budget.take(size)
    numbers = np.frombuffer(weights, dtype, math.prod(shape), offset).reshape(shape)
    if numbers.dtype.kind == "i" and not _is_small(numbers.ravel().tolist()):
        raise ValueError(f"{place} has an integer beyond {_LARGEST_INDEX}, or a shape of more than {_MOST_NUMBERS}")
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise ValueError(f"{place} has numbers that are not finite")
    return numbers


def _is_small(integers: Sequence[int]) -> bool:
    """Return True if no integer, and no shape that they may be, is larger than the network needs."""
    shape = integers if len(integers) <= _MOST_AXES else ()
    return (
        all(abs(each) <= _LARGEST_INDEX for each in integers) and abs(math.prod(filter(None, shape))) <= _MOST_NUMBERS
    )
