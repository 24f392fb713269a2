"""A tenth of the wrong networks must be caught, most in long tests; `tools/measure/mutants.py` tries all."""

import pytest

from parity_tests.mutants.suite import CASES, MUTANTS, TENTH
from parity_tests.mutants.trial import Court


@pytest.fixture(scope="module")
def court(tmp_path_factory):
    return Court(tmp_path_factory.mktemp("mutants"))


def test_there_are_many_and_each_says_what_is_wrong():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40
    assert len({mutant.why for mutant in MUTANTS}) == len(MUTANTS)
    assert len({format_name for _, format_name in CASES}) >= 3


def cases():
    """Yield a tenth of all. Every fourth one of ONNX's is not long."""
    for k, (mutant, format_name) in enumerate(TENTH):
        marks = [] if format_name == "onnx" and k % 4 == 0 else [pytest.mark.long]
        yield pytest.param(mutant, format_name, id=f"{mutant.name}-{format_name}", marks=marks)


@pytest.mark.parametrize(("mutant", "format_name"), [*cases()])
def test_mutant_is_caught(mutant, format_name, court):
    trial = court.trial(mutant, format_name)
    assert trial.caught, f"{mutant.why} The worst figure is {trial.margin:.2g} of its limit, of {trial.output}."
