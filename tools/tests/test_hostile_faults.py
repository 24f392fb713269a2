"""Commands with faults in their input, output, limits, streams and environment: `tools/tests/hostile/faults.py`.

One command for every second fault runs in `make test`, for each in `make test-long`, the others in `make soak`.
"""

import pytest

from tools.tests.hostile.faults import CASES, FAULTS, SUBJECTS, run_fault

QUICK = ("info", "onnx", "recover", "matte")
"""Commands that take a second or two."""

SHORT = [(fault, QUICK[k % len(QUICK)]) for k, fault in enumerate(FAULTS)]


def marks(case):
    return [] if case in SHORT[::2] else [pytest.mark.long] if case in SHORT else [pytest.mark.soak, pytest.mark.long]


pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize(
    ("fault", "subject"),
    [pytest.param(*case, marks=marks(case)) for case in CASES],
)
def test_it_ends_in_an_exit_code_and_leaves_nothing_half_written(fault, subject, hostile_home):
    outcome = run_fault(fault, subject, hostile_home)
    assert outcome["wrong"] == [], outcome


def test_there_are_twelve_faults_of_eight_commands():
    assert len(FAULTS) >= 12
    assert len(SUBJECTS) >= 8
