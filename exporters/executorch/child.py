"""Run one ExecuTorch program on the CPU, as a program of `exporters/support/child.py`.

It imports nothing of ours.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
from executorch.runtime import Runtime

if TYPE_CHECKING:
    from exporters.support.child import Arrays, Run


def load(files: Sequence[str], threads: int) -> "Run":
    """Return the function that runs a frame of the program, the only one of `files`."""
    (path,) = files
    _unsafe_reset_threadpool(threads or os.cpu_count() or 1)
    program = Runtime.get().load_program(path)
    method = program.load_method("forward")

    def run(feeds: "Arrays", names: Sequence[str]) -> "Arrays":
        outputs = method.execute([torch.from_numpy(array) for array in feeds.values()])
        return dict(zip(names, (tensor.numpy() for tensor in outputs), strict=True))

    return run
