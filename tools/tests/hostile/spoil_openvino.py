"""Ways to spoil an IR in a zip file: its graph. The hash is removed, so that only the graph itself can tell."""

import io
from collections.abc import Callable
from random import Random
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from exporters.openvino import GRAPH
from tools.tests.hostile.home import Home
from tools.tests.hostile.spoil_bytes import Mutation, names_of, repacked
from tools.tests.hostile.spoil_ncnn import ODD_NUMBERS

TYPES = (
    "Evil",
    "TensorIterator",
    "If",
    "Const",
    "Parameter",
    "ReadValue",
    "Reshape",
    "Concat",
    "MatMul",
    "Pad",
    "Result",
)
SHAPES = ("", "1", "0,0,0,0", "-1,-1,-1,-1", "65535,65535,65535,65535", "?,?,?,?", "9" * 40)


def change_attribute(root: Element, random: Random) -> None:
    element = random.choice([each for each in root.iter() if each.attrib and each.tag not in ("port", "edge")])
    key = random.choice([*element.attrib])
    values = element.attrib[key].split(",")
    values[random.randrange(len(values))] = random.choice((*ODD_NUMBERS, *SHAPES))
    element.set(key, ",".join(values))


def change_type(root: Element, random: Random) -> None:
    random.choice(root.findall("layers/layer")).set("type", random.choice(TYPES))


def change_constant(root: Element, random: Random) -> None:
    data = random.choice(root.findall("layers/layer[@type='Const']/data"))
    data.set(random.choice(("offset", "size", "shape", "element_type")), random.choice((*ODD_NUMBERS, *SHAPES, "f16")))


def move_constant(root: Element, random: Random) -> None:
    """Let a constant have the numbers of another of the same size."""
    data = random.choice(root.findall("layers/layer[@type='Const']/data"))
    same = [each for each in root.findall("layers/layer[@type='Const']/data") if each.get("size") == data.get("size")]
    data.set("offset", random.choice(same).get("offset", ""))


def wire(root: Element, random: Random) -> None:
    edges = root.findall("edges/edge")
    edge, other = random.choice(edges), random.choice(edges)
    key = random.choice(("from-layer", "to-layer", "from-port", "to-port"))
    edge.set(key, random.choice((other.get(key, ""), random.choice(ODD_NUMBERS))))


def drop_element(root: Element, random: Random) -> None:
    parent = random.choice([each for each in root.iter() if len(each)])
    parent.remove(random.choice([*parent]))


def repeat_element(root: Element, random: Random) -> None:
    parent = random.choice([each for each in root.iter() if len(each)])
    parent.insert(random.randrange(len(parent) + 1), random.choice([*parent]))


def on_graph(change: Callable[[Element, Random], None]) -> Mutation:
    """Return a mutation of a zip file that changes the elements of the graph, and removes the metadata."""

    def mutate(content: bytes, random: Random, home: Home) -> bytes:
        def spoil(graph: bytes) -> bytes:
            root = ElementTree.parse(io.BytesIO(graph)).getroot()
            for notes in root.findall("rt_info"):
                root.remove(notes)
            for _ in range(random.choice((1, 1, 3))):
                change(root, random)
            return ElementTree.tostring(root)

        (top,) = {name.partition("/")[0] for name in names_of(content)}
        return repacked(content, {f"{top}/{GRAPH}": spoil})

    mutate.__name__ = change.__name__
    return mutate


OPENVINO: tuple[Mutation, ...] = tuple(
    map(
        on_graph,
        (
            *(change_attribute, change_attribute, change_type, change_constant, change_constant),
            *(move_constant, wire, drop_element, repeat_element),
        ),
    )
)
