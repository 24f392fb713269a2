"""Run one ncnn model on the CPU, in float32, as a program of `exporters/support/child.py`.

It imports nothing of ours. ncnn trusts its files, and a damaged one may end the process.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import ncnn
import numpy as np

if TYPE_CHECKING:
    from exporters.support.child import Arrays, Run


def load(files: Sequence[str], threads: int) -> "Run":
    """Return the function that runs a frame of the model, whose graph and weights are `files`."""
    graph, weights = files
    net = ncnn.Net()
    options = net.opt
    options.use_vulkan_compute = False
    options.num_threads = threads or os.cpu_count() or 1
    # By default ncnn rounds some weights to half precision on x86, and on ARM computes in it throughout.
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(options, f"use_{option}", False)
    if net.load_param(graph) or net.load_model(weights):
        raise RuntimeError("ncnn does not load it")

    def run(feeds: "Arrays", names: Sequence[str]) -> "Arrays":
        extractor = net.create_extractor()
        # ncnn does not copy an array. The caller keeps them for as long as the extractor lives.
        for name, array in feeds.items():
            extractor.input(name, ncnn.Mat(array))
        outputs = {name: extractor.extract(name) for name in names}
        failed = [name for name, (code, _) in outputs.items() if code]
        if failed:
            raise RuntimeError(f"ncnn does not compute {', '.join(failed)}")
        return {name: np.array(mat) for name, (_, mat) in outputs.items()}

    return run
