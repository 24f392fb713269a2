"""`rvm-export bench`: its figures are those of the frames that ran, and it refuses bad input in one line."""

import csv
import io
import json
import multiprocessing
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest

from exporters import FORMATS, load_exporter, open_artifact
from exporters.artifact import TensorInfo
from exporters.onnx import OnnxSpec
from exporters.spec import Fixed
from parity_tests.clips import held_clip
from parity_tests.judging.drift import Error
from rvm_model import load_checkpoint
from rvm_model.errors import UserError
from tools.bench import command, exporting
from tools.bench import race as races
from tools.bench.contender import Memory
from tools.bench.race import Contender, Course, Measured
from tools.bench.report import Race, speeds
from tools.shared.outputs import ExportFailed
from tools.tests import job_functions

SMALL = ("--resolution", "128x96", "--downsample-ratio", "0.5", "--threads", 1, "--rounds", 2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Make a file for any size, a file for one, one of coefficients, and two with another weight and no metadata."""
    folder = tmp_path_factory.mktemp("bench")
    paths = {name: folder / f"{name}.onnx" for name in ("dynamic", "fixed", "line", "spoiled", "wrong_line")}
    made: dict[str, dict[str, object]] = {
        "dynamic": {},
        "fixed": {"fixed": Fixed(width=128, height=96, ratio=0.5)},
        "line": {"outputs": "coefficients"},
    }
    for name, options in made.items():
        spec = OnnxSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", **options)
        load_exporter("onnx").export(load_checkpoint("seeded"), spec, paths[name])
    for name, of in (("spoiled", "dynamic"), ("wrong_line", "line")):
        model = onnx.load(paths[of])
        del model.metadata_props[:]
        (bias,) = [each for each in model.graph.initializer if each.name == "project_mat.conv.bias"]
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.1), bias.name))
        onnx.save(model, paths[name])
    return paths


def test_files_and_baselines_are_timed_compared_and_reported(files, run, tmp_path):
    table = tmp_path / "table.csv"
    result = run("bench", files["fixed"], files["spoiled"], *SMALL, "--json", "-", "--csv", table)
    assert result.code == 1
    report = json.loads(result.out)
    (race,) = report["races"]
    assert [race[key] for key in ("resolution", "downsample_ratio", "device", "threads", "rounds", "baseline")] == [
        *("128x96", 0.5, "cpu", 1, 2, "traced")
    ]
    lines = {line["file"]: line for line in race["contenders"]}
    assert [*lines] == ["pytorch", "torchscript", "traced", "fixed.onnx", "spoiled.onnx"]
    assert lines["traced"]["ratio_median"] == 1
    # A file that drifts has no times.
    spoiled = lines.pop("spoiled.onnx")
    times = ("milliseconds_median", "frames_per_second", "ratio_median")
    assert (spoiled["ok"], *(spoiled[name] for name in times)) == (False, None, None, None)
    for line in lines.values():
        assert 0 < line["milliseconds_first_quartile"] <= line["milliseconds_median"]
        assert line["frames_per_second"] == pytest.approx(1000 / line["milliseconds_median"], rel=1e-2)
        assert line["peak_mib_above_before"] > 10  # the weights alone take more
        assert line["file_bytes"] > 14_000_000
    assert 0 < lines["pytorch"]["pha_max_abs"] < 1e-5, "its own rounding"
    assert all(line["ok"] and line["pha_max_abs"] < 1e-4 for line in lines.values())
    assert "spoiled.onnx drifts, and is not timed: fgr by" in " ".join(result.err.split())
    assert report["machine"]["processor"]
    assert "onnxruntime" in report["versions"]
    rows = [*csv.DictReader(io.StringIO(table.read_text()))]
    assert [row["file"] for row in rows] == [*lines, "spoiled.onnx"]
    assert {(row["resolution"], row["processor"]) for row in rows} == {("128x96", report["machine"]["processor"])}
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("fused", [True, pytest.param(False, marks=pytest.mark.long)])
def test_beside_a_file_of_coefficients_all_go_from_bytes_to_cutouts(fused, files, run, monkeypatch):
    all_baselines = command.make_baselines  # less of them, since each takes a process
    monkeypatch.setattr(command, "make_baselines", lambda *given: all_baselines(*given)[::2])
    if not fused:
        monkeypatch.setattr(races, "serve", job_functions.serve_without_numba)
    result = run("bench", files["line"], files["wrong_line"], *SMALL, "--json", "-")
    assert result.code == 1
    (race,) = json.loads(result.out)["races"]
    assert race["input"] == "built-in clip, bytes to cut-outs in bytes"
    lines = {line["file"]: line for line in race["contenders"]}
    assert [name for name, line in lines.items() if not line["ok"]] == ["wrong_line.onnx"]
    assert lines["wrong_line.onnx"]["milliseconds_median"] is None
    for name in ("pytorch", "traced", "line.onnx"):
        assert lines[name]["milliseconds_median"] > 0
        assert lines[name]["fgr_max_abs"] < 1e-4
        assert lines[name]["pha_max_abs"] < 1e-4


def test_what_gives_no_cutout_is_refused_beside_a_file_of_coefficients(files):
    line = Contender(
        name="line.onnx", path=files["line"], artifact=open_artifact(files["line"], trust=False), runtime=None
    )
    pha = replace(line.artifact, outputs=(TensorInfo(name="pha", dtype="float32", shape=()),))
    with pytest.raises(UserError, match="pha gives no foreground or no alpha, so no cut-out as the others do"):
        command._refuse_without_cutout([line, replace(line, name="pha", artifact=pha)])


def test_sizes_and_threads_make_a_race_each_and_a_file_of_one_size_runs_in_its_own(files, run, tmp_path, monkeypatch):
    namesake = shutil.copy(files["dynamic"], tmp_path)
    asked = []

    def race(contenders, judges, course, clip, on_round):
        asked.append((clip.size, course.size.ratio, course.threads, [each.name for each in contenders]))
        memory = Memory(before=None, peak=None)
        return [
            Measured(contender=each, file_bytes=0, seconds=(1,), memory=memory, drift={}, failures=())
            for each in contenders
        ]

    monkeypatch.setattr(command, "race", race)
    more = ("--resolution", "96x64", "--downsample-ratio", "0.25", "--threads", 2)
    result = run("bench", files["dynamic"], namesake, files["fixed"], *SMALL, *more, "--baseline", "pytorch")
    assert result.code == 0
    # Two are named by their paths, since both have the same file name.
    five = ["pytorch", "torchscript", "traced", str(files["dynamic"]), str(namesake)]
    assert asked == [
        ((height, width), ratio, threads, five + extra)
        for height, width, ratio, extra in ((96, 128, 0.5, ["fixed.onnx"]), (64, 96, 0.25, []))
        for threads in (1, 2)
    ]


@pytest.mark.long
def test_the_preset_is_the_released_speed_test(run, monkeypatch):
    asked = []

    def race(contenders, judges, course, clip, on_round):
        asked.append((clip.name, clip.size, course.size.ratio))
        raise ExportFailed("enough")

    monkeypatch.setattr(command, "race", race)
    assert run("bench", "--preset", "rvm", "--threads", 1).code == 1
    assert asked == [("random input", (1080, 1920), 0.25)]
    assert [(size.width, size.height, size.ratio) for size in command.RELEASED_SIZES] == [
        *((1920, 1080, 0.25), (3840, 2160, 0.125))
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["--baseline", "traecd"],
            "nothing is called 'traecd' at 128x96 at ratio 0.5; give as --baseline one of: ",
        ),
        (["--baseline", "fixed.onnx", "--resolution", "96x64"], "2 resolutions and 1 ratios"),
        (["FIXED", "--resolution", "96x64"], "2 resolutions and 1 ratios"),
        (["--preset", "rvm"], "leave --resolution and --downsample-ratio out"),
        (["--device", "browser"], "give TensorFlow.js or ONNX files, the baseline first"),
        (["--device", "browser-webgl", "ONNX"], "--device browser-webgl takes files of TensorFlow.js"),
        (["--device", "browser-webgl"], "--device browser-webgl has no baselines of its own"),
        (["ONNX", "ONNX"], "was given twice; give each file once"),
        (["ONNX", "--checkpoint", "auto"], "give a path, official or seeded"),
        (["nothing.onnx"], "nothing.onnx"),
        (["ONNX", "--export"], "--export times exporters, not files"),
        (["--json", "-", "--csv", "-"], "cannot all have stdout"),
        (["--rounds", "0"], "--rounds"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, error, files, run):
    paths = {"ONNX": files["dynamic"], "FIXED": files["fixed"]}
    result = run("bench", *SMALL, *(paths.get(each, each) for each in arguments))
    assert (result.code, result.out) == (2, "")
    assert error in result.error


def test_a_file_for_no_size_that_is_measured_is_refused(files, run):
    result = run("bench", files["fixed"], "--resolution", "96x64", "--downsample-ratio", "0.5")
    assert result.code == 2
    assert "is for 128x96 at ratio 0.5 and batch 1 only" in result.error


def test_cuda_is_refused_without_a_gpu(run):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result = run("bench", *SMALL, "--device", "cuda")
    assert (result.code, "finds no CUDA GPU" in result.error) == (2, True)


def test_turns_rotate_and_all_get_the_same_frames(monkeypatch, tmp_path):
    """Replace the processes by fake players."""
    asked = []

    class Player:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    def ask(player, contender, request):
        if request is None:
            return Memory(before=1, peak=2)
        frame, wanted = request
        asked.append((contender.name, int(frame[0, 0, 0, 0]), wanted))
        return races.Turn(seconds=1, outputs={"pha": np.zeros((1, 1, 2, 2), np.float32)})

    monkeypatch.setattr(races, "_process", lambda contender, *_: Player(contender.name))
    monkeypatch.setattr(races, "_ask", ask)
    clip = held_clip(
        name="", pixels=np.arange(2, dtype=np.uint8)[:, None, None, None, None] * np.ones((1, 1, 2, 2, 3), np.uint8)
    )
    names = ["a", "b", "c"]
    contenders = [Contender(name=name, path=tmp_path, artifact=None, runtime=None) for name in names]
    course = Course(size=Fixed(width=2, height=2, ratio=0.5), threads=1, device="cpu", precision="fp32", rounds=2)
    expected = [{"pha": np.zeros((1, 1, 2, 2))}] * 3
    judge = races.Judge(expected=expected, limits={"pha": Error(max_abs=0, mean_abs=0, high_abs=0)}, slack=0)
    measured = races.race(contenders, [judge] * 3, course, clip, lambda: None)
    assert [name for name, _, _ in asked] == [*"abc", *"bca", *"cab", *"abc", *"bca"]
    assert [pixel for _, pixel, _ in asked[::3]] == [0, 1, 0, 1, 0]
    assert [wanted for *_, wanted in asked[::3]] == [True, True, True, False, False]
    assert [each.seconds for each in measured] == [(1, 1)] * 3
    assert not any(each.failures for each in measured)


def test_the_ratio_is_taken_round_by_round(tmp_path):
    """Check for the median of ratios, not the ratio of medians: a slow moment slows both frames of a round."""

    def measured(name, *seconds):
        contender = Contender(name=name, path=tmp_path, artifact=None, runtime=None)
        memory = Memory(before=2**20, peak=3 * 2**20)
        return Measured(contender=contender, file_bytes=0, seconds=seconds, memory=memory, drift={}, failures=())

    baseline, own = measured("base", 2.0, 20.0, 2.0), measured("own", 1.0, 10.0, 4.0)
    course = Course(size=Fixed(width=2, height=2, ratio=0.5), threads=1, device="cpu", precision="fp32", rounds=3)
    race = Race(course=course, input="", baseline="base", measured=(baseline, own))
    assert speeds(race, own).ratio == (1.25, 2, 2)
    assert speeds(race, own).milliseconds[1] == 4000
    assert speeds(race, own).memory == 2


def test_a_process_that_dies_is_one_line(monkeypatch, run):
    monkeypatch.setattr(races, "serve", job_functions.die_at_once)
    result = run("bench", *SMALL)
    assert result.code == 1
    assert "the process of pytorch died, as when memory runs out" in result.error


@pytest.mark.long
def test_exporters_are_timed(run, monkeypatch):
    monkeypatch.setattr(exporting, "FORMATS", {name: FORMATS[name] for name in ("onnx", "coreml")})
    result = run("bench", "--export", "--rounds", 1, "--threads", 1, *SMALL[:4], "--json", "-")
    assert result.code == 0
    lines = {line["file"]: line for line in json.loads(result.out)["exports"]}
    assert [*lines] == ["traced", "onnx fp32", "coreml fp16"]
    assert lines["traced"]["times_traced"] == 1
    for line in lines.values():
        assert line["seconds"] > 0
        assert line["file_bytes"] > 3_000_000
        assert line["peak_mib_above_before"] > 10


def test_on_cuda_the_fast_path_takes_part_in_half_precision(files, tmp_path):
    made = command.make_baselines(load_checkpoint("seeded"), "fp16", "cuda", tmp_path)
    assert [each.name for each in made] == ["captured", "pytorch", "torchscript", "traced"]


def test_cuda_is_timed(cuda, run):
    result = run("bench", *SMALL, "--device", "cuda", "--precision", "fp16", "--json", "-")
    assert result.code == 0
    (race,) = json.loads(result.out)["races"]
    assert (race["baseline"], race["contenders"][0]["file"]) == ("torchscript", "captured")


@pytest.mark.long
def test_a_browser_plays_tensorflow_js(chromium, run, tmp_path):
    path = tmp_path / "model.zip"
    spec = FORMATS["tfjs"].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32")
    load_exporter("tfjs").export(load_checkpoint("seeded"), spec, path)
    result = run("bench", path, *SMALL, "--device", "browser", "--json", "-")
    assert result.code == 0
    (race,) = json.loads(result.out)["races"]
    (line,) = race["contenders"]
    assert (race["device"], race["baseline"], line["ratio_median"]) == ("browser", "model.zip", 1)
    assert line["peak_mib_above_before"] > 100  # includes Chromium's processes


@pytest.mark.long
def test_in_a_browser_an_onnx_file_goes_from_bytes_to_the_canvas_of_the_page(chromium, files, run):
    result = run("bench", files["line"], files["wrong_line"], *SMALL, "--device", "browser", "--json", "-")
    assert result.code == 1
    (race,) = json.loads(result.out)["races"]
    assert race["input"] == "built-in clip, bytes to a canvas"
    line, wrong = race["contenders"]
    assert (line["file"], line["ok"], wrong["ok"]) == ("line.onnx", True, False)
    assert line["milliseconds_median"] > 0
    assert line["pha_max_abs"] < 1e-4
    assert line["peak_mib_above_before"] > 100  # includes Chromium's processes


@pytest.mark.long
def test_so_do_files_of_tensorflow_js_beside_one_of_coefficients(chromium, exported, run):
    paths = [exported("tfjs"), exported("tfjs", outputs="coefficients")]
    result = run("bench", *paths, *SMALL, "--device", "browser-webgl", "--json", "-")
    assert result.code == 0
    (race,) = json.loads(result.out)["races"]
    assert race["input"] == "built-in clip, bytes to a canvas"
    assert all(line["milliseconds_median"] > 0 and line["pha_max_abs"] < 1e-4 for line in race["contenders"])


@pytest.mark.parametrize(("device", "runtime"), [("browser", "chromium-wasm"), ("browser-webgl", "chromium-webgl")])
def test_each_kind_of_browser_plays_in_its_own_runtime(device, runtime, run, tmp_path, monkeypatch):
    asked = []

    def opened(path, *, trust, runtime):
        asked.append(runtime)
        raise UserError("seen enough")

    monkeypatch.setattr(command, "recognise", lambda _: "tfjs")
    monkeypatch.setattr(command, "open_artifact", opened)
    assert run("bench", tmp_path, "--device", device).code == 2
    assert asked == [runtime]
