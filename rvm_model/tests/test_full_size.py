"""The two steps around the network are what the network does by itself."""

import pytest
import torch

from rvm_model import load_checkpoint
from rvm_model.full_size import finished, reduced


@pytest.mark.parametrize("refiner", ["deep_guided_filter", "fast_guided_filter"])
@pytest.mark.parametrize("ratio", [0.375, 0.5, 1])
@torch.inference_mode()
def test_they_are_those_of_the_network(refiner, ratio):
    network = load_checkpoint("seeded", refiner=refiner).network("always").double()
    src = torch.rand(2, 3, 61, 90, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lines = []
    network.refiner.register_forward_hook(lambda module, given, result: lines.append(given))
    fgr, pha, *_ = network(src, downsample_ratio=ratio)
    ((fine_src, base_src, *mat, hid),) = lines
    assert torch.equal(fine_src, src)
    assert torch.equal(base_src, reduced(src, ratio))
    A, b = fitted(network.refiner, base_src, *mat, hid)
    ours = finished(A, b, src)
    assert (ours[0] - fgr).abs().max() < 1e-12
    assert (ours[1] - pha).abs().max() < 1e-12


def fitted(refiner, base_src, residual, pha, hid):
    """Return A and b: the value of the refiner's line for a source of zeros, and its change for each channel."""
    zeros = torch.zeros_like(base_src)

    def at(src):
        return torch.cat(refiner(src, base_src, residual, pha, hid), 1)

    b = at(zeros)
    return at(zeros + 1) - b + torch.tensor([1.0, 1, 1, 0]).double()[:, None, None], b
