"""ONNX files that ask for other files or for endless work, and code under other names."""

import shutil
import warnings
from collections.abc import Callable
from random import Random

import torch
from onnx import ModelProto, TensorProto, helper

from tools.tests.hostile.constructions.construction import (
    ESC,
    Build,
    Construction,
    changed_json,
    model_of,
    released,
    sha256,
)
from tools.tests.hostile.home import Home
from tools.tests.hostile.spoil_bytes import Mutation
from tools.tests.hostile.spoil_onnx import (
    CHECKSUM,
    add_function,
    add_loop,
    nest_deeply,
    point_outside,
    point_outside_in_branch,
)
from tools.tests.hostile.spoil_pt2 import PT2, bare


class Code(torch.nn.Module):
    """A module that makes a file when it is loaded, before anything of it is called."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state[0], state[1]
        torch.from_file(self.path, True, 4, dtype=torch.uint8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def write_code(home: Home, name: str) -> None:
    """Write a TorchScript file that makes `home.escaped` when it is loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Code(str(home.escaped))).save(str(home.files / name))


def _code(name: str, kind: str) -> Build:
    def build(home: Home) -> Construction:
        write_code(home, name)
        return Construction(kind, home.files / name)

    return build


def code_in_a_release(home: Home) -> Construction:
    """List TorchScript as ONNX in a release, without sums."""
    write_code(home, "code")

    def change(folder: object) -> None:
        path = model_of(folder)  # type: ignore[arg-type]
        shutil.move(home.files / "code", path)

        def list_it(manifest: dict) -> None:
            manifest["artifacts"][0] |= {"sha256": sha256(path), "bytes": path.stat().st_size}

        changed_json(path.parent / "manifest.json", list_it)
        (path.parent / "SHA256SUMS").unlink()

    return released(home, change)


def _onnx(change: Callable[[ModelProto, Random, Home], None], source: str = "model.onnx") -> Build:
    def build(home: Home) -> Construction:
        model = ModelProto.FromString((home.good / source).read_bytes())
        kept = [each for each in model.metadata_props if each.key != CHECKSUM]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        change(model, Random(0), home)
        path = home.files / "x.onnx"
        path.write_bytes(model.SerializeToString())
        return Construction("onnx", path)

    return build


def huge_weight(model: ModelProto, random: Random, home: Home) -> None:
    """Claim a weight of terabytes without data."""
    weight = model.graph.initializer[0]
    weight.dims[:] = [2**20, 2**20, 2**10]
    weight.ClearField("raw_data")


def negative_weight(model: ModelProto, random: Random, home: Home) -> None:
    model.graph.initializer[0].dims[0] = -1


def huge_input(model: ModelProto, random: Random, home: Home) -> None:
    """Claim a size for which even one frame takes terabytes."""
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = 2**31


def nan_weights(model: ModelProto, random: Random, home: Home) -> None:
    for weight in model.graph.initializer:
        if len(weight.dims) == 4 and weight.data_type == TensorProto.FLOAT:
            weight.raw_data = b"\xff" * len(weight.raw_data)


def foreign_operator(model: ModelProto, random: Random, home: Home) -> None:
    model.opset_import.append(helper.make_opsetid("evil", 1))
    model.graph.node[0].domain = "evil"


def huge_output(model: ModelProto, random: Random, home: Home) -> None:
    """Let a node make 8 TB of zeros, which the file's own size does not show."""
    model.graph.initializer.append(helper.make_tensor("own.size", TensorProto.INT64, [2], [2**21, 2**20]))
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["own.size"], ["own.zeros"]))
    model.graph.node.insert(1, helper.make_node("ReduceMax", ["own.zeros"], ["own.zero"], keepdims=0))
    node = next(node for node in model.graph.node if "pha" in node.output)
    node.output[[*node.output].index("pha")] = "own.pha"
    model.graph.node.append(helper.make_node("Add", ["own.pha", "own.zero"], ["pha"]))


def texts_that_terminals_act_on(model: ModelProto, random: Random, home: Home) -> None:
    model.producer_name = ESC
    for entry in model.metadata_props:
        if entry.key in ("licence", "source", "checkpoint"):
            entry.value = ESC
    model.metadata_props.add(key=ESC, value=f"a\nrvm-export: ok{ESC}")


def names_that_terminals_act_on(model: ModelProto, random: Random, home: Home) -> None:
    model.graph.output[1].name = ESC


def deep_nesting(home: Home) -> Construction:
    """Nest graphs five thousand deep."""
    random = next(Random(k) for k in range(100) if Random(k).choice((20, 40, 5_000)) == 5_000)
    (home.files / "x.onnx").write_bytes(nest_deeply((home.good / "model.onnx").read_bytes(), random, home))
    return Construction("onnx", home.files / "x.onnx")


def _pt2(change: Mutation) -> Build:
    """Spoil a .pt2 file that has no hashes of itself."""

    def build(home: Home) -> Construction:
        path = home.files / "x.pt2"
        path.write_bytes(change(bare((home.good / "model.pt2").read_bytes()), Random(0), home))
        return Construction("model", path)

    return build


def lying_length(home: Home) -> Construction:
    """Claim a field of 2 GB in a file of 100 bytes."""
    (home.files / "x.onnx").write_bytes(b"\x08\x08\x3a\xff\xff\xff\xff\x07" + bytes(100))
    return Construction("onnx", home.files / "x.onnx")


def _renamed(source: str, name: str, kind: str) -> Build:
    """Give a good file the suffix of another kind."""

    def build(home: Home) -> Construction:
        shutil.copy(home.good / source, home.files / name)
        return Construction(kind, home.files / name)

    return build


MODELS: dict[str, Build] = {
    **{f"torch.export, {way.__name__.replace('_', ' ')}": _pt2(way) for way in PT2},
    "torch.export named x.torchscript": _renamed("model.pt2", "x.torchscript", "model"),
    "TorchScript named x.onnx": _code("x.onnx", "onnx"),
    "TorchScript named x.torchscript": _code("x.torchscript", "model"),
    "TorchScript named x.pth": _code("x.pth", "weights"),
    "TorchScript named x.zip": _code("x.zip", "tfjs"),
    "TorchScript named x.mlmodel": _code("x.mlmodel", "model"),
    "TorchScript in a release as ONNX, without sums": code_in_a_release,
    "ONNX with weights in another file": _onnx(point_outside),
    "ONNX with weights in another file, in a branch": _onnx(point_outside_in_branch),
    "ONNX with a weight of terabytes": _onnx(huge_weight),
    "ONNX with a negative size": _onnx(negative_weight),
    "ONNX with an input of terabytes": _onnx(huge_input, "fixed.onnx"),
    "ONNX with an output of terabytes": _onnx(huge_output),
    "ONNX with weights that are not numbers": _onnx(nan_weights),
    "ONNX with a foreign operator": _onnx(foreign_operator),
    "ONNX with an endless loop": _onnx(add_loop),
    "ONNX with a function that calls itself": _onnx(add_function),
    "ONNX with metadata that terminals act on": _onnx(texts_that_terminals_act_on),
    "ONNX with names that terminals act on": _onnx(names_that_terminals_act_on),
    "ONNX nested five thousand deep": deep_nesting,
    "ONNX that claims 2 GB": lying_length,
    "ONNX named x.pth": _renamed("model.onnx", "x.pth", "weights"),
    "a .pth named x.onnx": _renamed("weights.pth", "x.onnx", "onnx"),
    "a .pth named x.safetensors": _renamed("weights.pth", "x.safetensors", "weights"),
    "a zip file named x.mlmodel": _renamed("tfjs.zip", "x.mlmodel", "model"),
    "CoreML named x.onnx": _renamed("model.mlmodel", "x.onnx", "onnx"),
}
