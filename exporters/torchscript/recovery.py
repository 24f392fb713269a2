"""Read a TorchScript file as a `Dataflow`: the operations of one frame. The file is code, and this runs it.

A scripted module still has the network's own names, so its state dict is enough. A frozen one has none, and branches on
its inputs: this runs one frame, at a ratio below 1, and records the operations.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from exporters.artifact import Artifact
from exporters.recovery.dataflow import (
    FUNCTIONS,
    SAME,
    Apply,
    Array,
    Dataflow,
    DataflowNode,
    Interval,
    Kernel,
    RecoveryError,
    with_constants,
)
from exporters.torchscript.runtime import load_module
from rvm_model.state import state_shapes

_SIZE, _RATIO = 64, 0.5

_FUNCTIONS: Mapping[str, Apply] = {
    "aten::add": np.add,
    "aten::add_": np.add,
    "aten::sub": np.subtract,
    "aten::rsub": lambda x, y: y - x,
    "aten::mul": np.multiply,
    "aten::mul_": np.multiply,
    "aten::div": np.divide,
    "aten::div_": np.divide,
    **{f"aten::{name}{end}": FUNCTIONS[name] for name in FUNCTIONS if name != "linear" for end in ("", "_")},
    "aten::clamp": np.clip,
    "aten::clamp_": np.clip,
    "aten::relu6": lambda x: np.clip(x, 0, 6),
    "aten::clone": SAME,
    "aten::_to_copy": SAME,
    "aten::detach": SAME,
}
_NORMS = ("aten::native_batch_norm", "aten::_native_batch_norm_legit_no_training", "aten::cudnn_batch_norm")


def dataflow(artifact: Artifact) -> Dataflow:
    """Return the operations of the file.

    Raises Untrusted if nobody trusts it, ArtifactError if it is damaged, or cannot be recovered.
    """
    module = load_module(artifact, torch.device("cpu"))
    named = dict(module.state_dict())
    if artifact.facts["frozen"] == "no":
        nothing: dict[str, str] = {}
        arrays = {key: tensor.cpu().numpy() for key, tensor in named.items()}
        return Dataflow(nodes=(), inputs=nothing, outputs=frozenset(), constants={}, named=arrays)
    dtype = torch.float16 if artifact.precision == "fp16" else torch.float32
    shapes = [(1, 3, _SIZE, _SIZE), *state_shapes(artifact.variant, _SIZE, _SIZE, _RATIO)]
    given = [torch.full(shape, 0.5, dtype=dtype) for shape in shapes]
    watch = _Watch({f"{role}": tensor for role, tensor in zip(("src", "r1", "r2", "r3", "r4"), given, strict=True)})
    try:
        # Without optimisation, which would fuse several operations into one.
        with torch.inference_mode(False), torch.no_grad(), _unoptimised(), watch:
            outputs = module(*given, _RATIO)
    except RuntimeError as error:
        raise RecoveryError(f"it does not run: {str(error).strip().rpartition(chr(10))[2][:200]}") from error
    nodes = tuple(watch.nodes)
    return Dataflow(
        nodes=nodes,
        inputs={role: role for role in watch.roles},
        outputs=frozenset(watch.name(output) for output in outputs if isinstance(output, Tensor)),
        constants=with_constants(nodes, watch.constants),
    )


def _tensors(args: Sequence[Any]) -> list[Tensor]:
    """Return the tensors among an operation's arguments or results, including those in lists."""
    flat = [each for arg in args for each in (arg if isinstance(arg, list | tuple) else [arg])]
    return [each for each in flat if isinstance(each, Tensor)]


def _unoptimised() -> AbstractContextManager[None]:
    manager: AbstractContextManager[None] = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    return manager


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operation. A tensor counts as a new value whenever an operation writes into it."""

    def __init__(self, inputs: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.roles = [*inputs]
        self.nodes: list[DataflowNode] = []
        self.constants: dict[str, Interval] = {}
        self._names = {id(tensor): name for name, tensor in inputs.items()}
        self._live = {*self._names}
        self._held = [*inputs.values()]  # so that no other tensor gets its id

    def name(self, tensor: Any) -> str:
        """Return the name of a tensor's present value, or of a number."""
        if not isinstance(tensor, Tensor):
            name = f"number {float(tensor)!r}"
            self.constants[name] = Interval.exactly(np.array(float(tensor)))
            return name
        if id(tensor) not in self._names:
            name = f"constant {len(self._names)}"
            if tensor.is_floating_point():
                self.constants[name] = Interval.of(tensor.detach().cpu().numpy())
            self._keep(tensor, name)
        return self._names[id(tensor)]

    def _keep(self, tensor: Tensor, name: str) -> None:
        self._names[id(tensor)] = name
        self._held.append(tensor)

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kind = str(function._schema.name)
        result = function(*args, **(kwargs or {}))
        if not any(id(each) in self._live for each in _tensors(args)):
            return result  # computed from constants alone: it becomes a constant when an operation uses it
        number, given = len(self.nodes), self._inputs(kind, args)
        results = _tensors([result])
        if not results:
            return result
        for k, tensor in enumerate(results):
            self._keep(tensor, f"{kind} {number}:{k}")
            self._live.add(id(tensor))
        self.nodes.append(
            DataflowNode(
                name=f"{kind} {number}",
                inputs=given,
                outputs=tuple(f"{kind} {number}:{k}" for k in range(len(results))),
                kernel=self._kernel(args) if kind == "aten::convolution" else None,
                norm=self._norm(args) if kind in _NORMS else None,
                apply=_FUNCTIONS.get(kind),
            )
        )
        return result

    def _inputs(self, kind: str, args: Sequence[Any]) -> tuple[str, ...]:
        if kind == "aten::convolution" or kind in _NORMS:
            return (self.name(args[0]),)
        if kind in _FUNCTIONS:
            if kind.startswith(("aten::add", "aten::sub")) and any(each != 1 for each in args[2:3]):
                raise RecoveryError("it has a sum with a factor, which the network has not")
            most = 3 if "clamp" in kind else 2
            return tuple(self.name(each) for each in args[:most] if isinstance(each, Tensor | int | float))
        return tuple(map(self.name, _tensors(args)))

    def _kernel(self, args: Sequence[Any]) -> Kernel:
        _, weight, bias, stride, _, dilation, transposed, _, groups = args
        interval = self.constants.get(self.name(weight))
        if interval is None or interval.values.ndim != 4 or transposed:
            raise RecoveryError("it has a convolution without constant weights of four axes")
        if bias is not None and self.name(bias) not in self.constants:
            raise RecoveryError("it has a convolution whose bias is computed")
        return Kernel(
            weight=interval,
            bias=None if bias is None else self.constants.get(self.name(bias)),
            stride=tuple(stride),
            dilation=tuple(dilation),
            groups=groups,
        )

    def _norm(self, args: Sequence[Any]) -> tuple[Array, Array]:
        gamma, beta, mean, variance = (each.detach().double().cpu().numpy() for each in args[1:5])
        epsilon = float(args[-1])
        scale = gamma / np.sqrt(variance + epsilon)
        return scale, beta - mean * scale
