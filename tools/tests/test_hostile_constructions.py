"""Attacks built on purpose, through every command that opens such a file: `tools/tests/hostile/constructions`.

A tenth run in `make test`, the others in `make soak`.
"""

import pytest

from tools.tests.hostile.constructions import CONSTRUCTIONS
from tools.tests.hostile.judgement import wrong_with
from tools.tests.hostile.play import play

NAMES = [*CONSTRUCTIONS]
FEW = range(0, len(NAMES), 10)
MOST = [number for number in range(len(NAMES)) if number not in FEW]

pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module")
def few(hostile_home):
    return play("constructions", hostile_home, FEW)


@pytest.fixture(scope="module")
def most(hostile_home):
    return play("constructions", hostile_home, MOST, timeout=7000)


def check(outcomes, name):
    found = [each for each in outcomes if each["kind"] == name]
    assert found
    assert [line for each in found for line in wrong_with(each)] == []


@pytest.mark.parametrize("name", [NAMES[number] for number in FEW])
def test_one_in_ten_is_refused_or_does_no_harm(name, few):
    check(few, name)


@pytest.mark.soak
@pytest.mark.long
@pytest.mark.parametrize("name", [NAMES[number] for number in MOST])
def test_the_others_too(name, most):
    check(most, name)


def test_there_are_enough():
    assert len(NAMES) >= 60
