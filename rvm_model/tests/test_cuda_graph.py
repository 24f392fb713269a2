"""A captured network agrees with the network. Without a GPU, the captured function runs kernel by kernel."""

import numpy as np
import pytest
import torch

from rvm_model import load_checkpoint
from rvm_model.cuda_graph import CapturedNetwork, captured_play
from rvm_model.device import DeviceError
from rvm_model.matting import network_play


def clip(frames, height=64, width=96):
    """Return a smooth, moving clip."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    return np.stack([np.sin((x + shift * t) / 9 + y / (7 + shift)) / 2 + 0.5 for shift in (1, 2, 3)], 1).astype(
        np.float32
    )


def warmed_up(run):
    """Run the function first, as a capture does, and return a function that runs it."""
    for _ in range(3):
        run()
    return run


def test_it_computes_what_the_network_computes_whatever_runs_before():
    network = load_checkpoint("seeded").network()
    captured = CapturedNetwork(network, 0.5, warmed_up)
    plain = network_play(network, 0.5, torch.device("cpu"), torch.float32)
    src = clip(6)
    for part in (src[:1], src[1:2], src[2:4], src[4:6]):  # a number of frames that comes again, and a new one
        expected, given = plain(part), captured(torch.from_numpy(part))
        for name, before, after in zip(("fgr", "pha"), expected, given, strict=True):
            np.testing.assert_allclose(after.numpy(), before, atol=1e-6, err_msg=name)


def test_a_graph_that_computes_something_else_is_refused():
    captured = CapturedNetwork(load_checkpoint("seeded").network(), 0.5, lambda run: lambda: None)
    with pytest.raises(DeviceError, match="other mattes than its kernels"):
        captured(torch.from_numpy(clip(1)))


def test_on_cuda_a_graph_plays_the_clip(cuda):
    network = load_checkpoint("seeded").network()
    plain = network_play(network, 0.5, torch.device("cpu"), torch.float32)
    captured = captured_play(load_checkpoint("seeded").network(), 0.5, torch.device("cuda"))
    src = clip(6)
    for part in (src[:1], src[1:2], src[2:4], src[4:6]):
        for expected, given in zip(plain(part), captured(part), strict=True):
            assert np.abs(given - expected).max() <= 0.03
            assert np.abs(given - expected).mean() <= 3e-3
