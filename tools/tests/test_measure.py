"""The runner of the maintainers' measurements."""

import csv

import pytest

from tools.measure import table

COLUMNS = ["number", "ok"]


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "_RESULTS", tmp_path)
    return tmp_path / "table.csv"


def lines(case):
    yield {"number": case, "ok": "no" if case == 2 else "yes"}


def rows(path):
    return [(row["number"], row["ok"]) for row in csv.DictReader(path.read_text().splitlines())]


def test_each_case_gives_its_lines_and_one_that_fails_the_exit_code(results, capsys):
    assert table.measure(results.name, COLUMNS, [1, 3], lines, judged=["ok"]) == 0
    assert table.measure(results.name, COLUMNS, [1, 2, 3], lines, judged=["ok"]) == 1
    assert rows(results) == [("1", "yes"), ("2", "no"), ("3", "yes")]
    assert "FAILED: 2 no: ok: no" in capsys.readouterr().err
    assert table.measure(results.name, COLUMNS, [2], lines) == 0


def test_lines_are_there_when_a_later_case_breaks(results):
    def breaks(case):
        if case == 2:
            raise KeyboardInterrupt
        yield from lines(case)

    with pytest.raises(KeyboardInterrupt):
        table.measure(results.name, COLUMNS, [1, 2], breaks)
    assert rows(results) == [("1", "yes")]


def test_resumed_lines_stay_and_count(results):
    assert table.lines_before(results.name) == []
    table.measure(results.name, COLUMNS, [1, 2], lines, judged=["ok"], resumed=True)
    assert table.measure(results.name, COLUMNS, [3], lines, judged=["ok"], resumed=True) == 1
    assert rows(results) == [("1", "yes"), ("2", "no"), ("3", "yes")]


def test_a_ratio_is_its_median_and_its_range():
    columns = {"ratio_median": "1.50", "ratio_least": "1.00", "ratio_most": "4.00", "rounds": 3}
    assert table.ratio_columns([4, 1, 1.5], 2) == columns
