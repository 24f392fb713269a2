"""The two steps around the network are what the network does by itself."""

import pytest
import torch

from rvm_model import load_checkpoint
from rvm_model.full_size import finished, fitted, reduced


@pytest.mark.parametrize("refiner", ["deep_guided_filter", pytest.param("fast_guided_filter", marks=pytest.mark.long)])
@pytest.mark.parametrize(("refine", "ratio"), [("always", 0.375), ("always", 1), ("auto", 0.5), ("auto", 1)])
@torch.inference_mode()
def test_they_are_those_of_the_network(refiner, refine, ratio):
    network = load_checkpoint("seeded", refiner=refiner).network(refine).double()
    clip = torch.rand(4, 3, 61, 90, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    before, states = [None] * 4, [None] * 4
    for src in clip.split(2):
        fgr, pha, *before = network(src[None], *before, downsample_ratio=ratio)
        A, b, *states = fitted(network, reduced(src, ratio), states, refine == "always" or ratio != 1)
        ours = *finished(A, b, src), *states
        for given, expected in zip(ours, (fgr[0], pha[0], *before), strict=True):
            assert (given - expected).abs().max() < 1e-12
