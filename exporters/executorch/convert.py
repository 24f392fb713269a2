"""Write an ExecuTorch program in a separate process: `python -m exporters.executorch.convert REQUEST FILE`.

The converter prints and warns much, and is changed for half precision, see `_keep_half_weights`.
"""

import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporters.executorch import METADATA
from exporters.executorch.ops import ExecutorchOps
from exporters.lowering.folding import Conv
from exporters.lowering.program import program
from exporters.support.fresh_process import answer_of

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One program to write. `shapes` are the inputs', NCHW; `metadata` is stored in it as it is."""

    convs: Mapping[str, Conv]
    ratio: float
    shapes: tuple[tuple[int, ...], ...]
    precision: str
    metadata: bytes


def convert(request: Request) -> bytes:
    """Return a program. Raises ArtifactError if ExecuTorch fails, with its last line."""
    return answer_of("exporters.executorch.convert", request, failure="ExecuTorch could not write a program")


class Lowered(nn.Module):
    """The lowered program as a module. Its constants are its buffers, made when they are first used."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.convs, self.ratio, self.dtype = request.convs, request.ratio, _DTYPES[request.precision]
        self.names: dict[str, str] = {}

    def constant(self, name: str, values: NDArray[np.float64]) -> Tensor:
        """Return a buffer. Its own name is a number, since a buffer's may have no dots."""
        if name not in self.names:
            self.names[name] = f"constant_{len(self.names)}"
            self.register_buffer(self.names[name], torch.from_numpy(values.copy()).to(self.dtype))
        tensor: Tensor = getattr(self, self.names[name])
        return tensor

    def forward(self, src: Tensor, r1i: Tensor, r2i: Tensor, r3i: Tensor, r4i: Tensor) -> tuple[Tensor, ...]:
        matte = program(ExecutorchOps(self.constant), self.convs, src, (r1i, r2i, r3i, r4i), self.ratio, "skip")
        return matte.fgr, matte.pha, *matte.states


def main(asked: Path, given: Path) -> None:
    """Write the program, in the separate process."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    # Our own pickle, just written by the process that waits for this one.
    request: Request = pickle.loads(asked.read_bytes())  # noqa: S301
    module = Lowered(request).eval()
    examples = tuple(torch.zeros(shape, dtype=module.dtype) for shape in request.shapes)
    with torch.no_grad():
        module(*examples)  # makes the buffers, which torch.export must find
    if request.precision == "fp16":
        _keep_half_weights()
    edge = to_edge_transform_and_lower(torch.export.export(module, examples), partitioner=[XnnpackPartitioner()])
    refuse_pieces([node.name for node in edge.exported_program().graph.nodes if node.op == "call_function"])
    edge._named_data_store.add_named_data(METADATA, request.metadata)
    given.write_bytes(edge.to_executorch().buffer)


def refuse_pieces(called: Sequence[str]) -> None:
    """Raise RuntimeError unless the functions that a program calls are one piece, and the access to its results."""
    pieces = [name for name in called if name.startswith("executorch_call_delegate")]
    beside = [name for name in called if name not in pieces and not name.startswith("getitem")]
    if beside or len(pieces) != 1:
        left = ", ".join(beside) or "nothing"
        raise RuntimeError(f"XNNPACK takes the network in {len(pieces)} pieces, not in one, and leaves {left}")


def _keep_half_weights() -> None:
    """Let convolutions keep weights of half precision.

    ExecuTorch 1.5 writes those of all convolutions in float32, twice as large. XNNPACK takes either.
    """
    from executorch.backends.xnnpack.operators.node_visitor import NodeVisitor

    define = NodeVisitor.define_tensor

    def define_tensor(self: Any, *given: Any, force_fp32: bool = False, **more: Any) -> None:  # noqa: ARG001
        define(self, *given, **more)

    NodeVisitor.define_tensor = define_tensor


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
