"""The form of the programs that are accepted: those of this network, as torch.export writes them.

A program is JSON, but torch.export makes Python of it: it evaluates the expressions of sizes and the guards, looks up
operators by their dotted names, and writes a function with the names of the values. So every string has a form here
from which no other code can come.
"""

import re
from typing import Any

from exporters.pt2.grammar import Just, Optionally, Pattern, Table, Text
from exporters.support.enlarging import LARGEST_PADDING

OPERATORS = frozenset(
    f"torch.ops.aten.{name}"
    for name in (
        "adaptive_avg_pool2d.default",
        "add.Tensor",
        "avg_pool2d.default",
        "batch_norm.default",
        "cat.default",
        "chunk.default",
        "clamp.default",
        "conv2d.default",
        "detach_.default",
        "div.Tensor",
        "expand_as.default",
        "full.default",
        "hardsigmoid.default",
        "hardswish.default",
        "lift_fresh_copy.default",
        "max_pool2d.default",
        "mean.dim",
        "mul.Tensor",
        "relu.default",
        "rsub.Scalar",
        "sigmoid.default",
        "slice.Tensor",
        "sub.Tensor",
        "tanh.default",
        "transpose.int",
        "upsample_bilinear2d.vec",
        "view.default",
    )
)
"""The operators of the network: none of them reads a file, or draws numbers."""

DTYPES = {5: "int64", 6: "float16", 7: "float32"}
"""The dtypes of tensors, by torch.export's numbers."""

NAME = re.compile(r"(?!torch$|device$|inf$|nan$)[a-z][a-z0-9_]*", re.ASCII | re.IGNORECASE)
_PARAMETER = re.compile(r"(?!padding$)[a-z][a-z0-9_]*")
KEY = re.compile(r"[a-z]\w*(\.[a-z0-9]\w*)*", re.ASCII)
BATCH = re.compile(r"s\d{1,4}", re.ASCII)

_NONE = type(None)
_SYMBOL = re.compile(r"Symbol\('s\d{1,4}', positive=True, integer=True\)", re.ASCII)
_GUARD = re.compile(
    r"L\['(src|r[1-4]i)'\]\.size\(\)\[0\] == (1|L\['(src|r[1-4]i)'\]\.size\(\)\[0\])"
    r"( or L\['r[1-4]i'\]\.size\(\)\[0\] == 1)?"
)
_ORIGIN = re.compile(r"[\w.,;@<>()\[\]' -]*", re.ASCII)
"""Modules and functions that a node comes from. torch.export splits such a text, and does nothing else with it."""

_INT = {"as_int": int}
_SIZE = (_INT, {"as_expr": {"expr_str": _SYMBOL, "hint": (_INT, _NONE)}})
_CPU = {"type": Just("cpu"), "index": Just(None)}
_TENSOR = {"name": NAME}
META = {
    "dtype": tuple(map(Just, DTYPES)),
    "sizes": [_SIZE],
    "strides": [_SIZE],
    "storage_offset": _INT,
    "layout": Just(7),  # strided
    "device": _CPU,
    "requires_grad": bool,
}
_ARGUMENT = (
    {"as_tensor": _TENSOR},
    {"as_tensors": [_TENSOR]},
    {"as_none": Just(True)},
    {"as_bool": bool},
    {"as_int": int},
    {"as_ints": [int]},
    {"as_float": float},
    {"as_floats": [float]},
    {"as_scalar_type": int},
    {"as_device": _CPU},
)
_KIND = (Just(1), Just(2))
_PADDING = {"as_ints": [tuple(map(Just, range(LARGEST_PADDING + 1)))]}
_NODE = {
    "inputs": [
        (
            {"name": _PARAMETER, "arg": _ARGUMENT, "kind": _KIND},
            {"name": Just("padding"), "arg": _PADDING, "kind": _KIND},
        )
    ],
    "outputs": [({"as_tensor": _TENSOR}, {"as_tensors": [_TENSOR]})],
    "metadata": Optionally({}, {"nn_module_stack": _ORIGIN, "torch_fn": _ORIGIN}),
    "is_hop_single_tensor_return": Just(None),
}
_SINCE_2_10 = {"name": NAME}
_GRAPH = {
    "inputs": [{"as_tensor": _TENSOR}],
    "outputs": [{"as_tensor": _TENSOR}],
    "tensor_values": Table(NAME, META),
    "is_single_tensor_return": Just(False),
    **dict.fromkeys(("sym_int_values", "sym_bool_values", "sym_float_values", "custom_obj_values"), Just({})),
}
_SIGNATURE = {
    "input_specs": [
        (
            {"parameter": {"arg": _TENSOR, "parameter_name": KEY}},
            {"buffer": {"arg": _TENSOR, "buffer_name": KEY, "persistent": Just(True)}},
            {"tensor_constant": {"arg": _TENSOR, "tensor_constant_name": KEY}},
            {"user_input": {"arg": {"as_tensor": _TENSOR}}},
        )
    ],
    "output_specs": [{"user_output": {"arg": {"as_tensor": _TENSOR}}}],
}


def _tree(kind: str, context: str, children: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": kind, "context": context, "children_spec": children}


_LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
_ARGUMENTS = _tree(
    "builtins.tuple", "null", [_tree("builtins.tuple", "null", [_LEAF] * 5), _tree("builtins.dict", "[]", [])]
)
_CALL = {
    "inputs": Just([]),
    "outputs": Just([]),
    "in_spec": Text(Just([1, _ARGUMENTS])),
    "out_spec": Text(Just([1, _tree("builtins.tuple", "null", [_LEAF] * 6)])),
    "forward_arg_names": [NAME],
}


def _program(operators: Pattern) -> dict[str, Pattern]:
    return {
        "graph_module": {
            "graph": {**_GRAPH, "nodes": [Optionally({**_NODE, "target": operators}, _SINCE_2_10)]},
            "signature": _SIGNATURE,
            "module_call_graph": [{"fqn": re.compile(r"[\w.]*", re.ASCII), "signature": (_CALL, _NONE)}],
            "metadata": Just({}),
            "treespec_namedtuple_fields": Just({}),
        },
        "opset_version": Table(re.compile("aten"), int),
        "range_constraints": Table(BATCH, {"min_val": int, "max_val": (int, _NONE)}),
        "schema_version": {"major": int, "minor": int},
        "verifiers": Just(["TRAINING"]),
        "torch_version": re.compile(r"[\w.+]{1,60}", re.ASCII),
        "guards_code": [_GUARD],
    }


PROGRAM = _program(re.compile("|".join(map(re.escape, sorted(OPERATORS)))))
ANY_OPERATORS = _program(re.compile(r".{1,200}"))
"""Programs with any operators. `scan` lists them; no such program is loaded."""

PAYLOAD = {"path_name": KEY, "is_param": bool, "use_pickle": Just(False), "tensor_meta": META}
TENSORS = {"config": Table(KEY, PAYLOAD)}
"""The table of weights, and that of constants: where the numbers of each are. None of them is a pickle."""
