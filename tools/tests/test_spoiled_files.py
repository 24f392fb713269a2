"""A hundred spoiled files of every kind through `info`, `verify` and `release verify`; `make soak` takes a thousand.

As in `test_mutated_onnx.py`, they run in their own process, which is restarted after each file that crashed it.
"""

import sys
from collections import Counter

import pytest

from tools.tests.play_mutants import play
from tools.tests.release_mutation_runner import prepare, targets
from tools.tests.reliability import wrong_with

COUNT = 100
MADE = {
    "onnx": "model.onnx",
    "torchscript": "model.torchscript",
    "tensorflow": "savedmodel.zip",
    "tfjs": "tfjs.zip",
    "coreml": "model.mlpackage.zip",
}

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="memory limits and file watches are Linux's here"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory, seeded_artifacts, node):
    """Prepare a good file of each kind except `.mlmodel`, which is slow to make and is read like `.mlpackage`."""
    home = tmp_path_factory.mktemp("spoiled")
    prepare(home, {name: seeded_artifacts[format_name] for format_name, name in MADE.items()})
    return home


@pytest.fixture(scope="module")
def outcomes(home):
    return play("tools.tests.release_mutation_runner", home, 0, COUNT)


def test_each_ends_in_an_exit_code_and_leaves_nothing(outcomes):
    """Check that there is no traceback, hang, stray file or run pickle code, see `wrong_with`."""
    assert [line for each in outcomes for line in wrong_with(each)] == []
    assert {each["number"] for each in outcomes} == {*range(COUNT)}


def test_all_kinds_of_files_and_of_spoiling_are_among_them(outcomes, home):
    assert {each["file"] for each in outcomes} == {*targets(home / "bases")}
    kinds = Counter(each["kind"] for each in outcomes)
    assert kinds.keys() >= {"flip_bits", "truncate", "splice", "swap", "change_value", "spoil_entry", "escape"}
    assert "run_code" in kinds


def test_what_is_spoiled_is_told(outcomes):
    """Check that every spoiled release fails, and that most models are refused: else nothing was tested."""
    assert {each["code"] for each in outcomes if each["command"] == "release verify"} == {1}
    codes = Counter(each["code"] for each in outcomes if each["command"] == "info")
    assert codes[2] > codes[0] > 0


def test_what_is_sought_would_be_found(outcomes):
    """Give each check of `wrong_with` an outcome that it must not pass."""
    good = next(each for each in outcomes if each["code"] == 2)
    assert wrong_with(good) == []
    for spoiled in (
        {"killed": "Timeout"},
        {"code": "KeyError: 'x'"},
        {"code": 139},
        {"err": "Traceback (most recent call last)"},
        {"err": ""},
        {"opened": ["/etc/x"]},
        {"touched": ["secret.bin"]},
        {"left": True},
    ):
        assert wrong_with(good | spoiled), spoiled
