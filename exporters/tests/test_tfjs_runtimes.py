"""Test TensorFlow.js in Node and Chromium: they reproduce the released outputs, refuse, crash, hang, and end."""

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporters import load_exporter, load_runtime
from exporters.artifact import OUTPUTS, ArtifactError
from exporters.format import MissingPackage
from exporters.support import tensor_pipe
from exporters.tests.tfjs_files import RELEASED, SHARD, copied, without_space_to_batch, zipped
from exporters.tfjs import FORMAT, TfjsSpec
from exporters.tfjs.artifact import inspect
from exporters.tfjs.chromium import find_chromium
from exporters.tfjs.step import FOLDER
from rvm_model import load_checkpoint
from rvm_model.device import DeviceError

FRAMES = np.random.default_rng(0).random((3, 1, 3, 64, 96), np.float32)

# The largest differences from Node, both backends in float32 on SwiftShader:
#
#                                                                  WebGL     WebGPU
#   three small frames of noise at ratio .5, states, foreground   6.7e-6    6.9e-6
#   the same frames, alpha                                        2.3e-4    6.6e-6
#   golden frames at ratio 1, alpha                               6.2e-6    5.5e-6
#   golden frames at ratio .5, alpha                              1.2e-3
#
# The fast guided filter divides by little more than 1e-5 in a few pixels. The limits are three times the values for
# noise. On one core, wasm gave the same bits as Node.
OTHERS = ("fgr", "r1o", "r2o", "r3o", "r4o")
LIMITS = {
    "chromium-wasm": {"pha": 2e-5, **dict.fromkeys(OTHERS, 2e-5)},
    "chromium-webgl": {"pha": 7e-4, **dict.fromkeys(OTHERS, 2e-5)},
    "chromium-webgpu": {"pha": 2e-5, **dict.fromkeys(OTHERS, 2e-5)},
}


@pytest.fixture
def artifact(shared):
    return inspect(shared / RELEASED)


@pytest.fixture(params=["node", "chromium-wasm"])
def runtime(request):
    """Return one runtime of each kind of program."""
    request.getfixturevalue(request.param.partition("-")[0])
    return load_runtime("tfjs", request.param)


@pytest.fixture
def started(monkeypatch):
    """Return a list to which every process is added when it starts."""
    processes, popen = [], tensor_pipe.Popen
    monkeypatch.setattr(tensor_pipe, "Popen", lambda *a, **k: processes.append(popen(*a, **k)) or processes[-1])
    return processes


def play(runtime, artifact, frames, ratio):
    """Yield fgr, pha, r1..r4 of every frame."""
    state = None
    with runtime.load(artifact, "cpu", ratio) as step:
        for frame in frames:
            matte, state = step(frame, state)
            yield (matte.fgr, matte.pha, *runtime.to_numpy(state))


def family(pid):
    """Return a process and all its descendants."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ProcessLookupError):
            continue
    found = {pid}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found


def running(pids):
    """Return the running processes. A zombie does not count: without an init, nobody waits for it."""
    states = {}
    for pid in pids:
        try:
            states[pid] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ProcessLookupError):
            continue
    return {pid for pid, state in states.items() if state not in "ZX"}


def assert_gone(pids, seconds=20):
    end = time.monotonic() + seconds
    while left := running(pids):
        assert time.monotonic() < end, f"{left} still run"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("node", "512x288_ratio05"),
        ("chromium-wasm", "512x288_ratio05"),
        *(pytest.param("node", golden, marks=pytest.mark.long) for golden in ("256x256_ratio1", "640x360_ratio0375")),
    ],
)
def test_the_released_model_gives_what_it_gave_to_its_makers(name, golden, shared, artifact, request):
    request.getfixturevalue(name.partition("-")[0])
    expected = np.load(shared / f"golden/rvm_tfjs_{golden}.npz")
    frames = expected["src"].transpose(0, 3, 1, 2)[:, None] / np.float32(255)
    outputs = [*play(load_runtime("tfjs", name), artifact, frames, float(expected["downsample_ratio"]))]
    assert len(outputs) == len(expected["pha"]) >= 4
    assert all(np.abs(given[1][0] - pha).max() <= 1e-4 for given, pha in zip(outputs, expected["pha"], strict=True))
    for output in OTHERS:  # stored in half precision, which has steps of 4.9e-4 near 1
        given = outputs[-1][OUTPUTS.index(output)][0]
        assert np.abs(given - expected[f"{output}_last"].astype(np.float32)).max() <= 2.5e-4, output


@pytest.mark.long
@pytest.mark.parametrize("name", LIMITS)
def test_every_backend_agrees_with_node(name, shared, chromium, tmp_path):
    folder = copied(shared / RELEASED, tmp_path / "model", without_space_to_batch)
    artifact = inspect(zipped(folder, tmp_path / "model.zip"))
    expected = [*play(load_runtime("tfjs"), artifact, FRAMES, 0.5)]
    given = [*play(load_runtime("tfjs", name), artifact, FRAMES, 0.5)]
    for one, other in zip(expected, given, strict=True):
        for output, limit in LIMITS[name].items():
            index = OUTPUTS.index(output)
            assert one[index].shape == other[index].shape
            assert np.abs(one[index] - other[index]).max() <= limit, output


@pytest.mark.long
@pytest.mark.parametrize("name", ["chromium-webgl", "chromium-webgpu"])
def test_our_own_model_agrees_with_node_too(name, chromium, node, tmp_path):
    spec = TfjsSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="int8")
    load_exporter("tfjs").export(load_checkpoint("seeded"), spec, tmp_path / "model.zip")
    artifact = inspect(tmp_path / "model.zip")
    expected = [*play(load_runtime("tfjs"), artifact, FRAMES[:2], 0.5)]
    given = [*play(load_runtime("tfjs", name), artifact, FRAMES[:2], 0.5)]
    for one, other in zip(expected, given, strict=True):
        for index, output in enumerate(OUTPUTS):
            assert np.abs(one[index] - other[index]).max() <= 2e-5, output


def test_every_browser_runtime_is_in_that_test():
    assert {"node", *LIMITS} == {*FORMAT.runtimes}


def test_the_released_model_does_not_run_on_webgpu(artifact, chromium, started):
    message = "does not run in chromium-webgpu: input spatial dimensions .* must be divisible by blockShapes 2,2"
    with pytest.raises(ArtifactError, match=message):
        [*play(load_runtime("tfjs", "chromium-webgpu"), artifact, FRAMES, 0.5)]


def test_a_batch_is_its_frames_and_arrays_belong_to_the_caller(artifact, node):
    runtime = load_runtime("tfjs")
    one, two = FRAMES[:2]
    with runtime.load(artifact, "cpu", 0.5) as step:
        batch, *single = [step(each, None) for each in (np.concatenate([one, two]), one, two)]
        both, *alone = [(matte.fgr, matte.pha, *runtime.to_numpy(state)) for matte, state in (batch, *single)]
        for index, outputs in enumerate(alone):
            assert all(np.abs(a[index] - b[0]).max() < 1e-4 for a, b in zip(both, outputs, strict=True))
        _, state = step(FRAMES[0], None)
        expected, _ = step(FRAMES[1], state)
        for array in runtime.to_numpy(state):
            array[...] = 5
        given, _ = step(FRAMES[1], state)
        assert (given.pha == expected.pha).all()
        given.pha[...] = 5


@pytest.mark.parametrize("stop", [pytest.param(ValueError, marks=pytest.mark.long), KeyboardInterrupt])
def test_no_process_and_no_file_is_left_when_the_consumer_stops(
    stop, runtime, artifact, started, tmp_path, monkeypatch, request
):
    path = zipped(artifact.path, tmp_path / "model.zip")
    with tempfile.TemporaryDirectory() as temporary:  # with a short path, as Chromium requires
        monkeypatch.setattr("tempfile.tempdir", temporary)

        def consume():
            with runtime.load(replace(artifact, path=path), "cpu", 0.5) as step:
                step(FRAMES[0], None)
                pids.update(family(started[0].pid))
                raise stop

        pids = set()
        with pytest.raises(stop):
            consume()
        assert len(pids) >= (1 if request.node.callspec.params["runtime"] == "node" else 4), (
            "Chromium has processes of its own"
        )
        assert_gone(pids)
        assert [*Path(temporary).iterdir()] == []


def test_the_program_is_killed(runtime, artifact, started):
    """Chromium must notice, and end by itself."""
    with runtime.load(artifact, "cpu", 0.5) as step:
        pids = family(started[0].pid)
        os.kill(started[0].pid, signal.SIGKILL)
        with pytest.raises(ArtifactError, match=r"the process of [\w-]+ ended by SIGKILL"):
            step(FRAMES[0], None)
    assert_gone(pids)


@pytest.mark.parametrize("victim", ["--type=renderer", pytest.param("--user-data-dir=", marks=pytest.mark.long)])
def test_a_page_or_browser_that_crashes(victim, artifact, chromium, started):
    runtime = load_runtime("tfjs", "chromium-wasm")
    with runtime.load(artifact, "cpu", 0.5) as step:
        _, state = step(FRAMES[0], None)
        pids = family(started[0].pid)
        for pid in pids - {started[0].pid}:
            if victim in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(ArtifactError, match=r"does not run in chromium-wasm: .*(crashed|closed)") as error:
            step(FRAMES[1], state)
        assert "\n" not in str(error.value)
    assert_gone(pids)


def test_a_page_that_hangs(artifact, chromium, started, monkeypatch):
    runtime = load_runtime("tfjs", "chromium-wasm")
    with runtime.load(artifact, "cpu", 0.5) as step:
        pids = family(started[0].pid)
        for pid in pids - {started[0].pid}:
            os.kill(pid, signal.SIGSTOP)
        monkeypatch.setattr(tensor_pipe, "ANSWER_SECONDS", 1)
        with pytest.raises(ArtifactError, match="the process of chromium-wasm gave no answer within 1 seconds"):
            step(FRAMES[0], None)
    assert_gone(pids)


def unknown_op(model):
    next(node for node in model["modelTopology"]["node"] if node["op"] == "Tanh")["op"] = "Tanhh"


def no_such_input(model):
    next(node for node in model["modelTopology"]["node"] if node["op"] == "Relu6")["input"] = ["nowhere"]


@pytest.mark.parametrize(
    ("change", "message"), [(unknown_op, "'?Tanhh'?"), pytest.param(no_such_input, ".+", marks=pytest.mark.long)]
)
def test_a_graph_that_does_not_run(change, message, runtime, shared, started, tmp_path):
    artifact = inspect(copied(shared / RELEASED, tmp_path / "model", change))
    with pytest.raises(ArtifactError, match=f"model does not run in [a-z-]+: .*{message}") as error:
        [*play(runtime, artifact, FRAMES, 0.5)]
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    assert_gone({started[0].pid})


def test_weights_that_went_away(runtime, shared, started, tmp_path):
    """A page gets the error from the server, and logs it to its console."""
    artifact = inspect(copied(shared / RELEASED, tmp_path / "model"))
    (artifact.path / SHARD).unlink()
    with (
        pytest.raises(ArtifactError, match=r"does not run in .*(no such file|status of 404)") as error,
        runtime.load(artifact, "cpu", 0.5),
    ):
        pass
    assert "\n" not in str(error.value)
    assert_gone({started[0].pid})


def test_a_model_without_control_flow_is_executed_at_once(artifact, node):
    """This model has control flow, so tfjs must raise an error."""
    claimed = replace(artifact, facts={**artifact.facts, "control flow": "no"})
    with pytest.raises(ArtifactError, match=r"use model.executeAsync"):
        [*play(load_runtime("tfjs"), claimed, FRAMES[:1], 0.5)]


PLAYER = """
import {{ load }} from "{folder}/player.mjs";
let tensors = 0;
const tensor = (data) => (tensors++, {{ dtype: "float32", shape: [1], data: () => data }});
const model = {{ modelSignature: {{ inputs: {{ "src:0": 1 }}, outputs: {{ pha: 1 }} }}, execute: ({execute}) }};
const tf = {{
  setBackend: () => true, getBackend: () => "{backend}", loadGraphModel: () => model, tensor,
  memory: () => ({{ numTensors: tensors }}), dispose: (lists) => (tensors -= lists.flat().length),
}};
const run = await load(tf, "wasm", "address", "execute");
const [answer] = await run(["pha"], [{{ name: "src", shape: [1], data: new Float32Array(1) }}]);
console.log(answer.name);
"""


@pytest.mark.parametrize(
    ("execute", "backend", "said"),
    [
        ("(feeds, names) => names.map(() => tensor(feeds['src:0'].data()))", "wasm", "pha"),
        ("() => [tensor(0), tensor(0)].slice(1)", "wasm", "a frame leaves 1 tensors behind"),
        ("() => [tensor(0)]", "cpu", "the backend wasm does not start, cpu would run"),
    ],
)
def test_tensors_are_counted_and_the_backend_is_checked(execute, backend, said, node):
    program = PLAYER.format(folder=FOLDER, execute=execute, backend=backend)
    told = subprocess.run([node, "--input-type=module", "--eval", program], capture_output=True, text=True, timeout=120)
    assert said in told.stdout + told.stderr
    assert (told.returncode == 0) == (said == "pha")


@pytest.mark.parametrize("name", FORMAT.runtimes)
def test_cuda_is_refused(name, artifact, request):
    request.getfixturevalue(name.partition("-")[0])
    with (
        pytest.raises(DeviceError, match=f"{name} runs on the CPU here, not on cuda; use --device cpu"),
        load_runtime("tfjs", name).load(artifact, "cuda", 0.5),
    ):
        pass


def test_chromium_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("RVM_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    message = "^chromium-wasm needs Chromium, and none of chromium, .* is on the PATH; install it .*apt-get install"
    with pytest.raises(MissingPackage, match=message):
        find_chromium("chromium-wasm")
    monkeypatch.setenv("RVM_CHROMIUM", str(tmp_path / "other"))
    with pytest.raises(MissingPackage, match=r"^chromium-wasm needs Chromium, and RVM_CHROMIUM names none: .*other"):
        find_chromium("chromium-wasm")


def test_a_chromium_that_is_none(artifact, chromium, started, tmp_path, monkeypatch):
    other = tmp_path / "chromium"
    other.write_text("#!/bin/sh\necho no display >&2\nexit 3\n")
    other.chmod(0o755)
    monkeypatch.setenv("RVM_CHROMIUM", str(other))
    with (
        pytest.raises(
            ArtifactError, match=f"does not run in chromium-wasm: {other} does not start: no display$"
        ) as error,
        load_runtime("tfjs", "chromium-wasm").load(artifact, "cpu", 0.5),
    ):
        pass
    assert "\n" not in str(error.value)


def test_a_temporary_folder_with_a_name_too_long_for_chromium(artifact, chromium, tmp_path, monkeypatch):
    (tmp_path / ("long" * 20)).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("long" * 20)))
    with (
        pytest.raises(ArtifactError, match=r"does not start: .*Socket path too long"),
        load_runtime("tfjs", "chromium-wasm").load(artifact, "cpu", 0.5),
    ):
        pass
