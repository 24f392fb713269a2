"""`rvm-export bisect`: its output, its exit codes, and its refusals."""

import json
import re
import shutil

import onnx
import pytest
from onnx import numpy_helper

from exporters.onnx.traced import export_traced
from rvm_model import load_checkpoint

MODULE = "decoder.decode3.conv.0"


@pytest.fixture
def good(seeded_artifacts):
    return seeded_artifacts["onnx"]


@pytest.fixture
def broken(good, tmp_path):
    """Double the weights of one convolution."""
    model = onnx.load(good)
    weight = next(weight for weight in model.graph.initializer if weight.name == f"{MODULE}.weight")
    weight.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(weight), weight.name))
    model.metadata_props.remove(next(entry for entry in model.metadata_props if entry.key == "graph_sha256"))
    onnx.save(model, tmp_path / "broken[b].onnx")
    return tmp_path / "broken[b].onnx"


def test_the_first_drift_is_named_and_those_around_it_shown(broken, run):
    result = run("bisect", broken, "--frames", 12)
    assert (result.code, result.out) == (1, "")
    (line,) = [line for line in result.err.splitlines() if line.startswith("first drift: ")]
    number = r"\d\.\de[+-]\d\d"
    assert re.fullmatch(
        rf"first drift: {MODULE} \(relative error {number}, threshold 5\.0e-05\); the points before it agree", line
    )
    shown = [line for line in result.err.splitlines() if "│" in line]
    assert len(shown) == 4 + 1 + 4
    assert MODULE in shown[4]
    assert "first drift" in shown[4]
    assert not any("drift" in line for line in shown[:4])
    assert all("drifts" in line for line in shown[5:])
    assert "decoder.decode4.gru " in shown[3]
    assert "--all shows 82 points more" in result.err


def test_all_points_are_shown_if_asked_for(broken, run):
    result = run("bisect", broken, "--frames", 12, "--all")
    assert len([line for line in result.err.splitlines() if "│" in line]) == 91
    assert "--all" not in result.err


def test_a_good_file_ends_with_its_outputs(good, run):
    result = run("bisect", good, "--frames", 12, "--json", "-")
    assert result.code == 0, result.err
    assert "no drift: 91 points agree" in result.err
    report = json.loads(result.out)
    assert (report["ok"], report["first_drift"], report["against"], report["frames"]) == (True, None, "PyTorch", 12)
    assert [point["name"] for point in report["points"]][-2:] == ["fgr", "pha"]
    assert all(0 <= point["mean_error"] <= point["max_error"] < report["threshold"] for point in report["points"])
    assert (report["width"], report["height"], report["downsample_ratio"]) == (320, 180, 0.5)


def test_the_report_as_a_file(broken, good, run, tmp_path):
    result = run("bisect", broken, "--against", good, "--frames", 12, "--json", tmp_path / "report.json")
    assert (result.code, result.out) == (1, "")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["first_drift"], report["against"]) == (MODULE, str(good))
    drifting = [point["name"] for point in report["points"] if point["drifts"]]
    assert drifting[0] == MODULE
    assert drifting[-2:] == ["fgr", "pha"]


def test_a_foreign_file_of_the_released_kind(run, tmp_path):
    export_traced(load_checkpoint("seeded").network("always"), tmp_path / "traced.onnx")
    result = run("bisect", tmp_path / "traced.onnx", "--checkpoint", "seeded", "--frames", 12)
    assert result.code == 0, result.err


def test_a_loose_threshold_sees_no_drift(broken, run):
    assert run("bisect", broken, "--frames", 12, "--threshold", "100").code == 0


@pytest.mark.long
def test_the_trained_weights_on_the_real_clip(shared, run, tmp_path):
    """Test the default thresholds on the inputs they were measured on."""
    weights, clip = shared / "weights/rvm_mobilenetv3_from_tfjs.safetensors", shared / "clip/frames"
    for precision in ("fp32", "fp16"):
        path = tmp_path / f"{precision}.onnx"
        made = run("onnx", "--checkpoint", weights, "--precision", precision, "--no-verify", "--output", path)
        assert made.code == 0, made.err
        result = run("bisect", path, "--checkpoint", weights, "--clip", clip, "--downsample-ratio", 0.375)
        assert result.code == 0, result.err


@pytest.mark.parametrize("position", ["first", "against"])
def test_only_onnx_is_read(position, good, seeded_artifacts, run):
    other = seeded_artifacts["torchscript"]
    result = run("bisect", *([other] if position == "first" else [good, "--against", other]))
    assert (result.code, result.out) == (2, "")
    assert result.error == f"rvm-export: error: bisect reads ONNX files; {other} is TorchScript"


@pytest.mark.parametrize("position", ["first", "against"])
@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_a_file_that_is_none(position, content, good, run, tmp_path):
    other = tmp_path / "other.onnx"
    if content is not None:
        other.write_bytes(content)
    result = run("bisect", *([other] if position == "first" else [good, "--against", other]))
    assert (result.code, result.out) == (2, "")
    assert "other.onnx" in result.error


def test_an_edited_file_is_asked_to_say_so(good, run, tmp_path):
    path = tmp_path / shutil.copy(good, tmp_path / "edited.onnx")
    model = onnx.load(path)
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    onnx.save(model, path)
    assert "remove its metadata entry graph_sha256" in run("bisect", path).error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "3"], "at least 12"),
        (["--clip", "none.mp4"], "no such clip: none.mp4"),
        (["--downsample-ratio", "2"], "give a number in (0, 1], or auto"),
        (["--checkpoint", "auto"], "give a path, official or seeded"),
        (["--json", "."], "is a folder"),
        (["--threshold", "nan"], "--threshold nan: give a number from 0 up"),
        (["--threshold=-1"], "--threshold -1: give a number from 0 up"),
    ],
)
def test_wrong_words_are_said_in_one_line(arguments, message, good, run):
    result = run("bisect", good, *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.error
