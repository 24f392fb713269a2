"""Store a model's weights in half precision or eight bits, with ai-edge-quantizer, in a separate process:
`python -m exporters.litert.quantise REQUEST FILE`.

Weights in eight bits have a step for each output channel and no zero. Values in eight bits have a step and a zero.
"""

import pickle
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import INPUTS, OUTPUTS
from exporters.format import MissingPackage
from exporters.support.eight_bits import step_for
from exporters.support.fresh_process import answer_of

PACKAGE = "ai_edge_quantizer"

KEPT = r"^(?!backbone\.features\.0/|backbone\.conv1/|downsample/|project_mat/|refiner/)"
"""Matches all layers but those that keep float32 weights: the first convolution, the projection and the refiner. They
are small, and nearest to the matte."""

IN_EIGHT_BITS = r"^decoder\.decode[321]/"
"""Matches the layers that compute in eight bits: the first convolution of three decoder blocks, and no GRU."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A model, the bits of its weights, and frames (T, H, W, 3) in [0, 1] if it is to compute in eight bits."""

    content: bytes
    bits: int
    frames: NDArray[np.float32] | None


def quantised(request: Request) -> bytes:
    """Return the model with its weights in fewer bits.

    Raises:
        MissingPackage: ai-edge-quantizer is not installed.
        ArtifactError: it failed. The message ends with its last line.
    """
    if find_spec(PACKAGE) is None:
        raise MissingPackage(
            f"litert needs {PACKAGE} for precisions other than fp32; run: pip install 'rvm-export[litert]'"
        )
    return answer_of("exporters.litert.quantise", request, failure=f"{PACKAGE} could not quantise the model")


def main(asked: Path, given: Path) -> None:
    """Write the model, in the separate process."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName as Kind

    # Our own pickle, just written by the process that waits for this one.
    request: Request = pickle.loads(asked.read_bytes())  # noqa: S301
    work = quantizer.Quantizer(bytearray(request.content))
    algorithm = AlgorithmName.FLOAT_CASTING if request.bits == 16 else AlgorithmName.MIN_MAX_UNIFORM_QUANT
    for kind in (Kind.CONV_2D, Kind.DEPTHWISE_CONV_2D):
        work.add_weight_only_config(KEPT, kind, request.bits, algorithm_key=algorithm)
    ranges = {}
    if request.frames is not None:
        work.add_static_config(IN_EIGHT_BITS, Kind.CONV_2D, activation_num_bits=8, weight_num_bits=8)
        ranges = _ranges(request.content, request.frames)
    model = work.quantize(ranges).quantized_model
    assert model is not None
    given.write_bytes(model)


def _ranges(content: bytes, frames: NDArray[np.float32]) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return the ends of the range of each value to quantise, by its tensor's name. They give a step of few bits."""
    from ai_edge_litert.interpreter import Interpreter

    model, tensors = _watched(content)
    # One thread, so that the result does not depend on the number of threads.
    interpreter = Interpreter(model_content=model, num_threads=1)
    run = interpreter.get_signature_runner()
    shapes = {name: detail["shape"] for name, detail in run.get_input_details().items()}
    states = [np.zeros(shapes[name], np.float32) for name in INPUTS[1:5]]
    seen: dict[str, list[float]] = {name: [] for name in tensors}
    for frame in frames:
        outputs = run(**dict(zip(INPUTS, (frame[None], *states), strict=False)))
        states = [outputs[name] for name in OUTPUTS[2:]]
        for name, number in tensors.items():
            values = interpreter.get_tensor(number)
            seen[name] += [float(values.min()), float(values.max())]
    ranges = {}
    for name, ends in seen.items():
        step = step_for(min(ends), max(ends))
        least, greatest = -step.zero * step.scale, (255 - step.zero) * step.scale
        ranges[name] = {key: np.array([[[[end]]]], np.float32) for key, end in (("min", least), ("max", greatest))}
    return ranges


def _watched(content: bytes) -> tuple[bytes, dict[str, int]]:
    """Return a model that also gives the values to quantise, and the numbers of their tensors by name."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    numbers = {
        number
        for operation in graph.operators
        if model.operatorCodes[operation.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D
        and re.match(IN_EIGHT_BITS, graph.tensors[operation.outputs[0]].name.decode())
        for number in (operation.inputs[0], operation.outputs[0])
    }
    graph.outputs = [*graph.outputs, *sorted(numbers)]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), {graph.tensors[number].name.decode(): int(number) for number in numbers}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
