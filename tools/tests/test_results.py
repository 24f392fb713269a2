"""The tolerance table holds what `make soak` measured: nobody types a figure of his own."""

import csv
from collections import defaultdict

import pytest

from parity_tests.plays import Play
from parity_tests.tolerances import TOLERANCES, Case, row_of, sampling
from tools.soak import COLUMNS, RESULTS

OUTPUTS = {"fgr": ("fgr",), "pha": ("pha",), "states": ("r1", "r2", "r3"), "r4": ("r4",)}


@pytest.fixture(scope="module")
def worst():
    """By case and output, the largest max_abs and mean_abs of all plays."""
    figures = defaultdict(lambda: defaultdict(float))
    with RESULTS.open(newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        for row in reader:
            ratio = float(row["downsample_ratio"])
            kind = Play(weights=row["weights"], clip=row["clip"], ratio=ratio).kind
            case = row_of(Case(row["format"], row["precision"], row["refiner"], kind, sampling(ratio), row["clip"]))
            states = "states" if TOLERANCES[case].r4 is None else "r4"
            for output, names in {**OUTPUTS, states: (*OUTPUTS[states], "r4")}.items():
                for figure in ("max_abs", "mean_abs"):
                    measured = max(float(row[f"{name}_{figure}"]) for name in names)
                    figures[case][output, figure] = max(figures[case][output, figure], measured)
    return figures


@pytest.mark.parametrize("case", TOLERANCES, ids=str)
def test_a_row_is_what_was_measured(case, worst):
    """Rounded down to two digits, so that a limit is never more than three times the figure."""
    for output in OUTPUTS if TOLERANCES[case].r4 else ("fgr", "pha", "states"):
        for figure in ("max_abs", "mean_abs"):
            measured, held = worst[case][output, figure], getattr(getattr(TOLERANCES[case], output), figure)
            assert 0.9 * measured <= held <= measured, (output, figure)
