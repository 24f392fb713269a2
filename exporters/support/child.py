"""Run one model for `tensor_pipe.py` in a process of its own: python child.py PROGRAM FILE...

PROGRAM is a Python file with a function `load(files, threads)`. It returns a function that runs a frame: it maps the
inputs by name, and the names of the outputs that are asked for, to the outputs by name. `threads` is 0 if the
environment names no number. Both functions raise RuntimeError or ValueError for a model that the runtime refuses.

In this process nothing of ours is imported but these two files. A damaged model may end it.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from io import BufferedReader, BufferedWriter
from runpy import run_path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray[Any, Any]]
Run = Callable[[Arrays, Sequence[str]], Arrays]


def main(program: str, files: Sequence[str], requests: BufferedReader, answers: BufferedWriter) -> int:
    """Answer requests until there are no more. Return the exit code."""
    load = run_path(program)["load"]
    try:
        run = load(files, threads())
        write(answers, {}, {})
        while line := requests.readline():
            header = json.loads(line)
            feeds = {tensor["name"]: read(requests, tensor) for tensor in header["tensors"]}
            write(answers, {}, run(feeds, header["outputs"]))
    except (RuntimeError, ValueError) as error:
        write(answers, {"error": first_line(error)}, {})
        return 1
    return 0


def threads() -> int:
    """Return the first number of OMP_NUM_THREADS, which may be a list, else 0: the runtime decides."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0


def first_line(error: Exception) -> str:
    """Return the beginning of a library's message, or the error's type if there is no message."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def read(requests: BufferedReader, tensor: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Read the data of a tensor that a header announced."""
    array = np.empty(tensor["shape"], tensor["dtype"])
    requests.readinto(array.data)
    return array


def write(answers: BufferedWriter, header: Mapping[str, str], outputs: Arrays) -> None:
    """Write one message."""
    arrays = {name: np.ascontiguousarray(array) for name, array in outputs.items()}
    tensors = [{"name": name, "dtype": array.dtype.name, "shape": array.shape} for name, array in arrays.items()]
    answers.write(f"{json.dumps({**header, 'tensors': tensors})}\n".encode())
    for array in arrays.values():
        answers.write(array.data.cast("B"))
    answers.flush()


if __name__ == "__main__":
    # stdout is for the messages: redirect what the library prints to stderr.
    incoming, outgoing = os.fdopen(os.dup(sys.stdin.fileno()), "rb"), os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.exit(main(sys.argv[1], sys.argv[2:], incoming, outgoing))
