"""Run one model in OpenVINO on the CPU, for `tensor_pipe.py`: python openvino_main.py model.onnx, or GRAPH WEIGHTS.

An input `reset_state` resets the variables of a stateful model, and one with the name of a variable sets it. An output
with the name of a variable is its value after the frame.

This is a separate program. It imports nothing of ours, and answers as `web/main.mjs` does. OpenVINO 2026.4.1 read a
null pointer in a process that had compiled and dropped a dozen models before (in 6 processes of 12, never in one with a
single model). Here a process has one model.
"""

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

# Importing openvino sends telemetry to its makers if it finds this package. It works without it.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402
import openvino  # noqa: E402


def main(files: Sequence[str], requests: BinaryIO, answers: BinaryIO) -> int:
    """Answer requests until there are no more. Return the exit code."""
    try:
        # By default OpenVINO computes in half precision or bfloat16 on processors that support it.
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(*files), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        request = compiled.create_infer_request()
        states = {each.name: each for each in request.query_state()}
        write(answers, {}, [])
        while line := requests.readline():
            header = json.loads(line)
            feeds = {tensor["name"]: read(requests, tensor) for tensor in header["tensors"]}
            if feeds.pop("reset_state", None) is not None:
                request.reset_state()
            for name in feeds.keys() & states.keys():
                states[name].state = openvino.Tensor(feeds.pop(name).copy())
            request.infer(feeds)
            # By name: a port also has the names of the nodes around it, and may return any of them.
            tensors = {name: states[name].state if name in states else None for name in header["outputs"]}
            write(answers, {}, [(name, (found or request.get_tensor(name)).data) for name, found in tensors.items()])
    except RuntimeError as error:
        write(answers, {"error": what_failed(error)}, [])
        return 1
    return 0


def read(requests: BinaryIO, tensor: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Read the data of a tensor that a header announced."""
    dtype = np.dtype(tensor["dtype"])
    data = requests.read(dtype.itemsize * math.prod(tensor["shape"]))
    return np.frombuffer(data, dtype).reshape(tensor["shape"])


def write(answers: BinaryIO, header: dict[str, str], outputs: Iterable[tuple[str, np.ndarray[Any, Any]]]) -> None:
    """Write one message."""
    arrays = {name: np.ascontiguousarray(array) for name, array in outputs}
    tensors = [{"name": name, "dtype": array.dtype.name, "shape": array.shape} for name, array in arrays.items()]
    answers.write(f"{json.dumps({**header, 'tensors': tensors})}\n".encode())
    for array in arrays.values():
        answers.write(array.data.cast("B"))
    answers.flush()


def what_failed(error: Exception) -> str:
    """Return the last paragraph of an OpenVINO error, without the places in its source."""
    paragraph = str(error).strip().rpartition("\n\n")[2]
    return " ".join(line for line in paragraph.splitlines() if not line.startswith(("Exception from", "Check '")))


if __name__ == "__main__":
    # stdout is for the messages: redirect what the library prints to stderr.
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.exit(main(sys.argv[1:], sys.stdin.buffer, messages))
