"""Ways to spoil a .pt2 file: code in its program, pickles for tensors, programs that are another's."""

import io
import json
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import torch

from tools.tests.hostile.home import Home
from tools.tests.hostile.spoil_bytes import Code, Mutation, change_value, repacked

PROGRAM = "models/model.json"
_WEIGHTS = "data/weights/model_weights_config.json"
_EXAMPLES = "data/sample_inputs/model.pt"


def bare(content: bytes) -> bytes:
    """Return an archive without its metadata, which has the hashes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return repacked(content, {name: lambda _: None for name in archive.namelist() if "/extra/" in name})


def _changing(name: str, change: Callable[[Any, Random, Home], None]) -> Mutation:
    def spoil(content: bytes, random: Random, home: Home) -> bytes:
        def edit(inner: bytes) -> bytes:
            document = json.loads(inner)
            change(document, random, home)
            return json.dumps(document).encode()

        return _in(content if random.random() < 0.2 else bare(content), name, edit)

    spoil.__name__ = change.__name__
    return spoil


def _in(content: bytes, name: str, edit: Callable[[bytes], bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (full,) = (each for each in archive.namelist() if each.endswith(name))
    return repacked(content, {full: edit})


def _nodes(program: Any) -> list[Any]:
    nodes: list[Any] = program["graph_module"]["graph"]["nodes"]
    return nodes


def add_guard(program: Any, random: Random, home: Home) -> None:
    """Add a guard that makes a file. torch.export executes guards."""
    program["guards_code"].append(f"open({str(home.escaped)!r}, 'w') is not None")


def add_expression(program: Any, random: Random, home: Home) -> None:
    """Let the expression of a size make a file. torch.export evaluates it."""
    sizes = random.choice([*program["graph_module"]["graph"]["tensor_values"].values()])["sizes"]
    sizes[:1] = [{"as_expr": {"expr_str": f"open({str(home.escaped)!r}, 'w') and Symbol('s1')", "hint": None}}]


def add_keyword(program: Any, random: Random, home: Home) -> None:
    """Put code into the name of an argument, of which torch.export writes Python."""
    argument = random.choice(_nodes(program))["inputs"][0]
    argument |= {"name": f"a=open({str(home.escaped)!r}, 'w'), b", "kind": 2}


def call_another(program: Any, random: Random, home: Home) -> None:
    """Call another function of PyTorch than an operator of the network."""
    functions = ("torch.hub.load", "torch.ops.aten.from_file.default", "torch.ops.evil.run.default", "_operator.call")
    random.choice(_nodes(program))["target"] = random.choice(functions)


def change_operand(program: Any, random: Random, home: Home) -> None:
    """Change a number of an operator, which may still load."""
    numbers = [
        each["arg"]
        for node in _nodes(program)
        for each in node["inputs"]
        if {*each["arg"]} & {"as_int", "as_ints", "as_float"}
    ]
    arg = random.choice(numbers)
    (key,) = arg
    number = random.choice((0, -1, 2, 7, 2**31, 2**62))
    arg[key] = float(number) if key == "as_float" else [number] * 2 if key == "as_ints" else number


def swap_operands(program: Any, random: Random, home: Home) -> None:
    """Let an operator read another value, which may have another size, or come later."""
    values = [each["arg"] for node in _nodes(program) for each in node["inputs"] if "as_tensor" in each["arg"]]
    first, second = random.sample(values, 2)
    first["as_tensor"], second["as_tensor"] = second["as_tensor"], first["as_tensor"]


def change_tensor(config: Any, random: Random, home: Home) -> None:
    """Change what the file says of a tensor: shape, strides, dtype, or that it is a pickle."""
    payload = random.choice([*config["config"].values()])
    meta = payload["tensor_meta"]
    number = random.choice((0, -1, 3, 2**40, 2**63))
    random.choice(
        (
            lambda: meta["sizes"].append({"as_int": number}),
            lambda: meta["strides"].insert(0, {"as_int": number}),
            lambda: meta.update(storage_offset={"as_int": number}),
            lambda: meta.update(dtype=number),
            lambda: payload.update(use_pickle=True),
            lambda: payload.update(path_name="../escaped"),
        )
    )()


def add_pickle(content: bytes, random: Random, home: Home) -> bytes:
    """Put code into the example inputs, which torch.export unpickles."""
    buffer = io.BytesIO()
    torch.save(Code(str(home.escaped)), buffer)
    return _in(content, _EXAMPLES, lambda _: buffer.getvalue())


def change_program(content: bytes, random: Random, home: Home) -> bytes:
    """Change or remove any value of the program."""
    return _in(bare(content), PROGRAM, lambda inner: change_value(inner, random, home))


PT2: tuple[Mutation, ...] = (
    *(_changing(PROGRAM, change) for change in (add_guard, add_expression, add_keyword, call_another)),
    *(_changing(PROGRAM, change) for change in (change_operand, swap_operands) * 2),
    _changing(_WEIGHTS, change_tensor),
    add_pickle,
    change_program,
)
