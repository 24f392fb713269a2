"""A program as a list of nodes over named values, from either kind of CoreML model, and how to run it.

Before it runs, it is tried on shapes alone, which costs nothing. This finds a value that is used before it is computed,
shapes that do not fit, and too much work or memory.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from exporters.artifact import ArtifactError
from exporters.coreml.evaluator.values import TensorType
from exporters.support.memory import memory_limit
from rvm_model.errors import first_line

MOST_OPERATIONS = 20_000
MOST_FLOPS = 2e13
"""The limit of one frame, in convolutions and products. ResNet50 on 3840x2160 pixels at ratio 1 takes some 3e12."""

MOST_VALUES = 5e10
"""The limit of values computed in one frame by all operations. ResNet50 as above takes some 1.3e10."""

_BYTES = 4
_FAILURES = (RuntimeError, ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError, NotImplementedError)
"""The errors that torch and our own operations raise for invalid parameters."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Instruction:
    """One operation.

    `inputs` are names of constants, of the program's inputs, or of outputs of earlier nodes. `types` are the types of
    its outputs according to the file, or None if it has none. `compute` takes the inputs and returns the outputs, in
    order.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: tuple[TensorType | None, ...]
    compute: Callable[..., Tensor | Sequence[Tensor]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """Nodes in the order in which they run, their shared constants, and the names of the outputs."""

    nodes: Sequence[Instruction]
    constants: Mapping[str, Tensor]
    outputs: Collection[str]

    def try_shapes(self, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the outputs for these shapes of the inputs, without computing anything.

        Raises:
            ArtifactError: it cannot run, does not match its types, or would take more memory than this machine has, or
                more work than a matting network could.
        """
        names = [*inputs, *self.constants, *(name for node in self.nodes for name in node.outputs)]
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise ArtifactError(f"it computes {twice[0][:100]!r} twice")
        if len(self.nodes) > MOST_OPERATIONS:
            raise ArtifactError(f"it has {len(self.nodes)} operations; at most {MOST_OPERATIONS} are run")
        refuse_beyond_memory(sum(map(math.prod, inputs.values())))
        values = {name: torch.empty(shape, device="meta") for name, shape in inputs.items()}
        with FlopCounterMode(display=False) as counter:
            outputs = self._run(values, "meta", _Watch(counter).look)
        return {name: tuple(value.shape) for name, value in outputs.items()}

    def run(self, inputs: Mapping[str, Tensor], half: bool) -> dict[str, Tensor]:
        """Return the outputs. `half` rounds the output of every node to float16, unless the file declares it float32.

        Raises ArtifactError if torch cannot compute it.
        """
        return self._run(dict(inputs), "cpu", _round if half else _leave)

    def _run(
        self,
        values: dict[str, Tensor],
        device: str,
        after: Callable[[Instruction, Tensor, TensorType | None, int], Tensor],
    ) -> dict[str, Tensor]:
        waiting = Counter(name for node in self.nodes for name in node.inputs) + Counter(self.outputs)
        held = sum(value.numel() for value in values.values())
        for node in self.nodes:
            taken = [_find(name, values, self.constants, node).to(device) for name in node.inputs]
            try:
                given = node.compute(*taken)
            except _FAILURES as error:
                raise ArtifactError(f"its {_called(node)} cannot be computed: {first_line(error, 200)}") from error
            given = [given] if isinstance(given, Tensor) else given
            if len(given) != len(node.outputs):
                raise ArtifactError(f"its {_called(node)} has {len(node.outputs)} outputs instead of {len(given)}")
            for name, value, kind in zip(node.outputs, given, node.types, strict=True):
                held += value.numel()
                values[name] = after(node, value, kind, held)
            for name in (*node.inputs, *node.outputs):
                waiting[name] -= name in node.inputs
                if waiting[name] <= 0 and name in values:
                    held -= values.pop(name).numel()
        missing = [name for name in self.outputs if name not in values and name not in self.constants]
        if missing:
            raise ArtifactError(f"it never computes its output {missing[0][:100]!r}")
        return {name: _find(name, values, self.constants, None) for name in self.outputs}


@dataclass(eq=False)
class _Watch:
    """Checks shapes while the graph is tried."""

    counter: FlopCounterMode
    values: int = 0

    def look(self, node: Instruction, value: Tensor, kind: TensorType | None, held: int) -> Tensor:
        found = tuple(value.shape)
        if kind is not None and (found != kind.shape or value.is_floating_point() != kind.is_float):
            raise ArtifactError(
                f"its {_called(node)} gives {value.dtype} {found} and not, as it says, {kind.dtype} {kind.shape}"
            )
        refuse_beyond_memory(held)
        self.values += value.numel()
        for what, found_work, most in (
            ("operations", self.counter.get_total_flops(), MOST_FLOPS),
            ("values", self.values, MOST_VALUES),
        ):
            if found_work > most:
                raise ArtifactError(f"it would take more than {most:.0e} {what} a frame, as no matting network does")
        return value


def refuse_beyond_memory(values: int) -> None:
    """Raise ArtifactError if this machine cannot hold this many values at a time."""
    memory = memory_limit()
    if values * _BYTES > memory:
        raise ArtifactError(
            f"it asks for {values * _BYTES / 1e9:.0f} GB at a time; this machine has {memory / 1e9:.0f}"
        )


def _round(node: Instruction, value: Tensor, kind: TensorType | None, held: int) -> Tensor:  # noqa: ARG001
    if not value.is_floating_point() or (kind is not None and kind.dtype != "FLOAT16"):
        return value
    return value.half().float()


def _leave(node: Instruction, value: Tensor, kind: TensorType | None, held: int) -> Tensor:  # noqa: ARG001
    return value


def _find(name: str, values: Mapping[str, Tensor], constants: Mapping[str, Tensor], node: Instruction | None) -> Tensor:
    if name in values:
        return values[name]
    if name in constants:
        return constants[name]
    assert node is not None
    raise ArtifactError(
        f"its {_called(node)} takes {name[:100]!r}, which nothing before it computes: a cycle, or out of order"
    )


def _called(node: Instruction) -> str:
    return f"{node.kind} {(node.outputs or ('',))[0][:100]!r}"
