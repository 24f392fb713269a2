"""Ways to spoil a LiteRT model: its flatbuffer. The hash is made anew, so that only the model itself can tell."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from exporters.support.own_metadata import HASH, UNHASHED, hashed
from tools.tests.hostile.home import Home
from tools.tests.hostile.spoil_bytes import Mutation

ODD_NUMBERS = (0, -1, 1, 3, 255, 65536, 2**31 - 1, -(2**31))
KINDS = (0, 2, 3, 4, 6, 18, 22, 23, 32, 34, 45, 55, 75, 114, 118, 119, 130, 206)
"""Numbers of operations: some of the network's, RESHAPE, CUSTOM, WHILE, IF and others."""


def change_shape(model: Any, random: Random) -> None:
    tensor = random.choice([each for each in model.subgraphs[0].tensors if each.shape is not None and len(each.shape)])
    shape = [*tensor.shape]
    shape[random.randrange(len(shape))] = random.choice(ODD_NUMBERS)
    tensor.shape = shape


def change_type(model: Any, random: Random) -> None:
    random.choice(model.subgraphs[0].tensors).type = random.choice((0, 1, 2, 3, 5, 9, 17))


def change_kind(model: Any, random: Random) -> None:
    code = random.choice(model.operatorCodes)
    code.builtinCode = random.choice(KINDS)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.customCode = random.choice((None, b"Evil", b"TFLite_Detection_PostProcess"))


def change_option(model: Any, random: Random) -> None:
    operation = random.choice([each for each in model.subgraphs[0].operators if each.builtinOptions is not None])
    numbers = {name: value for name, value in vars(operation.builtinOptions).items() if isinstance(value, int)}
    if numbers:
        name = random.choice([*numbers])
        values = (0, 1) if isinstance(numbers[name], bool) else (0, 1, 2, 3, 100)
        setattr(operation.builtinOptions, name, random.choice(values))


def wire(model: Any, random: Random) -> None:
    graph = model.subgraphs[0]
    operation = random.choice(graph.operators)
    side = random.choice(("inputs", "outputs"))
    numbers = [*getattr(operation, side)]
    numbers[random.randrange(len(numbers))] = random.choice((-1, 0, 2**31 - 1, random.randrange(len(graph.tensors))))
    setattr(operation, side, numbers)


def change_buffer(model: Any, random: Random) -> None:
    tensor = random.choice(model.subgraphs[0].tensors)
    tensor.buffer = random.choice((0, 2**32 - 1, random.randrange(len(model.buffers))))


def change_numbers(model: Any, random: Random) -> None:
    buffer = random.choice([each for each in model.buffers if each.data is not None and len(each.data) >= 4])
    values = np.array(buffer.data, np.uint8)[: len(buffer.data) // 4 * 4].view(np.float32)
    values[random.randrange(len(values))] = random.choice((np.nan, np.inf, 1e38, -1e30, 1e-40))
    buffer.data = values.view(np.uint8)


def drop_operation(model: Any, random: Random) -> None:
    del model.subgraphs[0].operators[random.randrange(len(model.subgraphs[0].operators))]


def repeat_operation(model: Any, random: Random) -> None:
    operations = model.subgraphs[0].operators
    operations.insert(random.randrange(len(operations)), random.choice(operations))


def change_signature(model: Any, random: Random) -> None:
    signature = model.signatureDefs[0]
    entry = random.choice((*signature.inputs, *signature.outputs))
    if random.random() < 0.5:
        entry.name = random.choice((b"src", b"", b"r1i", b"\xff\xfe", b"\x1b[2J"))
    else:
        entry.tensorIndex = random.choice((0, 5, 2**31, 2**32 - 1))


def change_metadata(model: Any, random: Random) -> None:
    entry = random.choice(("downsample_ratio", "refiner", "resolution"))
    value = random.choice(("", "nan", "1", "0", "-1", "1e999", "0.25", "9" * 5000, "\x1b[2J"))
    change_metadata_to(model, entry, value)


def change_metadata_to(model: Any, entry: str, value: str) -> None:
    _metadata(model, lambda metadata: metadata | {entry: value})


def add_step(model: Any, random: Random) -> None:
    """Quantise a tensor by steps that do not fit it."""
    quantised = schema.QuantizationParametersT()
    quantised.scale = [random.choice((0.0, np.nan, 1e30, -1.0))] * random.choice((1, 2, 5000))
    quantised.zeroPoint = [random.choice((0, 2**40, -(2**62)))] * random.choice((1, 2))
    quantised.quantizedDimension = random.choice((0, 3, 7, -1))
    random.choice(model.subgraphs[0].tensors).quantization = quantised


def _metadata(model: Any, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    for entry in model.metadata:
        if entry.name == b"rvm_export":
            found = json.loads(bytes(bytearray(model.buffers[entry.buffer].data)))
            model.buffers[entry.buffer].data = [*json.dumps(change(found)).encode()]


def repacked(content: bytes, change: Callable[[Any], None]) -> bytes:
    """Return a model that was changed, with a hash that fits it."""
    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    _metadata(model, lambda metadata: metadata | {HASH: UNHASHED})
    change(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return hashed(bytes(builder.Output()))


def on_model(change: Callable[[Any, Random], None]) -> Mutation:
    """Return a mutation of a file that changes its model, one to three times."""

    def mutate(content: bytes, random: Random, home: Home) -> bytes:
        def spoil(model: Any) -> None:
            for _ in range(random.choice((1, 1, 3))):
                change(model, random)

        return repacked(content, spoil)

    mutate.__name__ = change.__name__
    return mutate


def change_offset(content: bytes, random: Random, home: Home) -> bytes:
    """Change an offset, a length or a count of the flatbuffer. Its tables lie at both ends."""
    spoiled = bytearray(repacked(content, lambda _: None))
    for _ in range(random.choice((1, 1, 4))):
        at = random.randrange(0, 40_000, 4)
        at = at if random.random() < 0.8 else len(spoiled) // 4 * 4 - 4 - at
        spoiled[at : at + 4] = random.choice((random.randbytes(4), b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff" * 4))
    claimed = bytes(spoiled)
    start = claimed.find(HASH.encode())
    if start >= 0:  # the hash stands behind its name, as JSON
        start = claimed.find(b'": "', start) + 4
        return hashed(claimed[:start] + UNHASHED.encode() + claimed[start + 64 :])
    return claimed


LITERT: tuple[Mutation, ...] = (
    *map(
        on_model,
        (
            *(change_shape, change_type, change_kind, change_option, wire, change_buffer, change_numbers),
            *(drop_operation, repeat_operation, change_signature, change_metadata, add_step),
        ),
    ),
    change_offset,
    change_offset,
)
