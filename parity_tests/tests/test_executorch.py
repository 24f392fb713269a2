"""Test that ExecuTorch files compute what PyTorch computes, in both precisions and for all networks."""

import pytest

from exporters import describe
from exporters.recover import recover
from exporters.spec import Fixed
from parity_tests.cases import case_checkpoint
from parity_tests.clips import builtin_clip
from parity_tests.recovered import verify_recovered
from parity_tests.verify import verify

FRAMES = 12
SIZE = Fixed(width=160, height=96, ratio=0.5)


def checked(path, refiner="deep_guided_filter", variant="mobilenetv3", fixed=SIZE):
    clip = builtin_clip(FRAMES, fixed.width, fixed.height)
    report = verify(describe(path), case_checkpoint("seeded", variant, refiner), clip, None)
    assert report.ok, report.comparison.failures
    assert len(report.comparison.outputs) == 6


@pytest.mark.parametrize("precision", ["fp32", pytest.param("fp16", marks=pytest.mark.long)])
def test_every_precision_is_judged_by_its_own(precision, exported):
    checked(exported("executorch", fixed=SIZE, precision=precision))


@pytest.mark.long
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_weights_taken_out_of_a_file_give_its_mattes(precision, exported):
    path = exported("executorch", fixed=SIZE, precision=precision)
    for report in verify_recovered(recover([describe(path)])):
        assert report.ok, report.comparison.failures


@pytest.mark.long
@pytest.mark.parametrize(
    ("variant", "refiner", "fixed", "precision"),
    [
        ("mobilenetv3", "fast_guided_filter", Fixed(width=104, height=72, ratio=0.125), "fp32"),
        ("mobilenetv3", "fast_guided_filter", Fixed(width=104, height=72, ratio=0.125), "fp16"),
        ("mobilenetv3", "deep_guided_filter", Fixed(width=101, height=67, ratio=1.0), "fp32"),
        ("resnet50", "deep_guided_filter", SIZE, "fp32"),
        ("resnet50", "deep_guided_filter", SIZE, "fp16"),
    ],
)
def test_other_networks(variant, refiner, fixed, precision, exported):
    """Test both precisions, except half precision at ratio 1: its page says that no such file passes here."""
    path = exported("executorch", fixed=fixed, variant=variant, refiner=refiner, precision=precision)
    checked(path, refiner, variant, fixed)
