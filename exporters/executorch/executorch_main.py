"""Run one ExecuTorch program on the CPU for `tensor_pipe.py`: python executorch_main.py PROGRAM.

This is a separate program. It imports nothing of ours. A damaged file may end the process.
"""

import json
import math
import os
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
import torch
from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
from executorch.runtime import Runtime


def main(path: str, requests: BinaryIO, answers: BinaryIO) -> int:
    """Answer requests until there are no more. Return the exit code."""
    _unsafe_reset_threadpool(threads())
    try:
        program = Runtime.get().load_program(path)
        method = program.load_method("forward")
    except (RuntimeError, ValueError, KeyError) as error:
        write(answers, {"error": f"ExecuTorch does not load it: {first_line(error)}"}, [])
        return 1
    write(answers, {}, [])
    while line := requests.readline():
        header = json.loads(line)
        inputs = [torch.from_numpy(read(requests, tensor)) for tensor in header["tensors"]]
        try:
            outputs = method.execute(inputs)
        except (RuntimeError, ValueError) as error:
            write(answers, {"error": f"ExecuTorch does not run it: {first_line(error)}"}, [])
            return 1
        write(answers, {}, zip(header["outputs"], (tensor.numpy() for tensor in outputs), strict=True))
    return 0


def threads() -> int:
    """Return the first number of OMP_NUM_THREADS, which may be a list, else the number of cores."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else os.cpu_count() or 1


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def read(requests: BinaryIO, tensor: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Read the data of a tensor that a header announced. torch needs memory that it may write to."""
    dtype = np.dtype(tensor["dtype"])
    data = bytearray(requests.read(dtype.itemsize * math.prod(tensor["shape"])))
    return np.frombuffer(data, dtype).reshape(tensor["shape"])


def write(answers: BinaryIO, header: dict[str, str], outputs: Iterable[tuple[str, np.ndarray[Any, Any]]]) -> None:
    """Write one message."""
    arrays = {name: np.ascontiguousarray(array) for name, array in outputs}
    tensors = [{"name": name, "dtype": array.dtype.name, "shape": array.shape} for name, array in arrays.items()]
    answers.write(f"{json.dumps({**header, 'tensors': tensors})}\n".encode())
    for array in arrays.values():
        answers.write(array.data.cast("B"))
    answers.flush()


if __name__ == "__main__":
    # stdout is for the messages: redirect what the library prints to stderr.
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.exit(main(sys.argv[1], sys.stdin.buffer, messages))
