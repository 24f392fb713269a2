"""Compute CoreML files with torch on the CPU, from the file alone, on a machine without CoreML.

It verifies: graph, weights and their quantisation, names, shapes, the wiring of states, sampling of resizes. It cannot
verify: the arithmetic of Apple's devices, whether their compiler accepts the file, and speed.

Everything is computed in float32. Stored values (weights, inputs, outputs, states) have the file's own precision.
`half` also rounds every value in between if the file declares it float16, as a device would.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters.artifact import ArtifactError
from exporters.coreml.evaluator import mil, nn
from exporters.coreml.evaluator.features import Feature, feature, to_array, to_tensor
from exporters.coreml.evaluator.graph import Graph
from exporters.coreml.package import Stored, read_package

Arrays = Mapping[str, NDArray[Any]]
Size = tuple[int, int]
"""Width and height."""

_MAIN = "main"
"""The name of a program's only function."""


@dataclass(frozen=True, eq=False)
class State:
    """The state of a stateful program between frames. A run writes to it, as Apple's does; `copy` keeps a snapshot."""

    values: dict[str, Tensor]

    def copy(self) -> "State":
        return State(dict(self.values))  # nobody writes to the tensors themselves

    def to_numpy(self) -> dict[str, NDArray[Any]]:
        """Return arrays by name, float16, as the file holds them; they belong to the caller."""
        return {name: value.half().numpy() for name, value in self.values.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """A model, or one function of it, ready to run.

    `kind` is mlProgram or neuralNetwork. `functions` are the names and sizes of all functions in the file. `function`
    is this one, or empty for a neural network. `operations` counts them by kind. `metadata` are the file's user-defined
    entries.
    """

    path: Path
    kind: str
    function: str
    functions: Mapping[str, Size]
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    states: tuple[Feature, ...]
    metadata: Mapping[str, str]
    graph: Graph
    after: Mapping[str, str]

    @property
    def operations(self) -> Mapping[str, int]:
        return Counter(node.kind for node in self.graph.nodes)

    def new_state(self) -> State:
        """Return zeros, as before a clip's first frame; an empty state for a program without states."""
        return State({each.name: torch.zeros(each.shape) for each in self.states})

    def run(
        self, inputs: Arrays, state: State | None = None, *, half: bool = False, rounded: bool = True
    ) -> dict[str, NDArray[Any]]:
        """Return all outputs by name.

        Args:
            inputs: See `features.to_tensor`: images as uint8 pictures, or as float planes from 0 to 255. Optional
                inputs may be left out.
            state: A state of this program, which the run updates. None starts from a new state, which is then
                discarded.
            half: Round every value in between to float16, unless the file declares it float32.
            rounded: True returns images in eight bits, False the values before that: see `features.to_array`.

        Raises:
            ValueError: an input is unknown, missing, or of another shape or dtype.
            ArtifactError: it cannot be computed.
        """
        unknown = sorted(inputs.keys() - {each.name for each in self.inputs})
        if unknown:
            raise ValueError(f"there is no input {unknown[0]!r}; there are {[each.name for each in self.inputs]}")
        state = state or self.new_state()
        given = {each.name: to_tensor(each, inputs.get(each.name)) for each in self.inputs}
        try:
            with torch.inference_mode():
                values = self.graph.run({**given, **state.values}, half)
            outputs = {each.name: to_array(each, values[each.name], rounded) for each in self.outputs}
        except ArtifactError as error:
            raise ArtifactError(f"{self.path} cannot be run: {error}") from error
        state.values.update({name: values[after].half().float() for name, after in self.after.items()})
        return outputs


def load_program(path: Path, function: str | None = None, size: Size | None = None) -> Program:
    """Load the model in a file, check all of it, and run it on shapes.

    Args:
        path: An `.mlpackage`, a zipped one, or an `.mlmodel`.
        function: The name of one of several functions. Without it, the default function.
        size: Selects the function by width and height instead.

    Raises:
        ArtifactError: no CoreML file, damaged, of an unsupported kind, or without such a function.
    """
    stored = read_package(path)
    kind = stored.model.WhichOneof("Type")
    makers = {"mlProgram": _ml_program, "neuralNetwork": _neural_network}
    if kind not in makers:
        raise ArtifactError(f"{path} is a CoreML model of another kind, {kind}; give an mlProgram or a neuralNetwork")
    try:
        functions = _functions(stored.model.description)
        name = _chosen(stored.model.description, functions, function, size)
        return _tried(makers[kind](stored, name, functions))
    except ArtifactError as error:
        raise ArtifactError(f"{path} cannot be used: {error}") from error


def _functions(description: Any) -> dict[str, Any]:
    """Return descriptions by name; if there are no functions, that of the whole model."""
    return {each.name: each for each in description.functions} or {_MAIN: description}


def _chosen(description: Any, functions: Mapping[str, Any], name: str | None, size: Size | None) -> str:
    listed = ", ".join(f"{each} ({'x'.join(map(str, _size(message)))})" for each, message in functions.items())[:300]
    wanted = name or (None if size else description.defaultFunctionName or _MAIN)
    found = [
        each for each, message in functions.items() if wanted in (None, each) and (not size or _size(message) == size)
    ]
    if len(found) != 1:
        raise ArtifactError(
            f"it has {len(found)} functions called {wanted or 'anything'} of size {size}; it has {listed}"
        )
    return found[0]


def _size(description: Any) -> Size:
    """Return width and height of the first input; for a tensor, its last two lengths."""
    if not description.input:
        return 0, 0
    shape = feature(description.input[0]).shape
    return (shape[-1], shape[-2]) if len(shape) == 4 else (0, 0)


def _ml_program(stored: Stored, name: str, functions: Mapping[str, Any]) -> Program:
    description = functions[name]
    function = mil.function(stored.model.mlProgram, name, stored.weights)
    program = _program(stored, name, functions, function.graph, function.after)
    for what, features, types in (
        ("inputs", program.inputs, function.inputs),
        ("states", program.states, function.states),
    ):
        if {each.name: each.shape for each in features} != {key: kind.shape for key, kind in types.items()}:
            raise ArtifactError(f"its {what} are not those that its program has")
    if any(kind.dtype != "FLOAT16" for kind in function.states.values()):
        raise ArtifactError("it has states that are not float16, which CoreML does not have")
    missing = [each.name for each in description.output if each.name not in function.graph.outputs]
    if missing:
        raise ArtifactError(f"its program does not give {missing[0][:100]!r}")
    return program


def _neural_network(stored: Stored, name: str, functions: Mapping[str, Any]) -> Program:
    description = functions[name]
    network = stored.model.neuralNetwork
    images = {each.name: each.colour for each in map(feature, description.input) if each.is_image}
    graph = nn.graph(network, [each.name for each in description.output], images)
    program = _program(stored, name, functions, graph, {})
    if program.states:
        raise ArtifactError("it is a neural network with states, which CoreML does not have")
    return replace(program, function="")


def _program(
    stored: Stored,
    name: str,
    functions: Mapping[str, Any],
    graph: Graph,
    after: Mapping[str, str],
) -> Program:
    description = functions[name]
    return Program(
        path=stored.path,
        kind=stored.model.WhichOneof("Type"),
        function=name,
        functions={each: _size(message) for each, message in functions.items()},
        inputs=tuple(map(feature, description.input)),
        outputs=tuple(map(feature, description.output)),
        states=tuple(map(feature, description.state)),
        metadata=stored.metadata,
        graph=graph,
        after=after,
    )


def _tried(program: Program) -> Program:
    """Run the program on shapes, and return it with the shapes of outputs for which the file has none."""
    names = [each.name for each in (*program.inputs, *program.outputs, *program.states)]
    if len({*names}) < len(names):
        raise ArtifactError("it calls two of its inputs, outputs and states alike")
    shapes = program.graph.try_shapes({each.name: each.shape for each in (*program.inputs, *program.states)})
    for each in program.outputs:
        if each.shape and each.shape != shapes[each.name]:
            raise ArtifactError(
                f"its output {each.name[:100]!r} is {shapes[each.name]} and not, as it says, {each.shape}"
            )
    for name, after in program.after.items():
        if shapes[after] != next(each.shape for each in program.states if each.name == name):
            raise ArtifactError(f"it writes {shapes[after]} to its state {name[:100]!r}")
    return replace(program, outputs=tuple(replace(each, shape=shapes[each.name]) for each in program.outputs))
