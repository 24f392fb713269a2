"""`rvm-export torchscript` and `rvm-export onnx`, run as users run them."""

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from exporters import FORMATS
from exporters.onnx import export as onnx_export
from exporters.onnx.graph.calibrate import value_ranges
from exporters.spec import Fixed
from exporters.torchscript import export as torchscript_export
from parity_tests.judging import limits
from rvm_model import load_checkpoint
from rvm_model.video.synthetic.clip import draw_frames
from tools.shared.outputs import OutputError, resolve_output
from tools.tests.children import started

QUICK = ("onnx", "ncnn")
"""Formats whose files are quickly made. Those of the others are `seeded_artifacts`, which many tests play."""


def every_format(quick=QUICK):
    marked = [pytest.param(name, marks=[] if name in quick else [pytest.mark.long]) for name in FORMATS]
    return pytest.mark.parametrize("name", marked)


ONE_SIZE = dict.fromkeys(
    ("coreml", "executorch", "litert", "ncnn", "pt2"), ("--resolution", "160x96", "--downsample-ratio", "0.5")
)
"""Options that a format's command requires."""

SEEDED = (*ONE_SIZE["coreml"], "--checkpoint", "seeded")


def file_name(name, precision, seeded):
    size = {"fixed": Fixed(width=160, height=96, ratio=0.5)} if name in ONE_SIZE else {}
    spec = FORMATS[name].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision=precision, **size)
    return spec.file_name(spec.suffix(FORMATS[name].suffix), seeded)


COMMAND = [sys.executable, "-c", "from tools.cli.main import main; main()"]


@every_format(quick=("onnx", "ncnn", "openvino"))
def test_it_writes_a_verified_file_and_prints_its_path(name, run, tmp_path):
    precision = FORMATS[name].precisions[0]
    options = ("--precision", precision, *ONE_SIZE.get(name, ()))
    result = run(name, "--checkpoint", "seeded", *options, "--output", tmp_path / "new" / "folder")
    path = tmp_path / "new" / "folder" / file_name(name, precision, seeded=True)
    assert (result.code, result.out) == (0, f"{path}\n")
    assert "ok: " in result.err
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        pytest.param(name, precision, marks=[] if (name, precision) == ("onnx", "fp16") else [pytest.mark.long])
        for name, each in FORMATS.items()
        if not each.one_size
        for precision in each.precisions
    ],
)
def test_trained_weights_pass_their_own_verification(name, precision, run, shared, tmp_path):
    """Test weights that are already half precision: the yardstick of half precision must not treat them as exact."""
    checkpoint = shared / "weights" / "rvm_mobilenetv3_consensus_fp16.safetensors"
    result = run(name, "--checkpoint", checkpoint, "--precision", precision, "--output", tmp_path)
    path = tmp_path / file_name(name, precision, seeded=False)
    assert (result.code, result.out) == (0, f"{path}\n"), result.err


OTHER_FILES = ["model.pt", "model.torchscript", "model_seeded.ONNX", "model.pb", "model.h5", "v1.tflite", "a.param"]


@pytest.mark.parametrize("output", OTHER_FILES)
def test_another_kinds_suffix_is_no_folder(output, run, tmp_path):
    result = run("onnx", "--checkpoint", "seeded", "--output", tmp_path / output)
    assert result.code == 2
    assert "does not end in .onnx" in result.error
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["v1.0", "dist-1.2.3", ".hidden", "2026.11.28", "plain"])
def test_a_suffix_that_begins_with_a_digit_is_a_folders(name, tmp_path):
    path = resolve_output(tmp_path / name, "rvm.onnx", ".onnx", False, False, False)
    assert path == tmp_path / name / "rvm.onnx"


def test_a_folder_that_exists_may_be_called_as_a_file(tmp_path):
    (tmp_path / "model.pb").mkdir()
    for suffix in (".onnx", ""):
        path = resolve_output(tmp_path / "model.pb", f"rvm{suffix}", suffix, not suffix, False, False)
        assert path == tmp_path / "model.pb" / f"rvm{suffix}"
    with pytest.raises(OutputError, match=r"other\.pb is a file's name; give a folder, or make that folder first"):
        resolve_output(tmp_path / "other.pb", "rvm", "", True, False, False)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out.pt", "does not end in .torchscript"),
        ("mine/new", "mine is a file, not a folder"),
        ("mine.torchscript", "mine.torchscript exists; use --force"),
        ("done", "exists; use --force"),
        ("x" * 300 + ".torchscript", "File name too long"),
    ],
)
def test_outputs_are_checked_before_the_checkpoint_is_opened(output, message, run, tmp_path, monkeypatch):
    """Test with an ONNX file, whose weights take long to recover."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tools.commands.export.open_checkpoint", lambda *_, **__: pytest.fail("it was opened"))
    for name in ("m.onnx", "mine", "mine.torchscript"):
        Path(name).write_text("mine")
    Path("done").mkdir()
    for seeded in (False, True):
        (Path("done") / file_name("torchscript", "fp32", seeded)).write_text("mine")
    result = run("torchscript", "--checkpoint", "m.onnx", "--output", output)
    assert (result.code, result.out) == (2, "")
    assert message in result.error
    assert result.err.count("\n") == 1


def test_what_hangs_on_the_weights_is_checked_after_they_are_known(run, seeded_artifacts, tmp_path):
    """Test with seeded weights: unseeded ones would collide with an existing file."""
    there = tmp_path / file_name("torchscript", "fp32", seeded=False)
    there.write_text("mine")
    options = ("--checkpoint", seeded_artifacts["onnx"], "--no-verify")
    result = run("torchscript", *options, "--output", tmp_path)
    assert result.out == f"{tmp_path / file_name('torchscript', 'fp32', seeded=True)}\n", result.err
    result = run("torchscript", *options, "--output", tmp_path / "mine.torchscript")
    assert "call it mine_seeded.torchscript" in result.error


def test_a_name_that_is_too_long(run, tmp_path):
    result = run("onnx", "--checkpoint", "seeded", "--output", tmp_path / f"{'x' * 5000}.onnx")
    assert result.code == 2
    assert "cannot write" in result.error


def test_a_file_that_appears_meanwhile_is_kept(run, tmp_path, monkeypatch):
    path = tmp_path / "x_seeded.onnx"
    monkeypatch.setattr("tools.commands.export.verdict", lambda report: [path.write_text("mine")][:0])
    result = run("onnx", "--checkpoint", "seeded", "--output", path)
    assert result.code == 2
    assert "--force" in result.error
    assert path.read_text() == "mine"


def test_a_checkpoint_file_gives_the_released_name(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(load_checkpoint("seeded").state_dict), "weights.pth")
    result = run("onnx", "--checkpoint", "weights.pth", "--no-verify")
    assert (result.code, result.out) == (0, "rvm_mobilenetv3_fp32.onnx\n")
    result = run("onnx", "--checkpoint", "seeded", "--refiner", "fast_guided_filter", "--no-verify")
    assert (result.code, result.out) == (0, "rvm_mobilenetv3_fgf_fp32_seeded.onnx\n")
    result = run("onnx", "--checkpoint", "weights.pth", "--no-verify", "--output", "mine.onnx")
    assert (result.code, result.out) == (0, "mine.onnx\n")


@pytest.mark.long
def test_one_call_makes_a_file_for_each_size(run, tmp_path):
    sizes = (
        "--resolution",
        "96x64",
        "--downsample-ratio",
        "0.5",
        "--resolution",
        "61x97",
        "--downsample-ratio",
        "auto",
    )
    result = run("onnx", "--checkpoint", "seeded", *sizes, "--batch", 2, "--opset", 17, "--output", tmp_path)
    names = ["b2_96x64_s0.5_opset17_fp32_seeded.onnx", "b2_61x97_s1_opset17_fp32_seeded.onnx"]
    assert result.code == 0, result.err
    assert result.out.split() == [str(tmp_path / f"rvm_mobilenetv3_{name}") for name in names]
    verified = run("verify", *result.out.split(), "--frames", 16)
    assert verified.code == 0, verified.err
    wrong = run("verify", result.out.split()[0], "--downsample-ratio", "0.25")
    assert wrong.code == 2
    assert "ratio 0.5 baked in" in wrong.error


@pytest.mark.parametrize(
    "options",
    [
        ["--outputs", "pha"],
        pytest.param(["--outputs", "fgr"], marks=pytest.mark.long),
        pytest.param(["--precision", "fp16", "--io-dtype", "fp32"], marks=pytest.mark.long),
    ],
)
def test_files_with_other_edges_are_verified_too(options, run, tmp_path):
    result = run("onnx", "--checkpoint", "seeded", *options, "--output", tmp_path)
    assert result.code == 0, result.err
    verified = run("verify", result.out.strip(), "--frames", 12, "--json", "-")
    assert verified.code == 0, verified.err
    matte = [options[1]] if options[0] == "--outputs" else ["fgr", "pha"]
    names = [*matte, "r1", "r2", "r3", "r4"]
    assert "nan" not in verified.err
    assert list(json.loads(verified.out)[0]["outputs"]) == names


def test_the_released_coreml_names_come_out_of_one_call(run, tmp_path, monkeypatch):
    """Replace the conversion by a fake."""
    sizes = ("--resolution", "1280x720", "--downsample-ratio", "0.375")
    sizes += ("--resolution", "1920x1080", "--downsample-ratio", "0.25")
    made = SimpleNamespace(export=lambda checkpoint, spec, path: path.write_text(spec.precision))
    monkeypatch.setattr("tools.commands.export.load_exporter", lambda name: made)
    torch.save(dict(load_checkpoint("seeded").state_dict), tmp_path / "weights.pth")
    options = ("--checkpoint", tmp_path / "weights.pth", "--target", "ios14", "--no-verify", "--output", tmp_path)
    result = run("coreml", *sizes, "--precision", "fp16", "--precision", "int8", *options)
    assert result.code == 0, result.err
    assert result.out.split() == [
        str(tmp_path / f"rvm_mobilenetv3_{size}_{precision}.mlmodel")
        for precision in ("fp16", "int8")
        for size in ("1280x720_s0.375", "1920x1080_s0.25")
    ]


def test_one_call_makes_a_file_for_each_precision(run, tmp_path):
    both = ("--precision", "fp16", "--precision", "fp32", "--no-verify")
    result = run("onnx", "--checkpoint", "seeded", *both, "--output", tmp_path)
    assert result.code == 0, result.err
    names = [f"rvm_mobilenetv3_{precision}_seeded.onnx" for precision in ("fp16", "fp32")]
    assert result.out.split() == [str(tmp_path / name) for name in names]
    onto_one = ("--output", tmp_path / "x_seeded.onnx")
    result = run("onnx", "--checkpoint", "seeded", *both, *onto_one)
    assert "give a folder as --output" in result.error
    again = ("--precision", "fp16", "--precision", "fp16", "--output", tmp_path / "new")
    twice = run("onnx", "--checkpoint", "seeded", *again)
    assert "the same name" in twice.error


def test_several_sizes_do_not_fit_one_file(run, tmp_path):
    sizes = ("--resolution", "96x64", "--resolution", "64x96")
    result = run("onnx", "--checkpoint", "seeded", *sizes, "--output", tmp_path / "x_seeded.onnx")
    assert result.code == 2
    assert "give a folder as --output" in result.error


def test_an_existing_file_needs_force(run, tmp_path):
    arguments = ("onnx", "--checkpoint", "seeded", "--no-verify", "--output", tmp_path / "x_seeded.onnx")
    (tmp_path / "x_seeded.onnx").write_text("mine")
    result = run(*arguments)
    assert result.code == 2
    assert "--force" in result.error
    assert (tmp_path / "x_seeded.onnx").read_text() == "mine"
    assert run(*arguments, "--force").code == 0
    assert (tmp_path / "x_seeded.onnx").stat().st_size > 1e6


def test_seeded_weights_must_be_told_by_the_name(run, tmp_path):
    result = run("onnx", "--checkpoint", "seeded", "--output", tmp_path / "rvm_mobilenetv3_fp32.onnx")
    assert result.code == 2
    assert "call it rvm_mobilenetv3_fp32_seeded.onnx" in result.error
    assert [*tmp_path.iterdir()] == []


@pytest.mark.long
def test_trained_weights_are_proved_at_a_released_size(run, shared, tmp_path):
    """Test on the clip that every export is verified with; no other test does so at this size with such weights."""
    weights = shared / "weights/rvm_mobilenetv3_consensus_fp16.safetensors"
    size = ("--resolution", "1280x720", "--downsample-ratio", "0.375")
    result = run("coreml", "--checkpoint", weights, *size, "--precision", "int8", "--output", tmp_path)
    assert result.code == 0, result.err
    assert "ok: rvm_mobilenetv3_1280x720_s0.375_int8.mlpackage computes" in result.err


@pytest.mark.long
def test_the_sizes_of_a_package_are_told_apart(run, tmp_path):
    ratios = ("--downsample-ratio", "0.5", "--downsample-ratio", "0.5")
    sizes = ("--resolution", "96x64", "--resolution", "64x128", *ratios)
    path = tmp_path / "sizes_seeded.mlpackage"
    result = run("coreml", "--checkpoint", "seeded", *sizes, "--multifunction", "--output", path)
    assert result.code == 0, result.err
    names = ["rvm_96x64_s0_5", "rvm_64x128_s0_5"]
    for name in names:
        assert f"ok: sizes_seeded.mlpackage, {name} computes" in result.err
    told = json.loads(run("info", path, "--json").out)
    assert [each["function"] for each in told["functions"]] == names
    assert [each["size"] for each in told["functions"]] == ["96x64, ratio 0.5", "64x128, ratio 0.5"]
    assert told["functions"][1]["inputs"][0]["shape"] == [1, 3, 128, 64]
    table = run("info", path).err
    assert "rvm_64x128_s0_5: 64x128, ratio 0.5" in table
    assert "(1, 3, 128, 64)" in table
    shown = json.loads(run("verify", path, "--frames", 16, "--json", "-").out)
    assert [each["function"] for each in shown] == names


@every_format()
def test_a_mismatch_leaves_nothing_and_shows_the_table(name, run, tmp_path, monkeypatch):
    nothing = limits.Factor(-1, 0, why="nothing passes")
    monkeypatch.setattr("parity_tests.judging.judge.FACTORS", dict.fromkeys(limits.FACTORS, nothing))
    result = run(name, "--checkpoint", "seeded", *ONE_SIZE.get(name, ()), "--output", tmp_path)
    assert (result.code, result.out) == (1, "")
    assert "FAILED: " in result.err
    assert "worst frame" in result.err
    assert "was not kept" in result.error
    assert [*tmp_path.iterdir()] == []


def test_a_file_that_does_not_load_is_a_failed_export(run, tmp_path, monkeypatch):
    monkeypatch.setattr(torchscript_export, "_normalised", lambda archive: archive[:1000])
    result = run("torchscript", "--checkpoint", "seeded", "--output", tmp_path)
    assert (result.code, result.out) == (1, "")
    assert "or is damaged" in result.error
    assert [*tmp_path.iterdir()] == []


INT8 = ("onnx", "--checkpoint", "seeded", "--precision", "int8", "--resolution", "320x180", "--downsample-ratio", "0.5")


def test_a_file_is_not_judged_on_the_frames_that_it_was_calibrated_with(run, tmp_path):
    (tmp_path / "talk").mkdir()
    for k, frame in enumerate(draw_frames(20, 96, 64, seed=5)):
        Image.fromarray(frame).save(tmp_path / "talk" / f"{k}.png")
    made = run(*INT8, "--calibration", tmp_path / "talk", "--output", tmp_path / "model")
    path = made.out.strip()
    assert (made.code, "ok: " in made.err) == (0, True)
    judged = run("verify", path, "--clip", tmp_path / "talk")
    assert (
        judged.code,
        judged.error.endswith("calibrated with frames of talk, on which nothing can be said of it; give another clip"),
    ) == (2, True)
    for k in range(4):
        (tmp_path / "talk" / f"{k}.png").unlink()
    judged = run("verify", path, "--clip", tmp_path / "talk")
    assert (judged.code, "calibrated with frames of talk" in judged.error) == (2, True)
    assert run("verify", path).code == 0


def test_a_broken_quantisation_is_refused(run, tmp_path, monkeypatch):
    """Test with ranges that are too narrow: values beyond them are cut off."""
    monkeypatch.setattr(onnx_export, "value_ranges", lambda *given: narrower(value_ranges(*given)))
    result = run(*INT8, "--output", tmp_path)
    assert (result.code, result.out) == (1, "")
    assert "does not compute what PyTorch computes, and was not kept" in result.error
    assert [*tmp_path.iterdir()] == []


def narrower(ranges):
    return {value: (least / 4, greatest / 4) for value, (least, greatest) in ranges.items()}


def test_a_profile_is_its_options(run, tmp_path):
    size = ("--resolution", "96x64", "--downsample-ratio", "0.5")
    result = run("onnx", "--checkpoint", "seeded", "--profile", "npu", "--opset", "13", *size, "--output", tmp_path)
    assert result.code == 0
    assert Path(result.out.strip()).name == "rvm_mobilenetv3_96x64_s0.5_opset13_primitive_ceilfree_fp32_seeded.onnx"


def test_without_onnxsim_nothing_is_simplified(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxsim", None)
    result = run("onnx", "--checkpoint", "seeded", "--simplify", "--output", tmp_path)
    assert (result.code, result.out) == (2, "")
    assert "pip install 'rvm-export[onnx-simplify]'" in result.error
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["onnx", "--checkpoint", "none.pth"], "no such checkpoint: none.pth"),
        (["onnx", "--checkpoint", "nonsense"], "give a .pth or .safetensors file, official, seeded or auto"),
        (["onnx", "--variant", "vgg"], "'mobilenetv3', 'resnet50'"),
        (["onnx", "--refiner", "none"], "'deep_guided_filter', 'fast_guided_filter'"),
        (["onnx", "--precision", "int4"], "'int4' is not one of fp32, fp16"),
        (["onnx", "--opset", "11"], "opset 11 is not one of 12 to 21"),
        (["onnx", "--downsample-ratio", "0.5"], "--downsample-ratio goes with a --resolution"),
        (["onnx", "--resolution", "60000x60000"], "would need about"),
        (["onnx", "--resolution", "100000x100000"], "at most 65535"),
        (["onnx", "--checkpoint", "seeded", "--resolution", "64x64", "--resolution", "64x64"], "the same name"),
        (
            ["onnx", "--banded", "--resolution", "64x64", "--downsample-ratio", "1"],
            "a file of one size at ratio 1 brings nothing to full size",
        ),
        (["onnx", "--io", "nhwc"], "not one of nchw, uint8-nhwc, uint8-nhwc-bgr"),
        (["onnx", "--io-dtype", "fp32"], "leave --io-dtype out"),
        (["onnx", "--precision", "fp16", "--precision", "int4"], "'int4' is not one of fp32, fp16"),
        (["onnx", "--precision", "int8", "--opset", "12"], "int8 needs opset 13 or later"),
        (["onnx", "--calibration", "talk.mp4"], "a file of precision fp32 takes no calibration"),
        (
            ["onnx", "--checkpoint", "seeded", "--precision", "int8", "--calibration", "none.mp4"],
            "no such file: none.mp4; give a video",
        ),
        (
            ["onnx", "--precision", "int8", "--profile", "tensorrt", "--resolution", "64x64"],
            "profile tensorrt makes no int8 files: ",
        ),
        (["coreml"], "a CoreML file is for one size; give --resolution"),
        (["executorch"], "an ExecuTorch file is for one size; give --resolution"),
        (
            ["executorch", "--resolution", "161x96", "--downsample-ratio", "0.5"],
            "ExecuTorch needs whole numbers; give 160x96 or 162x96",
        ),
        (
            ["executorch", *ONE_SIZE["executorch"], "--batch", "2"],
            "ExecuTorch files take one frame at a time, not 2; leave --batch out",
        ),
        (["executorch", *ONE_SIZE["executorch"], "--precision", "int8"], "'int8' is not one of"),
        (["litert"], "a LiteRT file is for one size; give --resolution"),
        (
            ["litert", "--resolution", "161x96", "--downsample-ratio", "0.5"],
            "LiteRT needs whole numbers; give 160x96 or 162x96",
        ),
        (
            ["litert", *ONE_SIZE["litert"], "--batch", "2"],
            "LiteRT files take one frame at a time, not 2; leave --batch out",
        ),
        (["litert", *ONE_SIZE["litert"], "--outputs", "alpha"], "give fgr, pha, fgr,pha or coefficients"),
        (["litert", *ONE_SIZE["litert"], "--int8", "weights"], "a file of precision fp32 has no eight bits"),
        (["litert", *ONE_SIZE["litert"], "--calibration", "a.mp4"], "a file of precision fp32 takes no calibration"),
        (
            ["litert", *ONE_SIZE["litert"], "--precision", "int8", "--int8", "weights", "--calibration", "a.mp4"],
            "a file of int8 weights takes no calibration",
        ),
        (
            ["litert", *ONE_SIZE["litert"], "--precision", "int8", "--int8", "all"],
            "--int8 'all' is not one of mix, weights",
        ),
        (["ncnn"], "an ncnn file has its ratio baked in; give --downsample-ratio, such as 0.25, and --resolution too"),
        (["ncnn", "--downsample-ratio", "auto"], "--downsample-ratio auto depends on the size; give a --resolution"),
        (["ncnn", "--downsample-ratio", "1.5"], "--downsample-ratio 1.5: give a number in (0, 1]"),
        (["ncnn", "--downsample-ratio", "0.5", "--batch", "2"], "--batch goes with a --resolution"),
        (["ncnn", *ONE_SIZE["ncnn"], "--batch", "2"], "ncnn files take one frame at a time, not 2; leave --batch out"),
        (["coreml", *ONE_SIZE["coreml"], "--multifunction"], "give more than one --resolution"),
        (["coreml", *SEEDED, "--output", "x_seeded.mlmodel"], "does not end in .mlpackage"),
        (["coreml", *SEEDED, "--zip", "--output", "x_seeded.zip"], "does not end in .mlpackage.zip"),
        (["onnx", "--profile", "coreml"], "'coreml' is not one of ort, tensorrt, webgpu, openvino, npu"),
        (["onnx", "--profile", "tensorrt"], "give --resolution and --downsample-ratio"),
        (["onnx", "--profile", "npu", "--opset", "12", "--resolution", "64x64"], "profile npu sets --opset to 13"),
        (["torchscript", "--profile", "ort"], "No such option: --profile"),
        (["torchscript", "--opset", "12"], "No such option: --opset"),
        (["onxx"], "No such command 'onxx'"),
        (["onnx", "--colour"], "No such option: --colour"),
    ],
)
def test_wrong_words_are_said_in_one_line(arguments, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.error
    assert [*tmp_path.iterdir()] == []


def test_an_output_folder_that_is_a_file(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        result = run("onnx", "--checkpoint", "seeded", "--output", output)
        assert result.code == 2
        assert "give another --output" in result.error
    assert (tmp_path / "file").read_text() == "mine"


def test_an_output_folder_that_cannot_be_written(run):
    """Use /proc, because CI runs as root, which file modes do not stop."""
    result = run("onnx", "--checkpoint", "seeded", "--output", "/proc/self")
    assert result.code == 2
    assert "cannot write into /proc/self" in result.error


def limited(limit):
    """Return a function for a child process that limits the size of files, as a full disk does."""

    def set_limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return set_limit


@every_format(quick=("onnx",))
def test_a_full_disk(name, tmp_path):
    process = subprocess.run(
        [*COMMAND, name, "--checkpoint", "seeded", *ONE_SIZE.get(name, ()), "--output", tmp_path],
        preexec_fn=limited(1_000_000),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (process.returncode, process.stdout) == (1, "")
    assert "File too large" in process.stderr
    *stages, _ = process.stderr.strip().splitlines()
    assert [stage.split()[:2] for stage in stages] == [["rvm-export:", "exporting"]]
    assert [*tmp_path.iterdir()] == []


def test_ctrl_c_leaves_nothing(tmp_path):
    command = [*COMMAND, "onnx", "--checkpoint", "seeded", "--output", tmp_path]
    with started(command, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not [*tmp_path.iterdir()] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [*tmp_path.iterdir()], "the export did not begin"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "rvm-export: error: interrupted; nothing was left half-written"
    assert "Traceback" not in err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("ignored", [True, False])
def test_what_nohup_ignores_stays_ignored(ignored):
    code = """
import signal, sys
from tools.cli import main as cli
signal.signal(signal.SIGHUP, signal.SIG_IGN if "True" in sys.argv else signal.SIG_DFL)
sys.argv = ["rvm-export", "--version"]
try:
    cli.main()
finally:
    print(*(callable(signal.getsignal(each)) for each in (signal.SIGHUP, signal.SIGTERM)))
"""
    done = subprocess.run([sys.executable, "-c", code, str(ignored)], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == f"{not ignored} True"


@pytest.mark.filterwarnings("default")
def test_auto_without_a_release_is_seeded_and_loud(run, tmp_path, monkeypatch):
    monkeypatch.setenv("RVM_RELEASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    result = run("onnx", "--no-verify", "--output", tmp_path)
    assert result.code == 0
    assert Path(result.out.strip()).name == "rvm_mobilenetv3_fp32_seeded.onnx"
    assert "WARNING" in result.err
    assert "SEEDED" in result.err
