"""Test onnxruntime-web and OpenVINO in separate processes, which answer, refuse, crash, hang, and always end."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from exporters import load_exporter, load_runtime
from exporters.artifact import ArtifactError
from exporters.format import MissingPackage
from exporters.onnx import OnnxSpec
from exporters.onnx.artifact import inspect
from exporters.onnx.runtimes import onnxruntime_web, openvino
from exporters.onnx.runtimes.session import open_session
from exporters.spec import Fixed
from exporters.support import tensor_pipe
from exporters.support.node import OLDEST_NODE, find_node
from exporters.tfjs.step import FOLDER as TFJS_FOLDER
from rvm_model import load_checkpoint
from rvm_model.device import DeviceError

FRAME = np.random.default_rng(0).random((1, 3, 64, 96), np.float32)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """Return a file for 96x64 at ratio .5 only, so that another size fails when it runs."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    fixed = Fixed(width=96, height=64, ratio=0.5)
    spec = OnnxSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", fixed=fixed)
    load_exporter("onnx").export(load_checkpoint("seeded"), spec, path)
    return inspect(path)


@pytest.fixture
def started(monkeypatch):
    """Return a list to which every process is added when it starts."""
    processes, popen = [], tensor_pipe.Popen

    def start(*arguments, **options):
        processes.append(popen(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(tensor_pipe, "Popen", start)
    return processes


def is_gone(child):
    return child.returncode is not None and not Path(f"/proc/{child.pid}").exists()


def test_it_runs_the_program_that_it_names_and_nothing_else_and_may_be_killed(
    other_runtime, artifact, started, monkeypatch
):
    """A silent fallback to onnxruntime would prove nothing."""
    monkeypatch.setattr(ort, "InferenceSession", None)
    with load_runtime("onnx", other_runtime).load(artifact, "cpu", 0.5) as step:
        step(FRAME, None)
        (child,) = started
        program = {"onnxruntime-web": onnxruntime_web.FOLDER / "main.mjs", "openvino": openvino.PROGRAM}
        assert child.args[-2:] == [program[other_runtime], artifact.path]
        libraries = Path(f"/proc/{child.pid}/maps").read_text()
        assert {"onnxruntime-web": "/node", "openvino": "libopenvino_intel_cpu_plugin"}[other_runtime] in libraries
        assert "onnxruntime_pybind" not in libraries
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ArtifactError, match=f"the process of {other_runtime} ended by SIGKILL"):
            step(FRAME, None)
    assert is_gone(child)


def test_the_three_agree_and_their_arrays_belong_to_the_caller(other_runtime, artifact):
    plays = []
    for name in ("onnxruntime", other_runtime):
        runtime, state = load_runtime("onnx", name), None
        with runtime.load(artifact, "cpu", 0.5) as step:
            for _ in range(3):
                matte, state = step(FRAME, state)
            plays.append((matte.fgr, matte.pha, *map(np.copy, runtime.to_numpy(state))))
            expected, _ = step(FRAME, state)
            for array in runtime.to_numpy(state):
                array[...] = 5
            assert (step(FRAME, state)[0].pha == expected.pha).all()
    for expected, given in zip(*plays, strict=True):
        assert (given.dtype, given.shape) == (expected.dtype, expected.shape)
        assert 0 < np.abs(given - expected).max() < 1e-5, "another runtime rounds otherwise"


@pytest.mark.parametrize("stop", [pytest.param(ValueError, marks=pytest.mark.long), KeyboardInterrupt])
def test_no_process_is_left_when_the_consumer_stops(stop, other_runtime, artifact, started):
    def consume():
        with load_runtime("onnx", other_runtime).load(artifact, "cpu", 0.5) as step:
            step(FRAME, None)
            raise stop

    with pytest.raises(stop):
        consume()
    assert is_gone(started[0])


def test_a_file_that_it_does_not_load(other_runtime, artifact, started, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(artifact.path.read_bytes()[:1000])
    cut = replace(artifact, path=tmp_path / "cut.onnx")
    message = rf"cut\.onnx does not run in {other_runtime}: .+"
    with pytest.raises(ArtifactError, match=message) as error, load_runtime("onnx", other_runtime).load(cut, "cpu", 1):
        pass
    assert "\n" not in str(error.value)
    assert is_gone(started[0])


def test_a_frame_that_it_does_not_run(other_runtime, artifact, started):
    message = rf"model\.onnx does not run in {other_runtime}: .*(src|size)"
    with load_runtime("onnx", other_runtime).load(artifact, "cpu", 0.5) as step:
        with pytest.raises(ArtifactError, match=message) as error:
            step(np.zeros((1, 3, 8, 8), np.float32), None)
        assert "\n" not in str(error.value)
    assert is_gone(started[0])


LOADED = """print('{"tensors": []}', flush=True); """
STAND_INS = {
    "garbage": ("print('garbage')", 300, r"said b'garbage\\n'"),
    "crash at once": ("import sys; sys.exit('no room')", 300, "ended with exit code 1: no room"),
    "crash at a frame": (f"{LOADED}import os; os.abort()", 300, "ended by SIGABRT"),
    "crash in an answer": (
        """print('{"tensors": [{"name": "pha", "dtype": "float32", "shape": [9, 9]}]}\\nshort')""",
        300,
        "ended with exit code 0",
    ),
    "hang at once": ("import time; time.sleep(1000)", 0.5, "gave no answer within 0.5 seconds"),
    "hang at a frame": (f"{LOADED}import time; time.sleep(1000)", 0.5, "gave no answer within 0.5 seconds"),
    "hang in an answer": (
        "import time; print('half a line', end='', flush=True); time.sleep(1000)",
        0.5,
        "gave no answer within 0.5 seconds",
    ),
}


@pytest.mark.parametrize(("program", "seconds", "message"), STAND_INS.values(), ids=STAND_INS)
def test_a_stand_in_that_crashes_or_hangs(program, seconds, message, artifact, started, monkeypatch):
    """The frame is larger than a pipe's buffer, so that writing it blocks too."""
    monkeypatch.setattr(tensor_pipe, "ANSWER_SECONDS", seconds)
    feeds = {"src": np.zeros((1, 3, 500, 500), np.float32)}

    def play():
        with tensor_pipe.running([sys.executable, "-c", program], artifact, "the stand-in") as run:
            run(feeds)

    with pytest.raises(ArtifactError, match=rf"model\.onnx does not run: the process of the stand-in {message}$"):
        play()
    assert is_gone(started[0])


@pytest.mark.parametrize("name", ["onnxruntime-web", "openvino"])
def test_cuda_is_refused(name, artifact):
    with (
        pytest.raises(DeviceError, match=f"{name} runs on the CPU here, not on cuda; use --device cpu"),
        load_runtime("onnx", name).load(artifact, "cuda", 0.5),
    ):
        pass


def test_node_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackage, match="needs Node 20 or newer, and no node is on the PATH"):
        find_node("onnxruntime-web", onnxruntime_web.FOLDER)


@pytest.mark.parametrize("version", ["v18.19.0", ""])
def test_node_is_too_old(version, monkeypatch, tmp_path):
    old = tmp_path / "node"
    old.write_text(f"#!/bin/sh\necho {version}\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackage, match=f"needs Node 20 or newer, and {old} is {version or 'none'}"):
        find_node("onnxruntime-web", onnxruntime_web.FOLDER)


@pytest.mark.parametrize("found", [None, "1.0.0"])
def test_its_packages_are_missing_or_others(found, node, monkeypatch, tmp_path):
    (tmp_path / "package.json").write_text((onnxruntime_web.FOLDER / "package.json").read_text())
    if found:
        installed = tmp_path / "node_modules" / "onnxruntime-web"
        installed.mkdir(parents=True)
        (installed / "package.json").write_text(json.dumps({"version": found}))
    with pytest.raises(MissingPackage, match=rf"{found or 'none'} is installed; run: npm ci --prefix {tmp_path}$"):
        find_node("onnxruntime-web", tmp_path)


@pytest.mark.parametrize("folder", [onnxruntime_web.FOLDER, TFJS_FOLDER], ids=["onnx", "tfjs"])
def test_the_node_packages_are_pinned_and_name_no_registry(folder):
    package = json.loads((folder / "package.json").read_text())
    assert package["private"] is True
    assert package["license"] == "GPL-3.0-or-later"
    assert package["engines"]["node"] == f">={OLDEST_NODE}"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package["dependencies"].values())
    lock = (folder / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert "://" not in lock
    assert all("integrity" in entry for name, entry in json.loads(lock)["packages"].items() if name)


def test_make_says_in_a_line_that_node_is_missing(tmp_path):
    root = onnxruntime_web.FOLDER.parents[2]
    make = subprocess.run(
        ["sh", "-c", "command -v make"], capture_output=True, text=True, check=True, timeout=120
    ).stdout.strip()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_text((root / name).read_text())
    for web in ("exporters/onnx/web", "exporters/tfjs/web"):
        (tmp_path / web).mkdir(parents=True)
        (tmp_path / web / "package-lock.json").touch()
    told = subprocess.run(
        [make, f"PYTHON={sys.executable}", ".venv/.ready"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.returncode == 2
    assert "Node 20 or newer is needed" in told.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(("said", "threads"), [("3", 3), ("2,1", 2), ("", 0), ("many", 0)])
def test_onnxruntime_has_as_many_threads_as_others(said, threads, artifact, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert open_session(artifact, "cpu").get_session_options().intra_op_num_threads == threads


def test_an_error_that_quotes_a_name_that_is_no_utf8_is_one_line(exported, tmp_path):
    model = onnx.load(exported("onnx"))
    del model.metadata_props[:]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString().replace(b"linear", b"\xff\xfenear", 1))
    with pytest.raises(ArtifactError, match=r"model\.onnx does not load in onnxruntime: 'utf-8' codec"):
        open_session(inspect(tmp_path / "model.onnx"), "cpu")
