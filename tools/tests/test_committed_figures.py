"""The limits and the soak's committed results agree."""

import csv
from pathlib import Path

import pytest

from parity_tests.compare import NAMES
from parity_tests.judging.limits import FACTORS
from parity_tests.mutants.suite import CASES

RESULTS = Path(__file__).parents[1] / "measure" / "results"


def lines(name):
    with (RESULTS / name).open(newline="") as file:
        return [*csv.DictReader(file)]


@pytest.mark.parametrize(("precision", "statistic"), FACTORS)
def test_each_factor_names_the_worst_good_export_and_is_at_most_three_times_as_wide(precision, statistic):
    multiples = [
        float(line[f"{name}_{statistic}"])
        for line in lines("random_exports_cpu.csv")
        if line["precision"] == precision
        for name in NAMES
        if line[f"{name}_{statistic}"]
    ]
    factor = FACTORS[precision, statistic]
    assert len(multiples) > 100
    assert factor.worst == max(multiples)
    assert factor.worst < factor.limit <= 3 * factor.worst


def test_no_good_export_was_refused():
    exports = lines("random_exports_cpu.csv")
    assert [int(each["number"]) for each in exports] == [*range(len(exports))]
    assert len(exports) == 246
    assert {each["ok"] for each in exports} == {"yes"}


def test_every_mutant_was_caught():
    tried = lines("mutants_cpu.csv")
    assert [(each["mutant"], each["format"]) for each in tried] == [(mutant.name, name) for mutant, name in CASES]
    assert {each["caught"] for each in tried} == {"yes"}


def test_no_spoiled_file_crashed_a_command():
    assert {each["code"] for each in lines("mutations_cpu.csv")} == {"0", "1", "2"}


@pytest.mark.parametrize("name", ["constructions_cpu.csv", "faults_cpu.csv"])
def test_no_attack_and_no_fault_did_harm(name):
    if not (RESULTS / name).exists():
        pytest.skip("not measured yet")
    assert {each["good"] for each in lines(name)} == {"yes"}


def test_no_system_call_was_forbidden():
    traced = {each["suite"]: each for each in lines("traces_cpu.csv")}
    assert {*traced} == {"good", "mutants", "constructions"}
    assert {each["forbidden"] for each in traced.values()} == {"0"}
    assert int(traced["constructions"]["files"]) >= 240
