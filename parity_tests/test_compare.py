"""The judge itself: what must fail does fail."""

import re

import numpy as np
import pytest

from parity_tests.clips import builtin_clip
from parity_tests.compare import NAMES, compare
from parity_tests.play import play_reference
from parity_tests.tolerances import Error, Tolerance
from rvm_model import load_checkpoint

TIGHT = Tolerance(fgr=Error(1e-4, 1e-5), pha=Error(1e-4, 1e-5), states=Error(1e-3, 1e-4), why="for these tests only")


@pytest.fixture(scope="module")
def reference():
    clip = builtin_clip(16, 64, 48)
    return [*play_reference(load_checkpoint("seeded").network(), clip, 0.5)]


def changed(reference, name, change, frames=range(16)):
    return [
        outputs | ({name: change(outputs[name].copy())} if k in frames else {}) for k, outputs in enumerate(reference)
    ]


def test_the_same_outputs_pass(reference):
    comparison = compare(reference, reference, TIGHT)
    assert comparison.ok
    assert comparison.frames == 16
    assert [drift.max_abs for drift in comparison.outputs.values()] == [0] * 6
    assert (comparison.alpha.mad, comparison.alpha.mse, comparison.alpha.dtssd) == (0, 0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_drift_of_any_output_fails_and_says_where(name, reference):
    def nudge(array):
        array[0, 0, 1, 1] += 0.01
        return array

    comparison = compare(reference, changed(reference, name, nudge, frames=[11]), TIGHT)
    assert not comparison.ok
    assert comparison.outputs[name].worst_at == (11, 0, 0, 1, 1)
    assert comparison.outputs[name].max_abs == pytest.approx(0.01, rel=1e-3)
    assert f"{name} drifts" in comparison.failures[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_fails(name, value, reference):
    def poison(array):
        array[0, 0, 1, 1] = value
        return array

    comparison = compare(reference, changed(reference, name, poison, frames=[0]), TIGHT)
    assert not comparison.ok
    assert comparison.outputs[name].worst_at[0] == 0


def test_a_small_error_everywhere_fails_by_its_mean(reference):
    comparison = compare(reference, changed(reference, "pha", lambda array: array + 9e-5), TIGHT)
    assert [failure for failure in comparison.failures if failure.startswith("pha drifts")]


def test_a_runner_that_drops_its_states_fails(reference):
    clip = builtin_clip(16, 64, 48)
    network = load_checkpoint("seeded").network()
    forgetful = [
        outputs
        for t in range(16)
        for outputs in play_reference(network, type(clip)(name="", pixels=clip.pixels[t : t + 1]), 0.5)
    ]
    comparison = compare(reference, forgetful, TIGHT)
    assert comparison.outputs["pha"].frame_max[0] == 0
    assert comparison.outputs["pha"].frame_max[1] > 1e-3
    assert not comparison.ok


def test_outputs_that_do_not_change_prove_nothing(reference):
    still = [reference[0]] * 16
    comparison = compare(still, still, TIGHT)
    assert [failure.partition(" changes by 0.0e+00")[0] for failure in comparison.failures] == list(NAMES)


def test_a_limit_wider_than_the_movement_is_said(reference):
    """The clip does move; it is the limit that would let anything pass."""
    wide = Tolerance(fgr=Error(1, 1), pha=Error(1, 1), states=Error(9, 9), why="for this test only")
    failure = compare(reference, reference, wide).failures[1]
    assert re.search(r"pha changes by [1-9].* no more than its limit \(3.0e\+00\)", failure)


def test_other_shapes_names_and_dtypes_fail(reference):
    for wrong in (
        changed(reference, "r2", lambda array: array[:, :, :-1], frames=[5]),
        [{**outputs, "extra": outputs["pha"]} for outputs in reference],
        [dict(reversed(outputs.items())) for outputs in reference],
        changed(reference, "r3", lambda array: array.astype(np.float16)),
        changed(reference, "pha", lambda array: array.astype(np.int32)),
    ):
        comparison = compare(reference, wrong, TIGHT)
        assert len(comparison.failures) == 1
        assert comparison.failures[0].startswith("frame ")


def test_nothing_and_not_as_much_cannot_be_compared(reference):
    with pytest.raises(ValueError, match="nothing was compared"):
        compare([], [], TIGHT)
    with pytest.raises(ValueError, match="shorter"):
        compare(reference, reference[:-1], TIGHT)


def test_alpha_metrics_are_the_fields(reference):
    """A constant offset has no temporal difference; one that flickers has twice its size."""
    offset = compare(reference, changed(reference, "pha", lambda array: array + 0.1), None).alpha
    assert (offset.mad, offset.mse) == (pytest.approx(0.1, rel=1e-5), pytest.approx(0.01, rel=1e-5))
    assert offset.dtssd == pytest.approx(0, abs=1e-7)
    flicker = compare(
        reference, changed(reference, "pha", lambda array: array + 0.1, frames=range(0, 16, 2)), None
    ).alpha
    assert flicker.dtssd == pytest.approx(0.1, rel=1e-5)
    assert flicker.mad == pytest.approx(0.05, rel=1e-5)
