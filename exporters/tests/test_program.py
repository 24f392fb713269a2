"""Test that the lowering is exact: in float64 it equals the reference, independent of any format."""

import pytest
import torch

from exporters.lowering.folding import divided_convs, lowered_convs, separate_convs
from exporters.lowering.program import program
from exporters.tests.torch_ops import TorchOps
from rvm_model import load_checkpoint
from rvm_model.state import REFINERS, VARIANTS

LIMIT = 1e-9


SIZES = (
    # height, width, ratio, refine, at_ratio_one
    (75, 53, 0.5, "auto", "refine"),
    (61, 97, 0.375, "auto", "refine"),
    (61, 97, 0.375, "auto", "skip"),
    (48, 65, 1.0, "always", "refine"),
    (48, 65, 1.0, "never", "skip"),
    (48, 65, 1.0, "auto", "blend"),
    (61, 97, 0.375, "auto", "blend"),
)


def cases():
    """Yield all networks at all sizes. All but one are long, except at the last size."""
    for size in SIZES:
        for variant in VARIANTS:
            for refiner in REFINERS:
                deep, mobile = refiner == "deep_guided_filter", variant == "mobilenetv3"
                short = (deep or mobile) if size == SIZES[-1] else (deep and mobile)
                yield pytest.param(variant, refiner, *size, marks=[] if short else [pytest.mark.long])


@pytest.mark.parametrize(("variant", "refiner", "height", "width", "ratio", "refine", "at_ratio_one"), [*cases()])
def test_in_float64_it_is_the_reference(variant, refiner, height, width, ratio, refine, at_ratio_one):
    model = load_checkpoint("seeded", variant, refiner).network(refine).double()
    ops, convs = TorchOps(torch.float64), lowered_convs(model)
    generator = torch.Generator().manual_seed(0)
    expected_states = [None] * 4
    states = tuple(torch.zeros(1, 1, 1, 1, dtype=torch.float64) for _ in range(4))
    is_one = tuple(torch.full((1, 1, 1, 1), float(on), dtype=torch.float64) for on in (ratio == 1, ratio != 1))
    for _ in range(3):
        src = torch.rand(2, 3, height, width, dtype=torch.float64, generator=generator)
        fgr, pha, *expected_states = model(src, *expected_states, ratio)
        graph_ratio = torch.tensor(ratio, dtype=torch.float64) if at_ratio_one == "blend" else ratio
        outputs = program(ops, convs, src, states, graph_ratio, at_ratio_one, is_one)
        states = outputs.states
        assert pha.std() > 0.01
        for expected, given in zip((fgr, pha, *expected_states), (outputs.fgr, outputs.pha, *states), strict=True):
            assert (expected - given).abs().max() <= LIMIT


@pytest.mark.parametrize("refiner", REFINERS)
@pytest.mark.parametrize("written", [divided_convs, separate_convs])
def test_however_its_convolutions_are_written(refiner, written):
    model = load_checkpoint("seeded", "mobilenetv3", refiner).network("always").double()
    src = torch.rand(2, 3, 61, 97, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    zero = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    given = program(TorchOps(torch.float64), written(model), src, (zero,) * 4, 0.375, "refine")
    fgr, pha, *_ = model(src, *[None] * 4, 0.375)
    assert pha.std() > 0.01
    assert all((a - b).abs().max() <= LIMIT for a, b in ((fgr, given.fgr), (pha, given.pha)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_everything_with_the_source_in_it_aligns(variant):
    """onnxruntime cannot use its fast layout if a channel count is no multiple of 4."""
    convs = lowered_convs(load_checkpoint("seeded", variant).network())
    assert {conv.name for conv in convs.values() if conv.weight.shape[1] % 4 and conv.groups == 1} == set()


def test_scopes_are_modules_of_the_network():
    model = load_checkpoint("seeded").network().double()
    ops = TorchOps(torch.float64)
    zero = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    src = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    program(ops, lowered_convs(model), src, (zero,) * 4, 0.5, "refine")
    modules = {name for name, _ in model.named_modules()}
    assert {scope for scope in ops.scopes if scope not in modules} == {"downsample"}
