"""Our ONNX file for any size, called as obs-backgroundremoval calls it: by index, into buffers of the declared shapes.

It asks the file alone for names and declared shapes, fills in 320x192 and the channels that it knows, begins with zeros
of full size at ratio 1, and passes the foreground over.
"""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

from exporters.artifact import ArtifactError
from exporters.onnx.ort_format import write_ort
from exporters.onnx.runtimes.session import session_options
from exporters.tests.onnx_files import export
from rvm_model import load_checkpoint
from rvm_model.video.synthetic.clip import draw_frames

WIDTH, HEIGHT, FRAMES = 320, 192, 5
CHANNELS = (16, 20, 40, 64)
LIMIT = 2e-5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return export(tmp_path_factory.mktemp("obs"))


@pytest.fixture(scope="module")
def portable(model):
    path = model.with_suffix(".ort")
    write_ort(model, path)
    return path


@pytest.fixture(scope="module")
def frames():
    """Return planes in [0, 1], (1, 3, H, W)."""
    drawn = draw_frames(FRAMES, WIDTH, HEIGHT)
    return [frame.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255) for frame in drawn]


@pytest.fixture(scope="module")
def expected(frames):
    """Return PyTorch's alpha. At ratio 1 the file refines, as the released one does."""
    network, states, mattes = load_checkpoint("seeded").network("always"), [None] * 4, []
    with torch.inference_mode():
        for frame in frames:
            _, pha, *states = network(torch.from_numpy(frame), *states, 1)
            mattes.append(pha.numpy())
    return mattes


def call_like_obs(path, frames, keep_states=True):
    session = ort.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
    inputs = {each.name: each.shape for each in session.get_inputs()}
    outputs = {each.name: each.shape for each in session.get_outputs()[1:]}
    for k, shape in enumerate(inputs.values()):
        if k == 0:
            shape[0], shape[2:] = 1, [HEIGHT, WIDTH]
        elif k < 5:
            shape[:] = [1, CHANNELS[k - 1], HEIGHT >> k, WIDTH >> k]
    for k, shape in enumerate(outputs.values()):
        shape[0], shape[2:] = 1, [HEIGHT >> k, WIDTH >> k]
    given = {name: np.zeros(shape, np.float32) for name, shape in inputs.items()}
    taken = {name: np.zeros(shape, np.float32) for name, shape in outputs.items()}
    src, *states, ratio = given
    given[ratio][0] = 1
    binding = session.io_binding()
    for name, buffer in taken.items():
        binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(buffer))
    mattes = []
    for frame in frames:
        given[src][:] = frame
        for name, buffer in given.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(buffer))
        session.run_with_iobinding(binding)
        pha, *after = taken.values()
        mattes.append(pha.copy())
        if keep_states:
            for name, state in zip(states, after, strict=True):
                given[name][:] = state
    return mattes


def worst(mattes, expected):
    assert [matte.shape for matte in mattes] == [matte.shape for matte in expected]
    return max(np.abs(a - b).max() for a, b in zip(mattes, expected, strict=True))


@pytest.mark.parametrize("kind", ["model", "portable"])
def test_it_computes_what_pytorch_computes(kind, request, frames, expected):
    assert worst(call_like_obs(request.getfixturevalue(kind), frames), expected) <= LIMIT


def test_states_that_are_not_fed_back_would_show(model, frames, expected):
    assert worst(call_like_obs(model, frames, keep_states=False), expected) > 100 * LIMIT


def domains(path):
    graph = InferenceSession.GetRootAs(path.read_bytes(), 0).Model().Graph()
    nodes = [graph.Nodes(k) for k in range(graph.NodesLength())]
    assert len(nodes) > 100
    return {node.Domain().decode() for node in nodes}


def test_the_portable_file_has_no_operation_of_one_processor(model, portable, tmp_path):
    assert "com.microsoft.nchwc" not in domains(portable)
    options = session_options()  # what onnxruntime writes if it is not told otherwise
    options.optimized_model_filepath = str(tmp_path / "bound.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    bound = domains(tmp_path / "bound.ort")
    if "com.microsoft.nchwc" not in bound:
        pytest.skip(f"onnxruntime lays nothing out for this processor: {bound}")


def test_the_portable_file_keeps_the_metadata(portable):
    session = ort.InferenceSession(portable, session_options(), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["licence"] == "GPL-3.0-or-later"


def test_a_model_that_does_not_load(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match="does not load in onnxruntime"):
        write_ort(tmp_path / "m.onnx", tmp_path / "m.ort")
