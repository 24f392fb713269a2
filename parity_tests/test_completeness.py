"""What a new format still lacks: run this after adding its folder."""

import tomllib
from pathlib import Path

import pytest

from exporters import FORMATS, load_exporter, load_runtime
from parity_tests.tolerances import TOLERANCES, Case
from rvm_model.state import REFINERS

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())


@pytest.mark.parametrize("name", FORMATS)
def test_it_exports_and_runs(name):
    assert callable(load_exporter(name).export)
    runtime = load_runtime(name)
    assert all(callable(getattr(runtime, function)) for function in ("inspect", "load", "to_numpy"))


@pytest.mark.parametrize("name", FORMATS)
def test_it_has_an_extra_and_a_contract(name):
    assert FORMATS[name].extra in PROJECT["project"]["optional-dependencies"]
    independent = PROJECT["tool"]["importlinter"]["contracts"][1]["modules"]
    assert f"exporters.{name}" in independent


@pytest.mark.parametrize("name", FORMATS)
def test_it_has_tolerances(name):
    wanted = {
        Case(format=name, precision=precision, refiner=refiner, weights=weights, sampling=sampling)
        for precision in FORMATS[name].precisions
        for refiner in REFINERS
        for weights in ("trained", "seeded")
        for sampling in ("exact", "rounded")
    }
    assert {str(case) for case in wanted - TOLERANCES.keys()} == set()


def test_no_tolerance_is_left_over():
    assert {case.format for case in TOLERANCES} == set(FORMATS)


@pytest.mark.parametrize("case", TOLERANCES, ids=str)
def test_every_tolerance_says_why(case):
    tolerance = TOLERANCES[case]
    assert len(tolerance.why) > 20
    for error in (tolerance.fgr, tolerance.pha, tolerance.states):
        assert 0 <= error.mean_abs <= error.max_abs
