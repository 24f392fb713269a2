"""Run one LiteRT model on the CPU, as a program of `exporters/support/child.py`. It imports nothing of ours."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ai_edge_litert.interpreter import Interpreter

if TYPE_CHECKING:
    from exporters.support.child import Run


def load(files: Sequence[str], threads: int) -> "Run":
    """Return the function that runs a frame of the model, the only one of `files`."""
    (path,) = files
    run = Interpreter(path, num_threads=threads or os.cpu_count() or 1).get_signature_runner()
    return lambda feeds, _: run(**feeds)
