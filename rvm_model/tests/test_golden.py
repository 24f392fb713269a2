"""The network against the released TF.js model's own outputs on real frames: a reference from outside.

That model has the fast guided filter, with a box filter that does not pad. So at ratios below 1, foreground and alpha
are compared with ours without padding. The refiner's inputs and the states need no such change.
"""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rvm_model import load_checkpoint
from rvm_model.network import refiner

MATTE, STATES, MEAN = 3e-3, 5e-3, 2e-4  # as the golden files' description suggests


@contextmanager
def unpadded_box_filter():
    padded = refiner.box_mean
    refiner.box_mean = lambda x: F.avg_pool2d(x, 3, 1)
    yield
    refiner.box_mean = padded


@pytest.mark.parametrize(
    ("name", "ratio"), [("256x256_ratio1", 1), ("512x288_ratio05", 0.5), ("640x360_ratio0375", 0.375)]
)
def test_the_released_model_is_reproduced(name, ratio, shared):
    golden = np.load(shared / "golden" / f"rvm_tfjs_{name}.npz")
    whole = load_checkpoint(shared / "weights" / "rvm_mobilenetv3_from_tfjs.safetensors")
    model = whole.with_fast_guided_filter().network()
    mat = []
    model.project_mat.register_forward_hook(lambda module, inputs, output: mat.append(output))

    frames = torch.from_numpy(golden["src"]).permute(0, 3, 1, 2).float() / 255
    states, alphas, first = [None] * 4, [], None
    with torch.inference_mode(), unpadded_box_filter():
        for frame in frames:
            fgr, pha, *states = model(frame[None], *states, ratio)
            alphas.append(pha[0])
            first = first or states

    def check(ours, theirs, limit):
        error = np.abs(ours.numpy() - theirs.astype(np.float32))
        assert error.shape == theirs.shape
        assert error.max() <= limit
        assert error.mean() <= MEAN

    check(torch.stack(alphas), golden["pha"], MATTE)
    check(fgr[0], golden["fgr_last"], MATTE)
    if ratio != 1:
        check(mat[-1][0], golden["mat_last"], MATTE)
    for k, state in enumerate(states, start=1):
        check(state[0], golden[f"r{k}o_last"], STATES)
    for k in (2, 3, 4):
        check(first[k - 1][0], golden[f"r{k}o_first"], STATES)
