"""CoreML files that end at the line: what they hold, and that they are proved and recovered like others."""

import numpy as np
import pytest

from exporters import load_runtime
from exporters.artifact import ArtifactError
from exporters.coreml.runtime_apple import inspect as inspect_in_bytes
from exporters.coreml.runtime_apple import make_step
from exporters.recover import recover
from exporters.spec import Fixed
from exporters.tests.coreml_files import StandIn
from exporters.tests.coreml_spoiled import edited
from parity_tests.clips import builtin_clip
from parity_tests.verify import verify
from rvm_model import load_checkpoint
from rvm_model.tests.clips import drawn_inputs

FIXED = Fixed(width=97, height=65, ratio=0.375)
"""No whole number of pixels inside, which files of mattes refuse."""


@pytest.fixture(scope="module")
def make(exported):
    """Return a function that makes a file of coefficients once."""
    return lambda **options: exported("coreml", outputs="coefficients", fixed=FIXED, **options)


def test_it_says_what_it_is(make):
    artifact = load_runtime("coreml", "evaluator").inspect(make())
    assert (artifact.gives_line, artifact.fixed, artifact.refine) == (True, FIXED, "always")
    assert [(each.name, each.shape) for each in (artifact.inputs[0], *artifact.outputs[:2])] == [
        ("src", (1, 3, 24, 36)),
        ("A", (1, 4, 24, 36)),
        ("b", (1, 4, 24, 36)),
    ]
    assert [each.name for each in artifact.outputs[2:]] == ["r1o", "r2o", "r3o", "r4o"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        *(
            pytest.param(options, marks=pytest.mark.long)
            for options in (
                {"precision": "fp16", "stateful": True},
                {"precision": "int8", "target": "ios14"},
                {"precision": "int8", "refiner": "fast_guided_filter", "zip": True},
            )
        ),
    ],
    ids=str,
)
def test_it_is_proved_with_the_full_size_steps_around_it_and_recovered(options, make):
    path = make(**options)
    artifact, checkpoint = load_runtime("coreml", "evaluator").inspect(path), load_checkpoint("seeded")
    if artifact.refiner != checkpoint.refiner:
        checkpoint = checkpoint.with_fast_guided_filter()
    report = verify(artifact, checkpoint, builtin_clip(12, 97, 65), None, runtime="evaluator")
    assert report.ok, report.comparison.failures
    assert recover([artifact]).weights[path] is not None


def test_on_a_mac_the_same_frames_go_through_apples_interface(make):
    """Test all but CoreML itself, for which the evaluator stands in."""
    artifact = inspect_in_bytes(make())
    step, state, expected_state = make_step(artifact, StandIn(artifact.path)), None, None
    with load_runtime("coreml", "evaluator").load(artifact, "cpu", FIXED.ratio) as expected_step:
        for frame in drawn_inputs(2, 36, 24):
            line, state = step(frame, state)
            expected, expected_state = expected_step(frame, expected_state)
            np.testing.assert_array_equal(line.A, expected.A)
            np.testing.assert_array_equal(line.b, expected.b)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("resolution", "194x65", "has shapes that do not go together: src"),
        ("downsample_ratio", "2", "does not say in its metadata for which size and ratio"),
    ],
)
def test_a_size_that_does_not_reduce_to_its_input_is_damage(key, value, message, make, tmp_path):
    source = make()

    def edit(model):
        model.description.metadata.userDefined[key] = value

    with pytest.raises(ArtifactError, match=message):
        load_runtime("coreml", "evaluator").inspect(edited(source, tmp_path / source.name, edit))
