"""Runs one ONNX file in OpenVINO on the CPU, as `tensor_pipe.py` asks: python openvino_main.py model.onnx.

A program of its own, which imports nothing of ours and answers as `web/main.mjs` does. In one process after another,
OpenVINO 2026.4.1 read a null pointer where it had compiled and dropped a dozen models before (in 6 processes of
12, never in one with a single model); here a process has one.
"""

import json
import math
import os
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO

# Importing openvino sends a message to its makers if it finds this package, and does without it if not.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402
import openvino  # noqa: E402


def main(model: str, requests: BinaryIO, answers: BinaryIO) -> int:
    """Answer requests until there are no more. The exit code."""
    try:
        # By itself OpenVINO computes in half precision or bfloat16 on processors that have it.
        compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        request = compiled.create_infer_request()
        write(answers, {}, [])
        while line := requests.readline():
            header = json.loads(line)
            request.infer({tensor["name"]: read(requests, tensor) for tensor in header["tensors"]})
            # By name: a port bears those of the nodes around it too, and gives any of them as its own.
            write(answers, {}, [(name, request.get_tensor(name).data) for name in header["outputs"]])
    except RuntimeError as error:
        write(answers, {"error": what_failed(error)}, [])
        return 1
    return 0


def read(requests: BinaryIO, tensor: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The data of a tensor that a header announced."""
    dtype = np.dtype(tensor["dtype"])
    data = requests.read(dtype.itemsize * math.prod(tensor["shape"]))
    return np.frombuffer(data, dtype).reshape(tensor["shape"])


def write(answers: BinaryIO, header: dict[str, str], outputs: Iterable[tuple[str, np.ndarray[Any, Any]]]) -> None:
    """One message."""
    arrays = {name: np.ascontiguousarray(array) for name, array in outputs}
    tensors = [{"name": name, "dtype": array.dtype.name, "shape": array.shape} for name, array in arrays.items()]
    answers.write(f"{json.dumps({**header, 'tensors': tensors})}\n".encode())
    for array in arrays.values():
        answers.write(array.data.cast("B"))
    answers.flush()


def what_failed(error: Exception) -> str:
    """The last paragraph of what OpenVINO says, without the places in its source."""
    paragraph = str(error).strip().rpartition("\n\n")[2]
    return " ".join(line for line in paragraph.splitlines() if not line.startswith(("Exception from", "Check '")))


if __name__ == "__main__":
    # stdout belongs to the messages: what the library prints goes where people read.
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.exit(main(sys.argv[1], sys.stdin.buffer, messages))
