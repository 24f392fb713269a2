"""The CUDA command on the CPU: kernel by kernel in place of a graph, PyTorch's tracing alone in place of a compiler."""

import csv
import json
from dataclasses import replace

import pytest

from exporters.spec import Fixed
from tools.measure import cuda
from tools.measure.cuda_parts import COLUMNS, FILES, RACERS, Plan, Race, line

SMALL = Fixed(width=96, height=64, ratio=0.5)
PLAN = Plan(device="cpu", frames=12, rounds=2, seconds=900, parity_sizes=(SMALL,), race_sizes=(SMALL,))


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_every_part_measures_and_agrees(tmp_path):
    assert cuda.write_all(PLAN, tmp_path) == 0
    with (tmp_path / "cuda_cpu.csv").open(newline="") as file:
        lines = [*csv.DictReader(file)]
    document = json.loads((tmp_path / "cuda_cpu.json").read_text())
    assert [*lines[0]] == [*COLUMNS]
    assert document["lines"] == lines
    notes = {each["note"] for each in lines if each["note"].startswith("not measured")}
    assert notes == {"not measured: no GPU"}  # the memory of a GPU
    assert {(each["name"], each["precision"]) for each in lines if each["part"] == "parity"} == {
        (file.name, file.precision) for file in FILES
    }
    assert {each["name"] for each in lines if each["part"] == "race"} == {*RACERS}
    assert {each["ok"] for each in lines if each["part"] in ("parity", "captured")} == {"yes"}
    assert [each["after"] for each in document["clocks"]] == [name for name, _ in cuda.parts(PLAN)]


@pytest.mark.long
def test_a_part_that_fails_is_a_line():
    (failed,) = cuda.run_part("race", Race(size=Fixed(width=0, height=64, ratio=0.5), name="captured"), PLAN)
    assert failed["note"].startswith("not measured: ")
    assert failed["ok"] == ""


def test_a_part_that_takes_too_long_is_a_line():
    (failed,) = cuda.run_part("captured", cuda.captured, replace(PLAN, seconds=0.5))
    assert failed["part"] == "captured"
    assert "longer than 0.5 s" in failed["note"]


def test_without_a_gpu_it_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["cuda", "--out", str(tmp_path / "out")])
    monkeypatch.setattr(cuda, "gpu_name", lambda: None)
    with pytest.raises(SystemExit) as caught:
        cuda.main()
    assert caught.value.code == 2
    assert "no CUDA GPU here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_exit_code_is_1_if_a_matte_is_wrong(monkeypatch, tmp_path):
    wrong = [line(part="parity", ok="no")]
    monkeypatch.setattr(cuda, "run_part", lambda *_: wrong)
    assert cuda.write_all(PLAN, tmp_path) == 1


def test_names_of_gpus_become_names_of_files():
    assert cuda.slug("NVIDIA H100 80GB HBM3") == "nvidia_h100_80gb_hbm3"
