"""Run one model in OpenVINO on the CPU, in float32, as a program of `exporters/support/child.py`.

An input `reset_state` resets the variables of a stateful model, and one with the name of a variable sets it. An output
with the name of a variable is its value after the frame.

It imports nothing of ours. OpenVINO 2026.4.1 read a null pointer in a process that had compiled and dropped a dozen
models before (in 6 processes of 12, never in one with a single model). Here a process has one model.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

# Importing openvino sends telemetry to its makers if it finds this package. It works without it.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402

if TYPE_CHECKING:
    from exporters.support.child import Arrays, Run


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise OpenVINO's errors with their last paragraph as the message, without the places in its source."""
    try:
        yield
    except RuntimeError as error:
        paragraph = str(error).strip().rpartition("\n\n")[2].splitlines()
        raise RuntimeError(
            " ".join(line for line in paragraph if not line.startswith(("Exception from", "Check '")))
        ) from error


@plain_errors()
def load(files: Sequence[str], threads: int) -> "Run":
    """Return the function that runs a frame of the model: one ONNX file, or the graph and the weights of an IR."""
    core = openvino.Core()
    # By default OpenVINO computes in half precision or bfloat16 on processors that support it.
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(core.read_model(*files), "CPU", options).create_infer_request()
    states = {each.name: each for each in request.query_state()}

    @plain_errors()
    def run(feeds: "Arrays", names: Sequence[str]) -> "Arrays":
        inputs = dict(feeds)
        if inputs.pop("reset_state", None) is not None:
            request.reset_state()
        for name in inputs.keys() & states.keys():
            states[name].state = openvino.Tensor(inputs.pop(name).copy())
        request.infer(inputs)
        # By name: a port also has the names of the nodes around it, and may return any of them.
        tensors = {name: states[name].state if name in states else request.get_tensor(name) for name in names}
        return {name: tensor.data for name, tensor in tensors.items()}

    return run
