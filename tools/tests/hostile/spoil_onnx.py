"""Ways to spoil an ONNX file. Most change its message, some its bytes."""

from collections.abc import Callable
from random import Random

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnx.external_data_helper import set_external_data

from tools.tests.hostile.home import SECRET, Home
from tools.tests.hostile.spoil_bytes import BYTES, Mutation

CHECKSUM = "graph_sha256"
LINK = "link.bin"
"""A link to the secret, beside the spoiled file."""

LARGE = (0, -1, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
Change = Callable[[ModelProto, Random, Home], None]


# Bytes. Weights fill all but the first hundred thousandth of a file, so the rest is chosen on purpose.


def break_utf8(content: bytes, random: Random, home: Home) -> bytes:
    name = random.choice(
        [b"Conv", b"backbone", b"pha", b"src", b"licence", b"linear", b"rvm-export", b"r1o", b"Resize"]
    )
    return content.replace(name, b"\xff\xfe" + name[2:], random.choice((1, -1)))


def nest_deeply(content: bytes, random: Random, home: Home) -> bytes:
    """Nest graphs in attributes of nodes of graphs, deeper than a recursive reader can go."""
    graph = b"\x12\x01g"
    for _ in range(random.choice((20, 40, 5_000))):
        # Field 6 of an attribute, field 5 of a node, field 1 of a graph: each is a message.
        for field in (6, 5, 1):
            graph = bytes([field << 3 | 2]) + _varint(len(graph)) + graph
    return content + bytes([7 << 3 | 2]) + _varint(len(graph)) + graph


# Names and order.


def swap_nodes(model: ModelProto, random: Random, home: Home) -> None:
    nodes = [*model.graph.node]
    a, b = random.sample(range(len(nodes)), 2)
    nodes[a], nodes[b] = nodes[b], nodes[a]
    _replace(model.graph.node, nodes)


def remove_nodes(model: ModelProto, random: Random, home: Home) -> None:
    nodes = [*model.graph.node]
    _replace(model.graph.node, random.choice(([], nodes[1:], nodes[:-1], random.sample(nodes, len(nodes) - 3))))


def repeat_node(model: ModelProto, random: Random, home: Home) -> None:
    model.graph.node.append(random.choice(model.graph.node))


def make_cycle(model: ModelProto, random: Random, home: Home) -> None:
    node = random.choice([node for node in model.graph.node if node.input])
    later = random.choice((node, random.choice(model.graph.node), model.graph.node[-1]))
    node.input[0] = later.output[0]


def rename_value(model: ModelProto, random: Random, home: Home) -> None:
    node = random.choice(model.graph.node)
    names = random.choice((node.input, node.output))
    other = random.choice(model.graph.node)
    names[0] = random.choice(("", "\x00", "nowhere", "x" * 100_000, other.output[0], model.graph.initializer[0].name))


def repeat_name(model: ModelProto, random: Random, home: Home) -> None:
    values = random.choice((model.graph.initializer, model.graph.input, model.graph.output, model.graph.node))
    a, b = random.sample(range(len(values)), 2)
    random.choice((lambda: _set_name(values[a], values[b].name), lambda: values.append(values[a])))()


def rename_ports(model: ModelProto, random: Random, home: Home) -> None:
    ports = random.choice((model.graph.input, model.graph.output))
    action = random.randrange(4)
    if action == 0:
        del ports[random.randrange(len(ports)) :]
    elif action == 1:
        ports[random.randrange(len(ports))].name = random.choice(("", "r9o", "\x00", "pha\n"))
    elif action == 2:
        ports[random.randrange(len(ports))].ClearField("type")
    else:
        _replace(ports, [*ports][::-1])


def change_operator(model: ModelProto, random: Random, home: Home) -> None:
    node = random.choice(model.graph.node)
    node.op_type = random.choice(("", "Nonsense", "Loop", "If", "Relu", "Conv", "Reshape", "Tile", "Gather"))
    if random.random() < 0.3:
        node.domain = random.choice(("com.microsoft", "nonsense", "ai.onnx.ml", "\x00"))


# Types, shapes and data.


def change_weight_type(model: ModelProto, random: Random, home: Home) -> None:
    random.choice(model.graph.initializer).data_type = random.choice((*range(30), 99, -1, 2**31 - 1))


def change_port_type(model: ModelProto, random: Random, home: Home) -> None:
    port = random.choice((*model.graph.input, *model.graph.output))
    port.type.tensor_type.elem_type = random.choice((*range(30), 99, -1, 2**31 - 1))


def change_port_kind(model: ModelProto, random: Random, home: Home) -> None:
    port = random.choice((*model.graph.input, *model.graph.output))
    kind = port.type.sequence_type.elem_type if random.random() < 0.5 else port.type.optional_type.elem_type
    kind.tensor_type.elem_type = TensorProto.FLOAT


def change_port_shape(model: ModelProto, random: Random, home: Home) -> None:
    shape = random.choice((*model.graph.input, *model.graph.output)).type.tensor_type.shape
    if random.random() < 0.3:
        del shape.dim[random.randrange(len(shape.dim)) :]
    else:
        random.choice(shape.dim).dim_value = random.choice((*LARGE, 1, 3))


def change_weight_shape(model: ModelProto, random: Random, home: Home) -> None:
    dims = random.choice(model.graph.initializer).dims
    if dims and random.random() < 0.8:
        dims[random.randrange(len(dims))] = random.choice((*LARGE, 1, 7))
    else:
        dims.extend([random.choice(LARGE)] * random.choice((1, 3, 20)))


def enlarge_weight(model: ModelProto, random: Random, home: Home) -> None:
    """Set dims for terabytes without data, or dims whose product overflows 64 bits to the actual size."""
    weight = random.choice(model.graph.initializer)
    dims = random.choice(([2**40], [2**20, 2**20, 2**20], [2**32, 2**32, *weight.dims], [2**62, 4, *weight.dims]))
    _replace(weight.dims, dims)
    if random.random() < 0.5:
        weight.ClearField("raw_data")


def change_data(model: ModelProto, random: Random, home: Home) -> None:
    weight = random.choice(model.graph.initializer)
    data = weight.raw_data
    action = random.randrange(5)
    if action == 4:
        weight.float_data.extend([0.5, 0.5])
    else:
        weight.raw_data = (b"", data[:-1], data[: len(data) // 8 * 4], data + bytes(4))[action]
    if random.random() < 0.2:
        weight.ClearField("raw_data")
        weight.string_data.append(b"\xff")


def spoil_integers(model: ModelProto, random: Random, home: Home) -> None:
    """Spoil integers, which say where to cut and how far to stretch."""
    weight = random.choice([each for each in model.graph.initializer if each.data_type == TensorProto.INT64])
    weight.raw_data = random.choice(LARGE).to_bytes(8, "little", signed=True) * (len(weight.raw_data) // 8)


def poison_weights(model: ModelProto, random: Random, home: Home) -> None:
    """Make weights NaN: the file runs, and its outputs are NaN."""
    weight = random.choice([each for each in model.graph.initializer if len(each.dims) == 4])
    weight.raw_data = b"\xff" * len(weight.raw_data)


def change_scales(model: ModelProto, random: Random, home: Home) -> None:
    """Spoil the factors by which images are resized: to nothing, or to terabytes."""
    weight = random.choice([weight for weight in model.graph.initializer if weight.name.startswith("scale_")])
    value = random.choice(
        (b"\x00\x00\x00\x00", b"\x00\x00\x80\xbf", b"\x00\x00\x80\x7f", b"\x00\x00\xc0\x7f", b"\x00\x24\x74\x49")
    )
    weight.raw_data = value * (len(weight.raw_data) // 4)


def add_huge_constant(model: ModelProto, random: Random, home: Home) -> None:
    """Add a node whose output is huge, which the file's own size does not show."""
    model.graph.initializer.append(
        helper.make_tensor("own.huge", TensorProto.INT64, [2], [random.choice(LARGE), 2**20])
    )
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [0])
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["own.huge"], ["own.vast"], value=value))
    model.graph.node.insert(1, helper.make_node("ReduceMax", ["own.vast"], ["own.vastest"], keepdims=0))
    _feed(model, "own.vastest")


# Attributes.


def change_attribute(model: ModelProto, random: Random, home: Home) -> None:
    _spoil(random.choice(random.choice([node for node in model.graph.node if node.attribute]).attribute), random)


def change_convolution(model: ModelProto, random: Random, home: Home) -> None:
    """Set strides and the like to values such as zero, by which readers divide."""
    node = random.choice([node for node in model.graph.node if node.op_type in ("Conv", "AveragePool", "MaxPool")])
    _spoil(random.choice(node.attribute), random)


def drop_attributes(model: ModelProto, random: Random, home: Home) -> None:
    node = random.choice([node for node in model.graph.node if node.attribute])
    if random.random() < 0.5:
        del node.attribute[random.randrange(len(node.attribute))]
    else:
        node.attribute[0].type = random.choice([*AttributeProto.AttributeType.values()])


# Metadata.


def change_opset(model: ModelProto, random: Random, home: Home) -> None:
    opsets = model.opset_import
    number = random.randrange(4)
    if number == 0:
        opsets[0].version = random.choice((*LARGE, 1, 6, 11, 13, 21, 40, 9999))
    elif number == 1:
        opsets[0].ClearField("version")
    elif number == 2:
        opsets[0].domain = random.choice(("nonsense", "ai.onnx", "ai.onnx.ml"))
    else:
        _replace(opsets, random.choice(([], [*opsets] * 2, [*opsets, helper.make_opsetid("", 21)])))


def set_opset(model: ModelProto, random: Random, home: Home) -> None:
    model.opset_import[0].version = random.choice((0, 2**31, -1, 2**63 - 1))


def change_ir_version(model: ModelProto, random: Random, home: Home) -> None:
    model.ir_version = random.choice((3, 9, 32, 127))


def change_metadata(model: ModelProto, random: Random, home: Home) -> None:
    entry = random.choice(model.metadata_props)
    entry.value = random.choice(("", "nan", "-1", "0", "1e999", "x" * 100_000, "\x1b[2J\n", "seeded", "1"))
    if random.random() < 0.3:
        model.metadata_props.append(entry)


def drop_metadata(model: ModelProto, random: Random, home: Home) -> None:
    if random.random() < 0.3:
        del model.metadata_props[:]
    else:
        _forget(model, random.choice(model.metadata_props).key)


def drop_field(model: ModelProto, random: Random, home: Home) -> None:
    message, field = random.choice(
        [
            (model, "graph"),
            (model, "opset_import"),
            (model.graph, "name"),
            (model.graph, "output"),
            (model.graph, "input"),
            (model.graph, "initializer"),
            (random.choice(model.graph.node), "op_type"),
            (random.choice(model.graph.node), "output"),
            (random.choice(model.graph.initializer), "data_type"),
            (random.choice(model.graph.initializer), "name"),
            (random.choice(model.graph.initializer), "dims"),
        ]
    )
    message.ClearField(field)


# Nested graphs.


def add_branch(model: ModelProto, random: Random, home: Home) -> None:
    _add_if(model, helper.make_tensor("own.inner", TensorProto.FLOAT, [1], [0.0]), depth=random.choice((1, 8, 20)))


def add_loop(model: ModelProto, random: Random, home: Home) -> None:
    """Add a loop that runs forever."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_after"]),
            helper.make_node("Identity", ["value"], ["value_after"]),
        ],
        "body",
        [_value("turn", TensorProto.INT64), _value("goes_on", TensorProto.BOOL), _value("value", TensorProto.FLOAT)],
        [_value("goes_on_after", TensorProto.BOOL), _value("value_after", TensorProto.FLOAT)],
    )
    model.graph.initializer.append(
        helper.make_tensor("own.turns", TensorProto.INT64, [], [random.choice((2**40, 2**63 - 1))])
    )
    model.graph.initializer.append(helper.make_tensor("own.always", TensorProto.BOOL, [], [True]))
    model.graph.initializer.append(helper.make_tensor("own.zeros", TensorProto.FLOAT, [], [0.0]))
    model.graph.node.insert(
        0, helper.make_node("Loop", ["own.turns", "own.always", "own.zeros"], ["own.result"], body=body)
    )
    _feed(model, "own.result")


def add_function(model: ModelProto, random: Random, home: Home) -> None:
    """Add a function that calls itself, or another that calls it back, or doubles its calls."""
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.ir_version = max(model.ir_version, 8)
    opsets = [helper.make_opsetid("", model.opset_import[0].version), helper.make_opsetid("own", 1)]
    count = random.choice((1, 2, 40))
    for k in range(count):
        called = f"f{(k + 1) % count}" if count < 40 or k < count - 1 else None
        calls = (
            [helper.make_node(called, ["x"], ["a"], domain="own")]
            if called
            else [helper.make_node("Relu", ["x"], ["a"])]
        )
        again = (
            helper.make_node(called, ["a"], ["y"], domain="own") if called else helper.make_node("Relu", ["a"], ["y"])
        )
        model.functions.append(helper.make_function("own", f"f{k}", ["x"], ["y"], [*calls, again], opsets))
    model.graph.node.insert(0, helper.make_node("f0", ["downsample_ratio"], ["own.result"], domain="own"))
    _feed(model, "own.result")


# External weights.


def point_outside(model: ModelProto, random: Random, home: Home) -> None:
    weight = random.choice([weight for weight in model.graph.initializer if len(weight.raw_data) > 100])
    _send_away(weight, random, home)


def point_outside_in_branch(model: ModelProto, random: Random, home: Home) -> None:
    inner = helper.make_tensor("own.inner", TensorProto.FLOAT, [1], bytes(4), raw=True)
    _send_away(inner, random, home)
    _add_if(model, inner, depth=random.choice((1, 3)))


def point_outside_in_attribute(model: ModelProto, random: Random, home: Home) -> None:
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], bytes(4), raw=True)
    _send_away(value, random, home)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["own.result"], value=value))
    _feed(model, "own.result")


def point_outside_in_sparse(model: ModelProto, random: Random, home: Home) -> None:
    values = helper.make_tensor("own.sparse", TensorProto.FLOAT, [1], bytes(4), raw=True)
    indices = helper.make_tensor("where", TensorProto.INT64, [1], bytes(8), raw=True)
    _send_away(random.choice((values, indices)), random, home)
    sparse = helper.make_sparse_tensor(values, indices, [1])
    if random.random() < 0.5:
        model.graph.sparse_initializer.append(sparse)
        _feed(model, "own.sparse")
    else:
        model.graph.node.insert(0, helper.make_node("Constant", [], ["own.result"], sparse_value=sparse))
        _feed(model, "own.result")


def point_outside_in_function(model: ModelProto, random: Random, home: Home) -> None:
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], bytes(4), raw=True)
    _send_away(value, random, home)
    model.ir_version = max(model.ir_version, 8)
    model.opset_import.append(helper.make_opsetid("own", 1))
    nodes = [helper.make_node("Constant", [], ["c"], value=value), helper.make_node("Add", ["x", "c"], ["y"])]
    model.functions.append(helper.make_function("own", "f", ["x"], ["y"], nodes, [model.opset_import[0]]))
    model.graph.node.insert(0, helper.make_node("f", ["downsample_ratio"], ["own.result"], domain="own"))
    _feed(model, "own.result")


def _send_away(tensor: TensorProto, random: Random, home: Home) -> None:
    """Make a tensor's data external, where a trusting reader finds it complete."""
    link = home.files / LINK
    if not link.is_symlink():
        link.symlink_to(home.secret)
    outside = f"../{home.outside.name}/{SECRET}"
    location = random.choice((outside, str(home.secret), LINK, f"./x/../{outside}", "/proc/self/mem", "", "\x00"))
    home.secret.write_bytes(tensor.raw_data)
    length = len(tensor.raw_data)
    set_external_data(tensor, location, random.choice((0, 0, None, -1, 2**62)), random.choice((length, None, -1)))
    if random.random() < 0.8:
        tensor.ClearField("raw_data")
    if random.random() < 0.15:
        tensor.data_location = TensorProto.DEFAULT  # external entries in spite of that
        tensor.raw_data = home.secret.read_bytes()


def _add_if(model: ModelProto, inner: TensorProto, depth: int) -> None:
    """Add nested branches, the innermost with a tensor."""
    out = helper.make_tensor_value_info("out0", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", [inner.name], ["out0"])], "branch", [], [out], [inner])
    for k in range(1, depth):
        node = helper.make_node(
            "If", ["own.condition"], [f"out{k}"], then_branch=graph, else_branch=GraphProto(name="e")
        )
        other = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0])
        _attribute(node, "else_branch").g.CopyFrom(
            helper.make_graph(
                [helper.make_node("Constant", [], ["other"], value=other)],
                "else",
                [],
                [helper.make_tensor_value_info("other", TensorProto.FLOAT, [1])],
            )
        )
        graph = helper.make_graph(
            [node], "branch", [], [helper.make_tensor_value_info(f"out{k}", TensorProto.FLOAT, [1])]
        )
    model.graph.initializer.append(helper.make_tensor("own.condition", TensorProto.BOOL, [], [True]))
    model.graph.node.insert(
        0, helper.make_node("If", ["own.condition"], ["own.result"], then_branch=graph, else_branch=graph)
    )
    _feed(model, "own.result")


def _feed(model: ModelProto, value: str) -> None:
    """Connect a value to an output, without effect on it: a reader would skip an unneeded value unseen."""
    node = next(node for node in model.graph.node if "pha" in node.output)
    node.output[[*node.output].index("pha")] = "own.before_zero"
    model.graph.initializer.append(helper.make_tensor("own.nothing", TensorProto.FLOAT, [1], [0.0]))
    model.graph.node.append(helper.make_node("Mul", [value, "own.nothing"], ["own.zero"]))
    model.graph.node.append(helper.make_node("Add", ["own.before_zero", "own.zero"], ["pha"]))


def _varint(value: int) -> bytes:
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def _spoil(attribute: AttributeProto, random: Random) -> None:
    if attribute.type == AttributeProto.INTS:
        value = random.choice((*LARGE, 0, 3, 1000))
        _replace(attribute.ints, random.choice(([value] * len(attribute.ints), [value], [*attribute.ints, value])))
    elif attribute.type == AttributeProto.INT:
        attribute.i = random.choice((*LARGE, 3))
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = random.choice((float("nan"), float("inf"), 0.0))
    else:
        attribute.s = random.choice((b"\xff", b"", b"cubic", b"constant"))


def _attribute(node: NodeProto, name: str) -> AttributeProto:
    return next(attribute for attribute in node.attribute if attribute.name == name)


def _value(name: str, element: int):
    return helper.make_tensor_value_info(name, element, [])


def _forget(model: ModelProto, key: str) -> None:
    _replace(model.metadata_props, [entry for entry in model.metadata_props if entry.key != key])


def _set_name(message, name: str) -> None:
    message.name = name


def _replace(field, values) -> None:
    """Replace the values of a repeated field. They are copied first, since they may be the field's own."""
    values = [
        type(value).FromString(value.SerializeToString()) if hasattr(value, "CopyFrom") else value for value in values
    ]
    del field[:]
    field.extend(values)


def on_message(change: Change) -> Mutation:
    """Return a mutation of a file that changes its message.

    Every fourth file keeps its checksum, which detects nearly all mutations. Foreign files have none, so all that the
    checksum would detect must be detected without it.
    """

    def mutate(content: bytes, random: Random, home: Home) -> bytes:
        model = _foreign(content, random)
        change(model, random, home)
        return model.SerializeToString(deterministic=True)

    mutate.__name__ = change.__name__
    return mutate


def on_bytes(mutation: Mutation) -> Mutation:
    """Return a mutation of a file's bytes, whose checksum is removed as in `on_message`."""

    def mutate(content: bytes, random: Random, home: Home) -> bytes:
        return mutation(_foreign(content, random).SerializeToString(deterministic=True), random, home)

    mutate.__name__ = mutation.__name__
    return mutate


def _foreign(content: bytes, random: Random) -> ModelProto:
    model = ModelProto.FromString(content)
    if random.randrange(4):
        _forget(model, CHECKSUM)
    return model


CHANGES: tuple[Change, ...] = (
    swap_nodes,
    remove_nodes,
    repeat_node,
    make_cycle,
    rename_value,
    repeat_name,
    rename_ports,
    change_operator,
    change_weight_type,
    change_port_type,
    change_port_kind,
    change_port_shape,
    change_weight_shape,
    enlarge_weight,
    change_data,
    spoil_integers,
    poison_weights,
    change_scales,
    add_huge_constant,
    change_attribute,
    change_convolution,
    drop_attributes,
    change_opset,
    set_opset,
    change_ir_version,
    change_metadata,
    drop_metadata,
    drop_field,
    add_branch,
    add_loop,
    add_function,
    point_outside,
    point_outside_in_branch,
    point_outside_in_attribute,
    point_outside_in_sparse,
    point_outside_in_function,
)
ONNX: tuple[Mutation, ...] = (*map(on_bytes, (*BYTES, break_utf8, nest_deeply)), *map(on_message, CHANGES))
