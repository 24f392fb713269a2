"""Read one function of an ML program as a graph.

The program reads and writes states by name. Here each write is a new value, so that states are inputs and outputs of
the graph.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from exporters.artifact import ArtifactError
from exporters.coreml.blobs import Blob
from exporters.coreml.evaluator.bind import bind
from exporters.coreml.evaluator.graph import Graph, Instruction
from exporters.coreml.evaluator.mil_constants import CONSTANTS
from exporters.coreml.evaluator.mil_ops import OPERATIONS, identity
from exporters.coreml.evaluator.values import Constant, TensorType, constant, tensor_type
from rvm_model.errors import first_line

_MOST_CONSTANTS = 100_000_000
"""The limit of the numbers in a function's constants. ResNet50 with 8-bit weights has 54 million."""

_NAME = "name"  # an attribute of every operation, for people


@dataclass(frozen=True, kw_only=True, eq=False)
class Function:
    """A graph, and the types of its inputs. `states` are inputs too, and `after` names the new value of each."""

    graph: Graph
    inputs: Mapping[str, TensorType]
    states: Mapping[str, TensorType]
    after: Mapping[str, str]


def function(program: Any, name: str, weights: Mapping[str, Mapping[int, Blob]]) -> Function:
    """Return a function of a `Program` message.

    Raises:
        ArtifactError: the program has no function of that name, or the function has an unknown operation, or is
            inconsistent.
    """
    if name not in program.functions:
        raise ArtifactError(f"it describes a function {name[:100]!r}, which its program does not have")
    message = program.functions[name]
    if message.opset not in message.block_specializations:
        raise ArtifactError(f"its function {name[:100]!r} has no operations for its own opset {message.opset[:100]!r}")
    block = message.block_specializations[message.opset]
    builder = _Builder(weights=weights)
    for each in message.inputs:
        builder.add_input(each.name, each.type)
    for operation in block.operations:
        builder.add(operation)
    after = dict(builder.current)
    return Function(
        graph=Graph(
            nodes=builder.nodes,
            constants={key: value for key, value in builder.constants.items() if isinstance(value, Tensor)},
            outputs=dict.fromkeys([*block.outputs, *after.values()]).keys(),
        ),
        inputs=builder.inputs,
        states=builder.states,
        after=after,
    )


@dataclass(kw_only=True, eq=False)
class _Builder:
    weights: Mapping[str, Mapping[int, Blob]]
    constants: dict[str, Constant] = field(default_factory=dict)
    inputs: dict[str, TensorType] = field(default_factory=dict)
    states: dict[str, TensorType] = field(default_factory=dict)
    current: dict[str, str] = field(default_factory=dict)
    nodes: list[Instruction] = field(default_factory=list)
    held: int = 0

    def add_input(self, name: str, value_type: Any) -> None:
        if value_type.WhichOneof("type") == "stateType":
            self.states[name] = tensor_type(value_type.stateType.wrappedType)
            self.current[name] = name
        else:
            self.inputs[name] = tensor_type(value_type)

    def add(self, operation: Any) -> None:
        kind = operation.type
        if kind == "const":
            self._add_constant(operation)
        elif kind in CONSTANTS:
            self._add_weight(operation)
        elif kind in _ON_STATES:
            _ON_STATES[kind](self, operation)
        elif kind in OPERATIONS and not operation.blocks:
            bound = bind(OPERATIONS[kind], self._given(operation), self.constants)
            self._add_node(operation, bound, bound.tensors)
        else:
            raise ArtifactError(f"it has an operation {kind[:100]!r}, which is not known here")

    def _add_constant(self, operation: Any) -> None:
        if "val" not in operation.attributes or len(operation.outputs) != 1:
            raise ArtifactError("it has a constant without a value")
        self._hold(operation.outputs[0].name, operation.attributes["val"])

    def _hold(self, name: str, value: Any) -> None:
        """Store the constant of a `Value` message under a name."""
        self._count(tensor_type(value.type))
        if name in self.constants:
            raise ArtifactError(f"it computes {name[:100]!r} twice")
        self.constants[name] = constant(value, self.weights)

    def _count(self, kind: TensorType) -> None:
        """Count a constant before it is made: a palette of few bytes may stand for many values, or many share bytes."""
        self.held += kind.values
        if self.held > _MOST_CONSTANTS:
            raise ArtifactError(f"its constants have more than {_MOST_CONSTANTS} numbers, which no matting network has")

    def _add_weight(self, operation: Any) -> None:
        kind, outputs = operation.type, operation.outputs
        if len(outputs) != 1:
            raise ArtifactError(f"its {kind} has {len(outputs)} outputs instead of 1")
        output = outputs[0]
        declared = tensor_type(output.type)
        self._count(declared)
        bound = bind(CONSTANTS[kind], self._given(operation), self.constants)
        values = [self._tensor(name) for name in bound.tensors]
        try:
            weight = bound(*values)
        except (RuntimeError, ValueError, IndexError, TypeError, OverflowError) as error:
            what = first_line(error, 200)
            raise ArtifactError(f"its {kind} {output.name[:100]!r} cannot be computed: {what}") from error
        if tuple(weight.shape) != declared.shape:
            raise ArtifactError(
                f"its {kind} {output.name[:100]!r} gives {tuple(weight.shape)} and not, as it says, {declared.shape}"
            )
        if output.name in self.constants:
            raise ArtifactError(f"it computes {output.name[:100]!r} twice")
        # The device stores it in fp16 once it is loaded, whatever it computes in.
        self.constants[output.name] = weight.half().float() if declared.dtype == "FLOAT16" else weight

    def _tensor(self, name: str) -> Tensor:
        value = self.constants.get(name)
        if not isinstance(value, Tensor):
            raise ArtifactError(f"it makes a weight of {name[:100]!r}, which is no constant tensor")
        return value

    def _given(self, operation: Any) -> dict[str, list[str]]:
        """Return the operation's parameters by name. Immediate values become named constants."""
        given = {
            parameter: [self._bound(f"{operation.outputs[0].name} {parameter}", each) for each in argument.arguments]
            for parameter, argument in operation.inputs.items()
            if operation.outputs
        }
        for parameter, value in operation.attributes.items():
            if parameter != _NAME:
                given[parameter] = [f"{operation.outputs[0].name} {parameter}"] if operation.outputs else []
                if operation.outputs:
                    self._hold(given[parameter][0], value)
        return given

    def _bound(self, name: str, binding: Any) -> str:
        if binding.WhichOneof("binding") != "value":
            return str(binding.name)
        self._hold(name, binding.value)
        return name

    def _add_node(self, operation: Any, compute: Any, inputs: tuple[str, ...]) -> None:
        self.nodes.append(
            Instruction(
                kind=operation.type,
                inputs=inputs,
                outputs=tuple(output.name for output in operation.outputs),
                types=tuple(tensor_type(output.type) for output in operation.outputs),
                compute=compute,
            )
        )

    def read_state(self, operation: Any) -> None:
        self._add_node(operation, identity, (self.current[self._state(operation)],))

    def write_state(self, operation: Any) -> None:
        """Write a state: later reads return the new value."""
        state = self._state(operation)
        names = [binding.name for binding in operation.inputs["data"].arguments]
        if len(names) != 1:
            raise ArtifactError(f"its write_state gives {len(names)} values for its state {state[:100]!r}")
        written = f"{state} written {len(self.nodes)}"
        self.nodes.append(
            Instruction(
                kind="write_state",
                inputs=(names[0],),
                outputs=(written,),
                types=(self.states[state],),
                compute=identity,
            )
        )
        self.current[state] = written

    def _state(self, operation: Any) -> str:
        names = [binding.name for binding in operation.inputs["input"].arguments]
        if len(names) != 1 or names[0] not in self.states:
            raise ArtifactError(f"its {operation.type} names no state of the program: {str(names)[:100]}")
        return str(names[0])


_ON_STATES = {"read_state": _Builder.read_state, "write_state": _Builder.write_state}

KNOWN = frozenset({"const", *CONSTANTS, *OPERATIONS, *_ON_STATES})
"""Every operation that a program may have here."""
