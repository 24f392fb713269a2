"""Test inputs and outputs bound to a device: the CPU, where the code is the same, and CUDA if there is a GPU."""

import numpy as np
import onnxruntime as ort
import pytest

from exporters import load_runtime
from exporters.artifact import ArtifactError
from exporters.onnx.runtimes.binding import bound_step
from exporters.spec import Fixed
from exporters.tests.onnx_files import export

SIZE = Fixed(width=97, height=61, ratio=0.5)  # an odd edge at every pool
FRAMES = np.random.default_rng(0).integers(0, 256, (6, 1, 3, 61, 97)).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fixed": SIZE, "io": "uint8-nhwc-bgr"},
        {"fixed": SIZE, "precision": "fp16", "outputs": "pha"},
        pytest.param({"fixed": SIZE}, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_bound_frames_are_the_same_bit_for_bit(options, tmp_path):
    runtime = load_runtime("onnx")
    artifact = runtime.inspect(export(tmp_path, **options))
    session = ort.InferenceSession(artifact.path, providers=["CPUExecutionProvider"])
    bound, bound_state, state, mattes = bound_step(session, artifact, "cpu", 0.5), None, None, []
    with runtime.load(artifact, "cpu", 0.5) as step:
        for frame in FRAMES:
            expected, state = step(frame, state)
            given, bound_state = bound(frame, bound_state)
            assert all(isinstance(value, ort.OrtValue) for value in bound_state)
            mattes.append((expected, given))
            for a, b in zip(runtime.to_numpy(state), runtime.to_numpy(bound_state), strict=True):
                np.testing.assert_array_equal(a, b)
    for expected, given in mattes:  # only now: a later frame must not have written over them
        for a, b in ((expected.fgr, given.fgr), (expected.pha, given.pha)):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("fixed", [None, SIZE], ids=["dynamic", "fixed"])
def test_a_bound_clip_can_begin_again(fixed, tmp_path):
    artifact = load_runtime("onnx").inspect(export(tmp_path, fixed=fixed))
    session = ort.InferenceSession(artifact.path, providers=["CPUExecutionProvider"])
    step, plays = bound_step(session, artifact, "cpu", 0.5), []
    for _ in range(2):
        state = None
        for frame in FRAMES[:3]:
            matte, state = step(frame, state)
        plays.append(matte)
    np.testing.assert_array_equal(plays[0].pha, plays[1].pha)


@pytest.mark.parametrize("fixed", [None, SIZE], ids=["dynamic", "fixed"])
def test_what_does_not_run_is_said_in_one_line(fixed, tmp_path):
    artifact = load_runtime("onnx").inspect(export(tmp_path, fixed=fixed))
    session = ort.InferenceSession(artifact.path, providers=["CPUExecutionProvider"])
    step = bound_step(session, artifact, "cpu", 0.5)
    with pytest.raises(ArtifactError, match="does not run: "):
        step(np.zeros((1, 4, 61, 97), np.float32), None)


@pytest.mark.parametrize("options", [{}, {"fixed": SIZE}, {"fixed": SIZE, "precision": "fp16"}], ids=str)
def test_on_cuda_the_states_stay_there(options, cuda, tmp_path):
    runtime = load_runtime("onnx")
    artifact = runtime.inspect(export(tmp_path, **options))
    on_gpu = state = None
    with runtime.load(artifact, "cpu", 0.5) as expected_step, runtime.load(artifact, "cuda", 0.5) as step:
        for frame in FRAMES:
            expected, state = expected_step(frame, state)
            given, on_gpu = step(frame, on_gpu)
            assert {value.device_name() for value in on_gpu} == {"cuda"}
            assert np.abs(expected.pha - given.pha).max() <= {"fp32": 1e-3, "fp16": 2e-2}[artifact.precision]
