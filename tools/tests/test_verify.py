"""`rvm-export verify` and `rvm-export info`, on good, foreign and damaged files."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
import torch
from PIL import Image

from exporters import FORMATS
from exporters.onnx.traced import export_traced
from parity_tests.clips import builtin_clip
from rvm_model import load_checkpoint
from tools.tests.children import started

EVERY_COMMAND = pytest.mark.parametrize("command", ["verify", "info"])
OUTPUTS = ["fgr", "pha", "r1", "r2", "r3", "r4"]
RUNTIMES = {
    "coreml": "coreml" if sys.platform == "darwin" else "evaluator",
    **{
        "onnx": "onnxruntime",
        "tensorflow": "tensorflow",
        "tfjs": "node",
        "torchscript": "torch",
        "pt2": "torch",
        "executorch": "executorch",
        "litert": "litert",
        "ncnn": "ncnn",
        "openvino": "openvino",
    },
}
"""The default runtime of each format."""


def test_our_files_verify_without_being_told_anything(seeded_artifacts, run, tmp_path):
    report = tmp_path / "report.json"
    result = run("verify", "--trust", *seeded_artifacts.values(), "--json", report, "--frames", 12)
    assert (result.code, result.out) == (0, "")
    objects = json.loads(report.read_text())
    assert [each["format"] for each in objects] == list(seeded_artifacts)
    for each, path in zip(objects, seeded_artifacts.values(), strict=True):
        assert each["runtime"] == RUNTIMES[each["format"]]
        assert (each["artifact"], each["precision"], each["ok"], each["frames"]) == (str(path), "fp32", True, 12)
        assert list(each["outputs"]) == OUTPUTS
        assert all(0 <= each["outputs"][name]["mean_abs"] <= each["outputs"][name]["max_abs"] for name in OUTPUTS)
        assert list(each["alpha"]) == ["mad", "mse", "dtssd"]
    assert [*tmp_path.iterdir()] == [report]


def test_the_runtime_is_chosen_and_shown(seeded_artifacts, other_runtime, run):
    result = run("verify", seeded_artifacts["onnx"], "--runtime", other_runtime, "--frames", 12, "--json", "-")
    assert result.code == 0, result.err
    (report,) = json.loads(result.out)
    assert (report["runtime"], report["ok"]) == (other_runtime, True)
    assert f"in {other_runtime} against float64 PyTorch" in " ".join(result.err.split())


@pytest.mark.parametrize(
    "other_runtime", ["onnxruntime-web", pytest.param("openvino", marks=pytest.mark.long)], indirect=True
)
def test_ctrl_c_ends_a_runtimes_process_too(seeded_artifacts, other_runtime):
    command = [sys.executable, "-c", "from tools.cli.main import main; main()", "verify", seeded_artifacts["onnx"]]
    command += ["--runtime", other_runtime, "--frames", "12"]
    deadline = time.monotonic() + 60

    def plays(pid):
        try:
            return str(seeded_artifacts["onnx"]) in Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:  # the process has ended
            return False

    with started(command, stderr=subprocess.PIPE, start_new_session=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (found := [*filter(plays, children.read_text().split())]) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # like a terminal, to the whole group
        _, err = process.communicate(timeout=60)
    *stages, last = err.splitlines()
    assert (process.returncode, last) == (130, "rvm-export: error: interrupted; nothing was left half-written")
    assert all(stage.startswith(("rvm-export: reading ", "rvm-export: verifying ")) for stage in stages)
    assert found
    # A process that was still starting is not killed, but finds its input closed.
    while any(map(plays, found)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(plays, found))


def test_a_runtime_of_another_format_is_refused(artifact, run):
    result = run("verify", artifact, "--runtime", "tflite", "--json", "-")
    assert result.code == 2
    assert "do not run in 'tflite'; give as --runtime one of: " in result.error
    assert json.loads(result.out)[0]["ok"] is False


def test_files_without_metadata_are_told_by_themselves(seeded_artifacts, run, tmp_path):
    model = onnx.load(seeded_artifacts["onnx"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "stripped")
    torch.jit.save(torch.jit.load(seeded_artifacts["torchscript"]), tmp_path / "bare")
    options = ("--trust", "--checkpoint", "seeded", "--frames", 12, "--json", "-")
    result = run("verify", tmp_path / "stripped", tmp_path / "bare", *options)
    assert result.code == 0
    told = [(each["format"], each["variant"], each["refiner"], each["precision"]) for each in json.loads(result.out)]
    assert told == [(name, "mobilenetv3", "deep_guided_filter", "fp32") for name in ("onnx", "torchscript")]


def test_a_frozen_file_verifies(seeded_artifacts, run, tmp_path):
    torch.jit.save(torch.jit.freeze(torch.jit.load(seeded_artifacts["torchscript"])), tmp_path / "frozen")
    result = run("verify", tmp_path / "frozen", "--trust", "--checkpoint", "seeded", "--frames", 12, "--json", "-")
    assert result.code == 0
    assert json.loads(result.out)[0]["outputs"]["pha"]["max_abs"] > 0, "freezing folds batch norm"


def test_a_file_as_rvm_released_it_verifies(run, tmp_path):
    export_traced(load_checkpoint("seeded").network("always"), tmp_path / "traced.onnx")
    for k, (pixels,) in enumerate(builtin_clip(12, 160, 96).pixels):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    options = ("--clip", tmp_path, "--frames", 12, "--downsample-ratio", "1")
    result = run("verify", tmp_path / "traced.onnx", "--checkpoint", "seeded", *options)
    assert result.code == 0, result.err


def test_other_weights_than_the_files_are_refused(artifact, run, tmp_path):
    weights = dict(load_checkpoint("seeded").state_dict)
    weights["project_mat.conv.bias"] = weights["project_mat.conv.bias"] + 0.1
    torch.save(weights, tmp_path / "other.pth")
    result = run("verify", artifact, "--trust", "--checkpoint", tmp_path / "other.pth")
    assert result.code == 2
    assert "made from other weights" in result.error


def test_a_foreign_file_of_other_weights_fails_with_the_table(run, tmp_path):
    network = load_checkpoint("seeded").network("always")
    network.project_mat.conv.bias += 0.01
    export_traced(network, tmp_path / "traced.onnx")
    result = run("verify", tmp_path / "traced.onnx", "--checkpoint", "seeded", "--frames", 12, "--json", "-")
    assert result.code == 1
    assert "FAILED: traced.onnx: pha is off by" in result.err
    assert json.loads(result.out)[0]["ok"] is False


def test_one_bad_file_does_not_stop_the_others(seeded_artifacts, run, tmp_path):
    result = run("verify", tmp_path / "none.onnx", seeded_artifacts["onnx"], "--frames", 12, "--json", "-")
    assert result.code == 2
    bad, good = json.loads(result.out)
    assert (bad["ok"], good["ok"]) == (False, True)
    assert "No such file" in bad["error"]
    assert {"artifact", "format", "precision", "ok", "frames", "outputs", "alpha"} <= bad.keys() & good.keys()


def test_names_are_no_markup(seeded_artifacts, run, tmp_path):
    odd = Path(shutil.copy(seeded_artifacts["onnx"], tmp_path / "a[red]b[x].onnx"))
    result = run("verify", odd, "--frames", 12)
    assert result.code == 0
    assert f"ok: {odd.name} computes" in result.err
    missing = run("verify", odd.parent / "c[" / "b].onnx")
    assert missing.code == 2
    assert "c[/b].onnx" in missing.error


def test_the_default_ratio_is_one_that_float32_does_not_round_otherwise(seeded_artifacts, run, tmp_path):
    """Test 854 columns, where ratio 512 / 854 would be refused."""
    for k, (pixels,) in enumerate(builtin_clip(12, 854, 48).pixels):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    result = run("verify", seeded_artifacts["onnx"], "--clip", tmp_path, "--frames", 12, "--json", "-")
    assert result.code == 0, result.err
    assert json.loads(result.out)[0]["downsample_ratio"] == 0.6


def test_weights_that_cannot_be_had_are_asked_for(run, tmp_path, monkeypatch):
    monkeypatch.setenv("RVM_RELEASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("rvm_model.weights.checkpoint.pooch.os_cache", lambda _: tmp_path / "cache")
    export_traced(load_checkpoint("seeded").network("always"), tmp_path / "traced.onnx")
    result = run("verify", tmp_path / "traced.onnx")
    assert result.code == 2
    assert "give them with --checkpoint" in result.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "3"], "at least 12"),
        (["--clip", "none.mp4"], "no such clip: none.mp4"),
        (["--downsample-ratio", "0"], "give a number in (0, 1], or auto"),
        (["--downsample-ratio", "nan"], "give a number in (0, 1], or auto"),
        (["--downsample-ratio", "half"], "give a number in (0, 1], or auto"),
        (["--checkpoint", "auto"], "give a path, official or seeded"),
        (["--json", "."], "is a folder"),
        (["--device", "tpu"], "'tpu' is not one of cpu, cuda"),
        (["--json", "/proc/self/report.json", "--frames", "12"], "cannot write into /proc/self"),
    ],
)
def test_wrong_words_are_said_in_one_line(arguments, message, seeded_artifacts, run):
    result = run("verify", seeded_artifacts["onnx"], *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.error


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ("onnx", "torchscript") else [pytest.mark.long]) for name in FORMATS],
)
def test_cuda_is_demanded_not_fallen_back_from(name, seeded_artifacts, run):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result = run("verify", seeded_artifacts[name], "--trust", "--device", "cuda")
    assert result.code == 2
    assert "cuda" in result.error.lower()


def test_on_cuda(cuda, artifact, run):
    assert run("verify", artifact, "--trust", "--device", "cuda").code == 0


def test_a_size_that_float32_rounds_otherwise_is_named_with_a_safe_ratio(seeded_artifacts, run, shared):
    clip = shared / "clip" / "frames"  # 640x360: .35 * 360 is 126 in float32 and 125.99... in float64
    result = run("verify", seeded_artifacts["onnx"], "--clip", clip, "--downsample-ratio", "0.35")
    assert result.code == 2
    assert "640x360 at ratio 0.35" in result.error
    assert "use ratio 0." in result.error


def test_a_full_stdout_is_said(seeded_artifacts):
    artifact = seeded_artifacts["onnx"]
    with Path("/dev/full").open("wb", buffering=0) as full:
        command = [sys.executable, "-c", "from tools.cli.main import main; main()", "info", artifact, "--json"]
        process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert process.returncode == 1
    assert process.stderr == "rvm-export: error: No space left on device: stdout\n"


def test_a_clip_too_narrow_for_the_automatic_ratio(seeded_artifacts, run, tmp_path):
    for k in range(16):
        Image.new("RGB", (2000, 3), (k, 0, 0)).save(tmp_path / f"{k}.png")
    result = run("verify", seeded_artifacts["onnx"], "--clip", tmp_path)
    assert result.code == 2
    assert "give a --downsample-ratio" in result.error


def test_info_shows_what_a_file_is(artifact, run):
    result = run("info", artifact, "--json")
    assert result.code == 0
    told = json.loads(result.out)
    assert told["bytes"] == artifact.stat().st_size
    ratio = [] if FORMATS[told["format"]].one_size else ["downsample_ratio"]
    assert [tensor["name"] for tensor in told["inputs"]] == ["src", "r1i", "r2i", "r3i", "r4i", *ratio]
    assert told["metadata"]["weights_sha256"] == load_checkpoint("seeded").weights_sha256
    table = run("info", artifact)
    assert (table.code, table.out) == (0, "")
    assert "weights_sha256" in table.err


def test_info_imports_nothing_that_writes(seeded_artifacts):
    code = (
        "import sys\n"
        "from tools.cli.main import main\n"
        "for path in sys.argv[1:]:\n"
        "    sys.argv = ['rvm-export', 'info', path]\n"
        "    try: main()\n"
        "    except SystemExit as stop: assert stop.code == 0, path\n"
        "print(*sys.modules, sep='\\n')"
    )
    command = [sys.executable, "-c", code, *seeded_artifacts.values()]
    process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    modules = {*process.stdout.splitlines()}
    assert "exporters.artifact" in modules
    writing = re.compile(
        r"av|exporters\.(lowering|support\.calibration|\w+\.(export|convert|traced|quantise|graph))(\..*)?"
    )
    assert [module for module in modules if writing.fullmatch(module)] == []


@EVERY_COMMAND
@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_truncated_files(command, kept, artifact, run):
    content = artifact.read_bytes()
    artifact.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    result = run(command, artifact)
    assert (result.code, result.out) == (2, "")
    assert result.error


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.long)])
def test_flipped_bits_are_found(every, artifact, run):
    """Flip bits that change the content; those in zip dates and padding do not. `make test` tries one in four."""
    content, generator, found = artifact.read_bytes(), random.Random(0), 0
    for _ in range(0, 10, every):
        damaged = bytearray(content)
        damaged[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        artifact.write_bytes(damaged)
        result = run("info", artifact)
        if result.code:
            assert result.code == 2
            assert result.error
            found += 1
    assert found >= 8 // every
    for position in (*range(0, 40, 10), *range(-2000, -1, 250))[::every]:
        damaged = bytearray(content)
        damaged[position] ^= 0x40
        artifact.write_bytes(damaged)
        assert run("info", artifact).code in (0, 2), position
    artifact.write_bytes(
        content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 4]) + content[len(content) // 2 + 1 :]
    )
    assert run("verify", artifact).code == 2


@EVERY_COMMAND
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\x07\xff\xff\xff"])
def test_other_files(command, content, run, tmp_path):
    (tmp_path / "file.onnx").write_bytes(content)
    result = run(command, tmp_path / "file.onnx")
    assert (result.code, result.out) == (2, "")
    assert "file.onnx" in result.error


@EVERY_COMMAND
def test_a_checkpoint_is_no_artifact(command, run, tmp_path):
    torch.save(dict(load_checkpoint("seeded").state_dict), tmp_path / "weights.pth")
    result = run(command, tmp_path / "weights.pth")
    assert result.code == 2
    assert "none of the formats" in result.error
