"""`rvm-export benchmark`: every format has a row, figures are those of the files that ran, errors are one line."""

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import exporters
from exporters import FORMATS
from exporters.spec import Fixed
from rvm_model.errors import UserError
from tools.benchmark import command, timing
from tools.benchmark.chart import draw_charts
from tools.benchmark.command import BenchmarkOptions, benchmark_all
from tools.benchmark.page import NAME, to_html
from tools.benchmark.report import to_csv_text
from tools.benchmark.rows import Benchmark, Conditions, Row, Timing
from tools.tests.html_reader import Reader

ODD = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"
SMALL = ("--resolution", "128x96", "--downsample-ratio", "0.5", "--frames", 12, "--threads", 1, "--rounds", 1)
ONNX, TORCHSCRIPT = "rvm_mobilenetv3_fp32_seeded.onnx", "rvm_mobilenetv3_fp32_seeded.torchscript"
CONDITIONS = Conditions(
    variant="mobilenetv3",
    refiner="deep_guided_filter",
    weights="weights.pth",
    weights_sha256=64 * "0",
    seeded=False,
    clip="clip",
    frames=12,
    size=Fixed(width=128, height=96, ratio=0.5),
    threads=1,
    rounds=2,
    machine={"processor": "a processor"},
    versions={"python": "3.11"},
)


@pytest.fixture(autouse=True)
def fp32_alone(monkeypatch):
    """Leave the formats that the tests play one precision, to be quick."""
    for name in ("onnx", "torchscript"):
        monkeypatch.setitem(FORMATS, name, replace(FORMATS[name], precisions=("fp32",)))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Make a benchmark of two files. Tests must not change it."""
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("onnx", "torchscript"):
            patch.setitem(FORMATS, name, replace(FORMATS[name], precisions=("fp32",)))
        code = benchmark_all(
            BenchmarkOptions(
                formats=("onnx", "torchscript"),
                variant="mobilenetv3",
                refiner="deep_guided_filter",
                checkpoint="seeded",
                trust=False,
                resolution="128x96",
                ratio="0.5",
                clip=None,
                frames=12,
                rounds=1,
                threads=1,
                output=folder,
                force=False,
                reports={"json": folder / "all.json", "csv": folder / "all.csv"},
            )
        )
    assert code == 0
    return folder


def test_files_are_made_proved_timed_and_reported(made):
    assert {path.name for path in made.iterdir()} == {ONNX, TORCHSCRIPT, NAME, "all.json", "all.csv"}
    document = json.loads((made / "all.json").read_text())
    first, second = document["rows"]
    assert (first["file"], second["file"], document["first"]) == (ONNX, TORCHSCRIPT, ONNX)
    assert (document["seeded"], document["resolution"], document["downsample_ratio"]) == (True, "128x96", 0.5)
    assert (first["runtime"], second["runtime"]) == ("onnxruntime", "torch")
    assert document["machine"]["processor"]
    assert first["relative_median"] == 1
    for row in (first, second):
        assert (row["status"], row["reason"]) == ("ok", None)
        assert 0 < row["truth_mad"] < 1
        assert row["truth_mad"] == pytest.approx(row["truth_mad_of_pytorch"], abs=1e-4)
        assert row["file_bytes"] == (made / row["file"]).stat().st_size
        assert 0 < row["yardsticks"] < 8
        assert 0 < row["milliseconds_first_quartile"] <= row["milliseconds_median"]
        assert row["peak_mib_above_before"] > 10  # the weights alone take more
    lines = [*csv.DictReader(io.StringIO((made / "all.csv").read_text()))]
    assert [(line["file"], line["resolution"]) for line in lines] == [(ONNX, "128x96"), (TORCHSCRIPT, "128x96")]


def test_the_page_loads_nothing_runs_nothing_and_shows_every_file(made):
    page = (made / NAME).read_text()
    reader = Reader(page)
    assert {tag for tag, _ in reader.elements} & {"script", "link", "iframe", "object", "form", "base"} == set()
    for tag, attributes in reader.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert re.match(r"#|data:image/jpeg;base64,", attributes.get(name, "#")), (tag, name)
    assert not re.search(r"@import|url\((?!#)", page)
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len({*ids}) == len(ids)
    assert {each["href"].removeprefix("#") for each in reader.of("a")} <= {*ids}
    assert (len(reader.of("svg")), len(reader.of("img"))) == (4, 2)
    for row in json.loads((made / "all.json").read_text())["rows"]:
        assert row["file"] in reader.text
        assert f"{row['file_bytes'] / 1e6:.2f}" in reader.text
        assert f"{row['yardsticks']:.2f}" in reader.text
        assert f"{row['relative_median']:.2f}" in reader.text
    assert "These weights are seeded" in reader.text
    assert str(made) not in page


def test_files_that_exist_are_used_and_one_that_fails_is_not_timed(made, run, tmp_path):
    for name in (ONNX, TORCHSCRIPT):
        shutil.copy(made / name, tmp_path)
    before = (tmp_path / TORCHSCRIPT).stat()
    model = onnx.load(tmp_path / ONNX)
    (seal,) = [each for each in model.metadata_props if each.key == "graph_sha256"]
    model.metadata_props.remove(seal)
    (bias,) = [each for each in model.graph.initializer if each.name == "project_mat.conv.bias"]
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.1), bias.name))
    onnx.save(model, tmp_path / ONNX)
    formats = ("--formats", "onnx", "--formats", "torchscript")
    result = run(
        "benchmark", *formats, "--trust", "--checkpoint", "seeded", *SMALL, "--output", tmp_path, "--json", "-"
    )
    assert result.code == 1
    document = json.loads(result.out)
    bad, good = document["rows"]
    assert (bad["status"], bad["relative_median"], good["status"], document["first"]) == (
        *("failed", None, "ok"),
        TORCHSCRIPT,
    )
    assert bad["yardsticks"] > 100
    assert "is off by" in bad["reason"]
    assert f"{ONNX} failed: fgr is off by" in result.error
    assert "WARNING: seeded weights matte nothing" in result.err
    (line,) = [line for line in result.err.splitlines() if line.strip().startswith("TorchScript fp32")]
    figure, name = line.split()[-2:]
    assert name == "torch", "no figure is broken in a log"
    assert abs(int(figure) - good["peak_mib_above_before"]) < 1
    after = (tmp_path / TORCHSCRIPT).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    text = Reader((tmp_path / NAME).read_text()).text
    assert "1 of 2 files failed" in text
    for failure in bad["reason"].split("; "):
        assert failure in text


def test_a_new_file_that_fails_is_not_kept(run, tmp_path, monkeypatch):
    load = exporters.load_exporter

    class Garbage:
        @staticmethod
        def export(checkpoint, spec, path):
            load("onnx").export(checkpoint, spec, path)
            path.write_bytes(path.read_bytes()[:1000])

    monkeypatch.setattr("tools.benchmark.files.load_exporter", lambda _: Garbage)
    result = run("benchmark", "--formats", "onnx", "--checkpoint", "seeded", *SMALL, "--output", tmp_path)
    assert result.code == 1
    assert f"{ONNX} failed: " in result.error
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_what_cannot_be_made_here_is_a_row_that_says_why(run, tmp_path, monkeypatch):
    find = exporters.find_spec
    monkeypatch.setattr(exporters, "find_spec", lambda name: None if name == "tensorflow" else find(name))
    size = ("--resolution", "130x96", "--downsample-ratio", "0.25")
    formats = ("--formats", "tensorflow", "--formats", "coreml")
    result = run("benchmark", *formats, "--checkpoint", "seeded", *size, "--output", tmp_path, "--json", "-")
    assert result.code == 0
    rows = json.loads(result.out)["rows"]
    assert [row["status"] for row in rows] == ["not installed", *["skipped"] * 3]
    assert "run: pip install 'rvm-export[tensorflow]'" in rows[0]["reason"]
    assert "CoreML needs whole numbers; give 128x96 or 132x96" in rows[1]["reason"]
    text = Reader((tmp_path / NAME).read_text()).text
    for row in rows:
        assert row["file"] in text
        assert row["reason"] in text


def test_files_of_other_weights_or_of_another_kind_are_refused(made, run, tmp_path):
    model = onnx.load(made / ONNX)
    (own,) = [each for each in model.metadata_props if each.key == "weights_sha256"]
    own.value = 64 * "0"
    onnx.save(model, tmp_path / ONNX)
    arguments = ("benchmark", "--formats", "onnx", "--checkpoint", "seeded", *SMALL, "--output", tmp_path)
    result = run(*arguments)
    assert result.code == 2
    assert f"{ONNX} is there, of other weights; use --force to replace it" in result.error
    (tmp_path / ONNX).write_bytes(b"\x08\x07 garbage")
    result = run(*arguments)
    assert result.code == 2
    assert "use --force to replace it" in result.error
    assert [path.name for path in tmp_path.iterdir()] == [ONNX]


def test_missing_packages_of_the_page_are_said_first(run, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "matplotlib" else name)
    result = run("benchmark", "--checkpoint", "nothing.pth")
    assert result.code == 2
    assert result.error.endswith("a benchmark needs matplotlib; run: pip install 'rvm-export[release]'")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--formats", "tflite"], "'tflite' is not one of coreml, executorch, litert, ncnn, onnx"),
        (["--resolution", "8x8", "--downsample-ratio", "0.05"], "leaves 0x0 pixels"),
        (["--resolution", "128"], "--resolution 128: give width x height"),
        (["--downsample-ratio", "1"], "at ratio 1 files differ in whether they refine"),
        (["--output", "FILE"], "is a file"),
        (["--output", "FILE/in"], "is a file"),
        (["--output", "out.onnx"], "out.onnx is a file's name"),
        (["--rounds", "0"], "--rounds"),
        (["--frames", "3"], "3 frames are too few"),
        (["--json", "-", "--csv", "-"], "cannot all have stdout"),
        (["--clip", "nothing.mp4"], "no such clip: nothing.mp4"),
        (["--checkpoint", "nothing.pth"], "nothing.pth"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_made(arguments, error, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("somebody's")
    result = run("benchmark", "--checkpoint", "seeded", *SMALL, *arguments)
    assert (result.code, result.out) == (2, "")
    assert error in result.error
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


def row(name, **facts):
    return Row(**{"name": name, "format": "onnx", "precision": "fp32", "status": "ok"} | facts)


def test_names_are_no_markup_and_what_has_no_figures_has_no_chart():
    rows = (row(ODD, status="failed", reason=f"{ODD} fails"), row("second", status="skipped", reason=ODD))
    benchmark = Benchmark(conditions=replace(CONDITIONS, clip=ODD), rows=rows)
    reader = Reader(to_html(benchmark))
    assert reader.of("script") == []
    assert f"{ODD} fails" in reader.text
    assert draw_charts(benchmark) == {}
    assert len(to_csv_text(benchmark).splitlines()) == 3


def test_charts_show_files_without_a_time_too():
    timed = Timing(milliseconds=(1, 2, 3), relative=(0.9, 1, 1.1), memory=None)
    rows = (row("a", bytes=10**6, timing=timed), row("b", bytes=2 * 10**6), row("c", status="failed"))
    charts = draw_charts(Benchmark(conditions=CONDITIONS, rows=rows))
    assert [*charts] == ["Size on disk, MB", "Time for each frame, relative to the first timed file"]
    assert all(word in charts["Size on disk, MB"] for word in (">1.0<", ">2.0<", ">failed<"))
    assert all(word in [*charts.values()][1] for word in (">1.00<", ">not measured<"))


def test_coremls_evaluator_has_no_time_and_a_race_that_breaks_fails_those_in_it(monkeypatch):
    def broken(*_):
        raise UserError("no memory")

    monkeypatch.setattr(timing, "_race", broken)
    monkeypatch.setattr(Row, "runtime", "evaluator")
    alone = [row("a.mlpackage", format="coreml")]
    (untimed,) = timing.time_rows(alone, {}, None, 1, 1, lambda: None)
    assert (untimed.status, untimed.timing) == ("ok", None)
    assert "evaluator computes as the device does, but not in its time" in untimed.reason
    monkeypatch.setattr(Row, "runtime", "onnxruntime")
    (failed,) = timing.time_rows([row("a.onnx")], {}, None, 1, 1, lambda: None)
    assert (failed.status, failed.reason) == ("failed", "not timed: no memory")
