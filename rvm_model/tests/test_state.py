"""The size rules: equal to PyTorch's own resize, and free of torch."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from rvm_model.network.matting_network import MattingNetwork
from rvm_model.state import (
    REFINERS,
    VARIANTS,
    auto_downsample_ratio,
    auto_graph_ratio,
    float32_size,
    internal_size,
    safe_ratio,
    state_shapes,
)


def test_torch_is_not_imported():
    code = "import sys, rvm_model.state; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@pytest.mark.parametrize(
    ("height", "width", "ratio"), [(1080, 1920, 512 / 1920), (512, 512, 1), (100, 200, 1), (3840, 2160, 512 / 3840)]
)
def test_auto_downsample_ratio(height, width, ratio):
    assert auto_downsample_ratio(height, width) == ratio


def test_auto_downsample_ratio_refuses_an_empty_frame():
    with pytest.raises(ValueError, match="at least 1"):
        auto_downsample_ratio(0, 10)


@given(st.integers(1, 400), st.integers(1, 400), st.floats(0.01, 1))
def test_internal_size_is_pytorchs(height, width, ratio):
    if min(math.floor(height * ratio), math.floor(width * ratio)) < 1:
        with pytest.raises(ValueError, match="larger ratio"):
            internal_size(height, width, ratio)
        return
    small = F.interpolate(torch.zeros(1, 1, height, width), scale_factor=ratio, recompute_scale_factor=False)
    assert internal_size(height, width, ratio) == tuple(small.shape[2:])


@pytest.mark.parametrize("ratio", [0, -1, 1.01, math.nan, math.inf])
def test_a_ratio_outside_its_range_is_refused(ratio):
    with pytest.raises(ValueError, match="not in"):
        internal_size(100, 100, ratio)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("height", "width", "ratio"), [(217, 331, 0.375), (64, 48, 1), (75, 53, 0.5)])
def test_state_shapes_are_the_networks(variant, height, width, ratio):
    outputs = MattingNetwork(variant).eval()(torch.rand(2, 3, height, width), downsample_ratio=ratio)
    assert state_shapes(variant, height, width, ratio, batch=2) == tuple(tuple(state.shape) for state in outputs[2:])


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="mobilenetv3, resnet50"):
        state_shapes("vgg", 10, 10, 1)


@pytest.mark.parametrize(("side", "ratio", "float32", "float64"), [(720, 0.35, 252, 251), (400, 0.29, 116, 115)])
def test_float32_rounds_some_sizes_up(side, ratio, float32, float64):
    assert float32_size(side, side, ratio) == (float32, float32)
    assert internal_size(side, side, ratio) == (float64, float64)
    safe = safe_ratio(side, side, ratio)
    assert float32_size(side, side, safe) == internal_size(side, side, safe)
    assert abs(safe - ratio) < 0.01


def test_the_automatic_ratio_of_a_graph_is_safe():
    assert auto_graph_ratio(480, 854) == 0.6
    for width in range(513, 2600):
        height = round(width * 9 / 16)
        ratio = auto_graph_ratio(height, width)
        assert float32_size(height, width, ratio) == internal_size(height, width, ratio)
        assert abs(ratio - auto_downsample_ratio(height, width)) <= 0.005
    with pytest.raises(ValueError, match="leaves"):
        auto_graph_ratio(8, 5000)


@pytest.mark.parametrize("ratio", [0.1, 0.2, 0.25, 0.3, 0.375, 0.4, 0.5, 0.6, 0.75, 0.8])
def test_usual_ratios_are_safe_at_any_size(ratio):
    assert all(float32_size(side, side, ratio) == internal_size(side, side, ratio) for side in range(10, 4097))


def test_refiners_are_two():
    assert REFINERS == ("deep_guided_filter", "fast_guided_filter")
