"""Run one ncnn model on the CPU, in float32, for `tensor_pipe.py`: python ncnn_main.py GRAPH WEIGHTS.

This is a separate program. It imports nothing of ours. ncnn trusts its files, and a damaged one may end the process.
"""

import json
import math
import os
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO

import ncnn
import numpy as np


def main(graph: str, weights: str, requests: BinaryIO, answers: BinaryIO) -> int:
    """Answer requests until there are no more. Return the exit code."""
    net = ncnn.Net()
    options = net.opt
    options.use_vulkan_compute = False
    options.num_threads = threads()
    # By default ncnn rounds some weights to half precision on x86, and on ARM computes in it throughout.
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(options, f"use_{option}", False)
    if net.load_param(graph) or net.load_model(weights):
        write(answers, {"error": "ncnn does not load it"}, [])
        return 1
    write(answers, {}, [])
    while line := requests.readline():
        header = json.loads(line)
        extractor = net.create_extractor()
        # ncnn does not copy an array, which must live as long as the extractor.
        feeds = {tensor["name"]: read(requests, tensor) for tensor in header["tensors"]}
        for name, array in feeds.items():
            extractor.input(name, ncnn.Mat(array))
        outputs = {name: extractor.extract(name) for name in header["outputs"]}
        failed = [name for name, (code, _) in outputs.items() if code]
        if failed:
            write(answers, {"error": f"ncnn does not compute {', '.join(failed)}"}, [])
            return 1
        write(answers, {}, [(name, np.array(mat)) for name, (_, mat) in outputs.items()])
    return 0


def threads() -> int:
    """Return the first number of OMP_NUM_THREADS, which may be a list, else the number of cores."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else os.cpu_count() or 1


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


if __name__ == "__main__":
    # stdout is for the messages: redirect what the library prints to stderr.
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.exit(main(sys.argv[1], sys.argv[2], sys.stdin.buffer, messages))
