"""Read an ExecuTorch program as a `Dataflow`."""

from collections.abc import Iterator, Mapping

import numpy as np

from exporters.artifact import INPUTS, Artifact
from exporters.executorch.artifact import CONVOLUTIONS
from exporters.executorch.load import read
from exporters.executorch.xnnpack import Operation
from exporters.recovery.dataflow import (
    FUNCTIONS,
    SAME,
    Apply,
    Dataflow,
    DataflowNode,
    Interval,
    Kernel,
    RecoveryError,
    is_helper,
    with_constants,
)

_ROLES = dict(zip(INPUTS, ("src", "r1", "r2", "r3", "r4"), strict=False))

_FUNCTIONS: Mapping[str, Apply] = {
    "Add": np.add,
    "Subtract": np.subtract,
    "Multiply": np.multiply,
    "Div": np.divide,
    "Hardswish": FUNCTIONS["hardswish"],
    "Sigmoid": FUNCTIONS["sigmoid"],
    "Tanh": np.tanh,
    **dict.fromkeys(("StaticTranspose", "Copy", "Clamp"), SAME),
}
"""Functions of whole operations. That of a Clamp is in its limits."""


def dataflow(artifact: Artifact) -> Dataflow:
    """Return the graph of a file. Raises ArtifactError if it is damaged, RecoveryError if it is unusable."""
    model = read(artifact.path)
    constants = {
        str(number): Interval.of(value.data) for number, value in model.values.items() if value.data is not None
    }
    nodes = tuple(node for operation in model.operations for node in _nodes(operation, constants))
    return Dataflow(
        nodes=nodes,
        inputs={str(tensor.value): role for tensor, role in zip(model.inputs, _ROLES.values(), strict=True)},
        outputs=frozenset(str(tensor.value) for tensor in model.outputs),
        constants=with_constants(nodes, constants),
    )


def _nodes(operation: Operation, constants: Mapping[str, Interval]) -> Iterator[DataflowNode]:
    """Yield the node of an operation, and after it the limits of its result, as of a ReLU."""
    inputs, output, kernel = tuple(map(str, operation.inputs)), str(operation.output), None
    name = f"{operation.kind} {output}"
    if operation.kind in CONVOLUTIONS:
        kernel, inputs = _kernel(name, operation, constants), inputs[:1]
        if is_helper(kernel):
            kernel = None
    apply = _FUNCTIONS.get(operation.kind)
    if (operation.low, operation.high) == (-np.inf, np.inf):
        yield DataflowNode(name=name, inputs=inputs, outputs=(output,), kernel=kernel, apply=apply)
        return
    free = (f"{output}:free",)
    yield DataflowNode(name=name, inputs=inputs, outputs=free, kernel=kernel, apply=apply)
    low, high = operation.low, operation.high
    yield DataflowNode(name=f"limits of {name}", inputs=free, outputs=(output,), apply=lambda x: np.clip(x, low, high))


def _kernel(name: str, operation: Operation, constants: Mapping[str, Interval]) -> Kernel:
    weight, bias = (constants.get(str(number)) for number in operation.inputs[1:])
    if weight is None or weight.values.ndim != 4:
        raise RecoveryError(f"its {name} has no constant weights of 4 axes")
    depthwise = operation.kind == "DepthwiseConv2d"
    weight = weight.map(lambda x: x.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2)))
    if bias is not None and bias.values.shape != weight.values.shape[:1]:
        raise RecoveryError(f"its {name} has a bias of another length")
    options = operation.options
    return Kernel(
        weight=weight,
        bias=bias if bias is not None and bias.values.any() else None,
        stride=(options["stride_h"], options["stride_w"]),
        dilation=(options["dilation_h"], options["dilation_w"]),
        groups=options["groups"],
    )
