"""Tests of the judge: what must fail does fail."""

import re
from dataclasses import replace

import numpy as np
import pytest

from parity_tests.clips import builtin_clip, held_clip
from parity_tests.compare import NAMES, Comparison
from parity_tests.compare import compare as measure
from parity_tests.judging import judge
from parity_tests.judging.drift import HIGH, DriftTally, Error
from parity_tests.judging.limits import FACTORS
from parity_tests.play import play_reference
from rvm_model import load_checkpoint

UNITS = dict.fromkeys(NAMES, Error(max_abs=1e-5, mean_abs=1e-6, high_abs=1e-5))


def compare(reference, candidate, units=UNITS, precision="fp32", trained=False) -> Comparison:
    """Measure, and judge as if PyTorch's own error were `units`."""
    comparison = measure(reference, candidate)
    if comparison.failures:
        return comparison
    limits = judge.limits_of(units, precision)
    return replace(comparison, failures=tuple(judge.failures(comparison, units, limits, precision, trained)))


@pytest.fixture(scope="module")
def reference():
    clip = builtin_clip(16, 64, 48)
    return [*play_reference(load_checkpoint("seeded").network(), clip, 0.5)]


def changed(reference, name, change, frames=range(16)):
    return [
        outputs | ({name: change(outputs[name].copy())} if k in frames else {}) for k, outputs in enumerate(reference)
    ]


def test_the_same_outputs_pass(reference):
    comparison = compare(reference, reference)
    assert comparison.ok
    assert comparison.frames == 16
    assert [drift.max_abs for drift in comparison.outputs.values()] == [0] * 6
    assert (comparison.alpha.mad, comparison.alpha.mse, comparison.alpha.dtssd) == (0, 0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_drift_of_any_output_fails_and_says_where(name, reference):
    def nudge(array):
        array[0, 0, 1, 1] += 0.01
        return array

    comparison = compare(reference, changed(reference, name, nudge, frames=[11]))
    assert not comparison.ok
    assert comparison.outputs[name].worst_at == (11, 0, 0, 1, 1)
    assert comparison.outputs[name].max_abs == pytest.approx(0.01, rel=1e-3)
    assert f"{name} is off by " in comparison.failures[0]
    assert "worst in frame 11 at x 1, y 1, channel 0" in comparison.failures[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_fails(name, value, reference):
    def poison(array):
        array[0, 0, 1, 1] = value
        return array

    comparison = compare(reference, changed(reference, name, poison, frames=[0]))
    assert not comparison.ok
    assert comparison.outputs[name].worst_at[0] == 0


def test_a_small_error_everywhere_fails_by_its_mean(reference):
    comparison = compare(reference, changed(reference, "pha", lambda array: array + 9e-5))
    assert [failure for failure in comparison.failures if failure.startswith("pha is off")]


def test_a_runner_that_drops_its_states_fails(reference):
    clip = builtin_clip(16, 64, 48)
    network = load_checkpoint("seeded").network()
    forgetful = [
        outputs for t in range(16) for outputs in play_reference(network, held_clip("", clip.pixels[t : t + 1]), 0.5)
    ]
    comparison = compare(reference, forgetful)
    assert comparison.outputs["pha"].frame_max[0] == 0
    assert comparison.outputs["pha"].frame_max[1] > 1e-3
    assert not comparison.ok


def test_outputs_that_do_not_change_prove_nothing(reference):
    still = [reference[0]] * 16
    comparison = compare(still, still)
    assert [failure.partition(" changes by 0.0e+00")[0] for failure in comparison.failures] == list(NAMES)


def test_a_limit_wider_than_the_movement_is_said(reference):
    """Use a clip that moves, with limits that would let anything pass."""
    wide = dict.fromkeys(NAMES, Error(max_abs=1, mean_abs=1, high_abs=1))
    failure = compare(reference, reference, wide).failures[1]
    assert re.search(r"pha changes by [1-9].* no more than its limit \(\d\.\de\+00\)", failure)


def test_other_shapes_names_and_dtypes_fail(reference):
    for wrong in (
        changed(reference, "r2", lambda array: array[:, :, :-1], frames=[5]),
        [{**outputs, "extra": outputs["pha"]} for outputs in reference],
        [dict(reversed(outputs.items())) for outputs in reference],
        changed(reference, "r3", lambda array: array.astype(np.float16)),
        changed(reference, "pha", lambda array: array.astype(np.int32)),
    ):
        comparison = compare(reference, wrong)
        assert len(comparison.failures) == 1
        assert comparison.failures[0].startswith("frame ")


def test_nothing_and_not_as_much_cannot_be_compared(reference):
    with pytest.raises(ValueError, match="nothing was compared"):
        compare([], [])
    with pytest.raises(ValueError, match="shorter"):
        compare(reference, reference[:-1])


def test_alpha_metrics_are_the_fields(reference):
    """Add a constant offset, which has no temporal difference, and one that flickers: its size is the difference."""
    offset = compare(reference, changed(reference, "pha", lambda array: array + 0.1)).alpha
    assert (offset.mad, offset.mse) == (pytest.approx(0.1, rel=1e-5), pytest.approx(0.01, rel=1e-5))
    assert offset.dtssd == pytest.approx(0, abs=1e-7)
    flicker = compare(reference, changed(reference, "pha", lambda array: array + 0.1, frames=range(0, 16, 2))).alpha
    assert flicker.dtssd == pytest.approx(0.1, rel=1e-5)
    assert flicker.mad == pytest.approx(0.05, rel=1e-5)


def test_a_quantile_lies_between_mean_and_maximum():
    """Compare it with the quantile of all values of all frames, to within a bin of the histogram."""
    errors = np.random.default_rng(0).exponential(1e-6, (5, 1, 2, 40, 50))
    tally = DriftTally()
    for error in errors:
        tally.add(np.zeros_like(error), error)
    drift = tally.drift()
    assert drift.high_abs == pytest.approx(np.quantile(errors, HIGH), rel=0.02)
    assert drift.mean_abs < drift.high_abs < drift.max_abs


def test_one_wrong_pixel_moves_the_maximum_alone(reference):
    def nudge(array):
        array[0, 0, 1, 1] += 5e-5
        return array

    drift = compare(reference, changed(reference, "fgr", nudge)).outputs["fgr"]
    assert drift.max_abs == pytest.approx(5e-5, rel=1e-2)
    assert drift.high_abs == 0


def test_what_rounding_to_bytes_costs_does_not_count():
    tally = DriftTally(slack=0.5 / 255)
    expected = np.linspace(0, 1, 1000, dtype=np.float64).reshape(1, 1, 10, 100)
    tally.add(expected, np.round(expected * 255) / 255)
    assert tally.drift().max_abs < 1e-9


def test_a_file_is_judged_by_a_multiple_of_the_yardstick(reference):
    limit = FACTORS["fp32", "mean"].limit
    for times, passes in ((0.9 * limit, True), (1.1 * limit, False)):
        units = dict.fromkeys(NAMES, Error(max_abs=1e-4, mean_abs=1e-4 / times, high_abs=1e-4))
        assert compare(reference, changed(reference, "r1", lambda array: array + 1e-4), units).ok == passes


def test_eight_bits_have_a_bound_that_no_yardstick_widens(reference):
    wide = dict.fromkeys(NAMES, Error(max_abs=1, mean_abs=1e-3, high_abs=1))
    wide["pha"] = Error(max_abs=1, mean_abs=6e-3, high_abs=1)
    shifted = changed(reference, "pha", lambda array: array + 2.5e-2)
    failures = compare(reference, shifted, wide, "int8", trained=True).failures
    assert [failure for failure in failures if "may be off by" in failure]
    assert not [each for each in compare(reference, shifted, wide, "int8").failures if "may be off by" in each]
