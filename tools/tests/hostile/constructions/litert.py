"""LiteRT models that ask for more than a network needs."""

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from exporters.litert.load import HASH
from exporters.support.flatbuffer import root
from tools.tests.hostile.constructions.construction import ESC, Build, Construction, copied, sparse
from tools.tests.hostile.home import SECRET, Home
from tools.tests.hostile.spoil_litert import change_metadata_to, repacked

NAME = "model.tflite"


def _litert(change: Callable[[Any], None]) -> Build:
    def build(home: Home) -> Construction:
        path = copied(home, NAME)
        path.write_bytes(repacked(path.read_bytes(), change))
        return Construction("model", path)

    return build


def custom_operation(model: Any) -> None:
    model.operatorCodes[0].builtinCode, model.operatorCodes[0].deprecatedBuiltinCode = 32, 32
    model.operatorCodes[0].customCode = b"Evil" + ESC.encode()


def loop(model: Any) -> None:
    model.operatorCodes[0].builtinCode, model.operatorCodes[0].deprecatedBuiltinCode = 119, 119


def graph_that_calls_itself(model: Any) -> None:
    model.subgraphs.append(model.subgraphs[0])


def tensor_of_terabytes(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors[graph.operators[20].outputs[0]].shape = [1, 1 << 20, 1 << 20, 64]


def names_that_terminals_act_on(model: Any) -> None:
    for tensor in model.subgraphs[0].tensors:
        tensor.name = ESC.encode()
    model.subgraphs[0].operators[3].inputs = [2**31 - 1]


def data_behind_the_model(model: Any) -> None:
    for buffer in model.buffers[1:]:
        buffer.data, buffer.offset, buffer.size = None, 2**40, 2**40


def data_in_other_files(model: Any) -> None:
    """Add a file's name and a place in it, from which a runtime may take weights."""
    model.externalBufferGroups = [schema.ExternalBufferGroupT(name=f"../outside/{SECRET}")]
    model.externalBuffers = [schema.ExternalBufferT(id=1, group=0, offset=0, length=100)]


def shared_data(model: Any) -> None:
    """Let 60,000 tensors have the same data, the largest."""
    graph = model.subgraphs[0]
    sizes = [0 if buffer.data is None else len(buffer.data) for buffer in model.buffers]
    graph.tensors += [max(graph.tensors, key=lambda tensor: sizes[tensor.buffer])] * 60_000


def shared_tables(home: Home) -> Construction:
    """Write a model of four million graphs, all of them one table."""
    builder = flatbuffers.Builder(1024)
    graph = schema.SubGraphT().Pack(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    content = bytes(builder.Output())
    # The vector lies behind the model's table: put one of millions at the end, each with an offset to the last table.
    count, start = 4_000_000, len(content)
    table = int.from_bytes(content[:4], "little")
    layout = table - int.from_bytes(content[table : table + 4], "little", signed=True)
    field = table + int.from_bytes(content[layout + 8 : layout + 10], "little")
    first = field + int.from_bytes(content[field : field + 4], "little") + 4
    target = first + int.from_bytes(content[first : first + 4], "little")
    offsets = b"".join(((target - start - 4 - 4 * k) % 2**32).to_bytes(4, "little") for k in range(count))
    content = content[:field] + (start - field).to_bytes(4, "little") + content[field + 4 :]
    path = home.files / NAME
    path.write_bytes(content + count.to_bytes(4, "little") + offsets)
    return Construction("model", path)


def shared_inputs(home: Home) -> Construction:
    """Write a model of four thousand operations, all of them one with three million inputs."""

    def fill(model: Any) -> None:
        for buffer in model.buffers:
            buffer.data = None
        first = model.subgraphs[0].operators[0]
        first.inputs = np.zeros(3_000_000, np.int32)
        model.subgraphs[0].operators = [first, *model.subgraphs[0].operators[1:2] * 4000]

    content = bytearray(repacked((home.good / NAME).read_bytes(), fill))
    (graph,) = root(bytes(content)).tables(2)
    begin, count = graph._vector(3, 4)
    target = graph.tables(3)[0].at
    content[begin : begin + 4 * count] = (target - begin - 4 * np.arange(count)).astype("<u4").tobytes()
    path = home.files / NAME
    path.write_bytes(content)
    return Construction("model", path)


def beyond_two_gigabytes(home: Home) -> Construction:
    return Construction("model", sparse(home.files / NAME, b"\x1c\0\0\0TFL3"))


LITERT: dict[str, Build] = {
    "LiteRT with a custom operation": _litert(custom_operation),
    "LiteRT with a loop": _litert(loop),
    "LiteRT with two graphs": _litert(graph_that_calls_itself),
    "LiteRT with tensors of terabytes": _litert(tensor_of_terabytes),
    "LiteRT with names that terminals act on": _litert(names_that_terminals_act_on),
    "LiteRT with data behind the model": _litert(data_behind_the_model),
    "LiteRT with data in other files": _litert(data_in_other_files),
    "LiteRT with 60,000 tensors of the same data": _litert(shared_data),
    "LiteRT with 4,000 operations of the same 3 million inputs": shared_inputs,
    "LiteRT with four million tables": shared_tables,
    "LiteRT of 300 GB": beyond_two_gigabytes,
    "LiteRT with metadata that terminals act on": _litert(lambda model: change_metadata_to(model, "checkpoint", ESC)),
    "LiteRT with a hash that is no text": _litert(lambda model: change_metadata_to(model, HASH, "\ud800")),
    "LiteRT with a ratio of a million digits": _litert(
        lambda model: change_metadata_to(model, "downsample_ratio", "9" * 1_000_000)
    ),
}
