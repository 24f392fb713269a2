"""Ways to spoil the graph of a SavedModel: its operations, functions, objects, signature and files."""

from collections.abc import Callable
from random import Random
from typing import Any

from exporters.tensorflow.serving import saved_model_pb2  # which sets TensorFlow's environment before its import
from tools.tests.hostile.home import SECRET, Home
from tools.tests.hostile.spoil_bytes import Mutation

FOREIGN = (
    "WriteFile",
    "ReadFile",
    "SaveV2",
    "RestoreV2",
    "PyFunc",
    "MatchingFiles",
    "PrintV2",
    "While",
    "Nonsense",
    "",
)
"""Operations that read, write, run code, or that no network needs."""


def rename_operation(graph: Any, random: Random, home: Home) -> None:
    random.choice(_nodes(graph)).op = random.choice((*FOREIGN, "Conv2D", "Const", "Identity", "Placeholder"))


def add_operation(graph: Any, random: Random, home: Home) -> None:
    """Add an operation on a file, in the graph or in one of its functions."""
    place = random.choice((graph.graph_def.node, *(each.node_def for each in graph.graph_def.library.function)))
    name = place.add(name="own_name", op="Const").attr["value"].tensor
    name.dtype = 7  # a string
    name.string_val.append(str(random.choice((home.escaped, home.secret))).encode())
    place.add(name="own", op=random.choice(FOREIGN), input=["own_name", "own_name"])


def wire(graph: Any, random: Random, home: Home) -> None:
    node = random.choice([each for each in _nodes(graph) if each.input])
    others = (node.name, "nowhere", "", random.choice(_nodes(graph)).name, "^nowhere")
    node.input[random.randrange(len(node.input))] = random.choice(others)


def change_attribute(graph: Any, random: Random, home: Home) -> None:
    node = random.choice([each for each in _nodes(graph) if each.attr])
    value = node.attr[random.choice(sorted(node.attr))]
    value.Clear()
    random.choice(
        (
            lambda: setattr(value, "i", random.choice((-1, 0, 2**62))),
            lambda: setattr(value, "type", random.randrange(30)),
            lambda: setattr(value, "s", b"\xff\x1b[2J"),
            lambda: value.list.i.extend([0, -1, 2**62, 2**62]),
            lambda: value.shape.dim.add(size=2**40),
            lambda: setattr(value.func, "name", "nowhere"),
            lambda: None,
        )
    )()


def change_constant(graph: Any, random: Random, home: Home) -> None:
    node = random.choice([each for each in _nodes(graph) if each.op == "Const"])
    tensor = node.attr["value"].tensor
    random.choice(
        (
            lambda: tensor.tensor_shape.dim.add(size=random.choice((2**40, -1, 0))),
            lambda: setattr(tensor, "tensor_content", bytes(random.randrange(9))),
            lambda: setattr(tensor, "dtype", random.randrange(1, 25)),
            lambda: tensor.ClearField("tensor_shape"),
        )
    )()


def change_function(graph: Any, random: Random, home: Home) -> None:
    """Rename a function, repeat it, drop it, or let it call itself."""
    functions = graph.graph_def.library.function
    one = random.choice(functions)
    action = random.randrange(4)
    if action == 0:
        one.signature.name = random.choice(("", "own", functions[0].signature.name))
    elif action == 1:
        functions.add().CopyFrom(one)
    elif action == 2:
        functions.remove(one)
    else:
        call = one.node_def.add(name="own_call", op="PartitionedCall")
        call.attr["f"].func.name = one.signature.name


def change_signature(graph: Any, random: Random, home: Home) -> None:
    signature = graph.signature_def[random.choice(sorted(graph.signature_def))]
    ports = random.choice((signature.inputs, signature.outputs))
    if not ports:
        graph.signature_def.clear()
        return
    key = random.choice(sorted(ports))
    action = random.randrange(4)
    if action == 0:
        ports[key].name = random.choice(("", "nowhere:0", "src:0", "x:99", "\x1b[2J"))
    elif action == 1:
        del ports[key]
    elif action == 2:
        ports[key].dtype = random.randrange(30)
    else:
        ports[key].tensor_shape.dim.add(size=random.choice((-7, 2**40)))


def change_objects(graph: Any, random: Random, home: Home) -> None:
    """Make an object an asset, a resource or a captured tensor."""
    nodes = graph.object_graph_def.nodes
    node = random.choice(nodes)
    action = random.randrange(5)
    if action == 0:
        node.asset.asset_file_def_index = 0
        graph.asset_file_def.add(filename=f"../../../outside/{SECRET}").tensor_info.name = "own:0"
    elif action == 1:
        node.resource.device = "/job:localhost"
    elif action == 2:
        node.captured_tensor.name = "own:0"
    elif action == 3:
        node.children.add(node_id=random.choice((0, 10**6, 2**31 - 1)), local_name="own")
    else:
        del nodes[random.randrange(len(nodes)) :]


def change_saver(graph: Any, random: Random, home: Home) -> None:
    graph.saver_def.restore_op_name = random.choice(("", "own", _nodes(graph)[0].name))
    graph.saver_def.filename_tensor_name = random.choice(("", str(home.escaped)))


def _nodes(graph: Any) -> list[Any]:
    return [*graph.graph_def.node, *(node for each in graph.graph_def.library.function for node in each.node_def)]


def on_graph(change: Callable[[Any, Random, Home], None]) -> Mutation:
    """Return a mutation of a saved_model.pb that changes its graph."""

    def mutate(content: bytes, random: Random, home: Home) -> bytes:
        model = saved_model_pb2.SavedModel.FromString(content)
        change(model.meta_graphs[0], random, home)
        if random.random() < 0.05:
            model.meta_graphs.add().CopyFrom(model.meta_graphs[0])
        return bytes(model.SerializeToString())

    mutate.__name__ = change.__name__
    return mutate


SAVED_MODEL: tuple[Mutation, ...] = tuple(
    map(
        on_graph,
        (
            rename_operation,
            add_operation,
            wire,
            change_attribute,
            change_constant,
            change_function,
            change_signature,
            change_objects,
            change_saver,
        ),
    )
)
