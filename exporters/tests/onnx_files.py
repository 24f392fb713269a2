"""ONNX files for tests: export them from seeded weights, and run them on a few random frames."""

from functools import lru_cache, partial

import numpy as np
import onnx

from exporters import load_exporter, load_runtime
from exporters.onnx import OnnxSpec
from exporters.spec import Fixed
from rvm_model import load_checkpoint

seeded = lru_cache(maxsize=4)(partial(load_checkpoint, "seeded"))


def export(folder, variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", **options):
    path = folder / f"{variant}_{refiner}_{precision}.onnx"
    spec = OnnxSpec(variant=variant, refiner=refiner, precision=precision, **options)
    load_exporter("onnx").export(seeded(variant, refiner), spec, path)
    return path


def export_fixed(folder, width, height, ratio, batch=1, **options):
    return export(folder, fixed=Fixed(width=width, height=height, ratio=ratio, batch=batch), **options)


def play(path, height=61, width=97, frames=3, batch=1):
    """Return the outputs of a few random frames, at an odd size so that every rounding up is tested."""
    generator, state, outputs = np.random.default_rng(0), None, []
    with load_runtime("onnx").load(load_runtime("onnx").inspect(path), "cpu", 0.5) as step:
        for _ in range(frames):
            matte, state = step(generator.random((batch, 3, height, width), np.float32), state)
            outputs += [array for array in (matte.fgr, matte.pha) if array is not None]
            outputs += [*load_runtime("onnx").to_numpy(state)]
    return outputs


def assert_close(expected, given, limit):
    assert all(np.abs(a - b).max() <= limit for a, b in zip(expected, given, strict=True))


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}
