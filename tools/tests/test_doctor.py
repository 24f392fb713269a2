"""`rvm-export doctor`: a file is played as other programs call it, and misfits are named."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from exporters.tests.onnx_files import export, export_fixed
from tools.doctor import examine as examining
from tools.doctor import play as playing
from tools.doctor.contracts import read_contracts
from tools.doctor.examine import examine
from tools.doctor.play import Misfit

CONTRACTS = read_contracts()
SMALL = {name: replace(each, width=96, height=64) for name, each in CONTRACTS.items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return export(tmp_path_factory.mktemp("doctor"))


def finding(path, contract):
    (result,) = examine(path, [contract])
    return result


def edited(path, place, edit):
    """Return a copy of a file whose message was edited. It does not say that it is ours."""
    message = onnx.load(path)
    del message.metadata_props[:]
    edit(message.graph)
    onnx.save(message, place)
    return place


@pytest.mark.parametrize("name", CONTRACTS)
def test_our_file_fits_those_who_take_the_released_one(name, model):
    result = finding(model, SMALL[name])
    assert result.fits == (name != "omz"), result.reason
    if result.fits:
        assert "of what the file computes when called right" in result.reason
    else:
        assert result.reason == (
            "it asks for input r1 by name, and its inputs are src, r1i, r2i, r3i, r4i, downsample_ratio"
        )


@pytest.mark.parametrize(
    ("options", "name", "reason"),
    [
        ({"outputs": "pha"}, "obs", "it takes 6 outputs by position, and its outputs are pha, r1o"),
        ({"outputs": "pha"}, "fastdeploy", "it takes 6 outputs by position"),
        ({"outputs": "pha"}, "lite-ai", "it asks for output fgr by name"),
        ({"precision": "fp16"}, "official", "it feeds float32, and src is tensor(float16)"),
        ({"io": "uint8-nhwc"}, "sentis", "it feeds float32, and src is tensor(uint8)"),
        ({"opset": 17}, "sentis", "it reads the operator sets 7 to 15, and the file has 17"),
    ],
)
def test_options_that_a_program_cannot_take(options, name, reason, tmp_path):
    result = finding(export(tmp_path, **options), SMALL[name])
    assert not result.fits
    assert result.reason.startswith(reason)


def test_a_file_of_one_size(tmp_path):
    path = export_fixed(tmp_path, 96, 64, 0.5)
    assert finding(path, SMALL["obs"]).reason.startswith("it takes 6 inputs by position, and its inputs are src, r1i")
    result = finding(path, replace(SMALL["lite-ai"], inputs=SMALL["lite-ai"].inputs[:5], ratio=None))
    assert result.reason == "it feeds r1i as (1, 1, 1, 1), and the file declares (1, 16, 16, 24)"


def test_an_order_of_outputs_that_is_another(model, tmp_path):
    def swap(graph):
        outputs = [*graph.output]
        del graph.output[:]
        graph.output.extend([outputs[1], outputs[0], *outputs[2:]])

    path = edited(model, tmp_path / "swapped.onnx", swap)
    result = finding(path, SMALL["official"])
    assert result.reason == "what it takes for the alpha is (1, 3, 64, 96), not (1, 1, 64, 96)"
    assert finding(path, SMALL["lite-ai"]).fits  # by name


def test_channels_that_are_not_declared():
    tensors = [SimpleNamespace(name=name, shape=[1, channels, 8, 8]) for name, channels in (("fgr", 3), ("pha", "c"))]
    session = SimpleNamespace(get_outputs=lambda: [*tensors, *tensors[:1] * 4])
    with pytest.raises(Misfit, match=r"^it sizes its buffers by the declared shapes, and pha declares \(1, c, 8, 8\)$"):
        playing._buffers(session, SMALL["obs"])


@pytest.mark.long
def test_states_of_another_variant(tmp_path):
    """Test with ResNet50, whose states have other channels than those that the program has written down."""
    path = export(tmp_path, variant="resnet50")
    assert finding(path, SMALL["official"]).fits
    assert finding(path, SMALL["obs"]).reason.startswith("onnxruntime refuses the call: ")


@pytest.mark.parametrize("change", [{"bgr": True}, {"levels": 255}, {"ratio": 0.25}, {"feeds_back": False}], ids=str)
def test_a_call_that_runs_and_is_wrong(change, model, monkeypatch):
    """Test that mattes are compared: such a call is refused by nobody."""
    right = replace(SMALL["lite-ai"], ratio=0.5)
    own = examining._own
    monkeypatch.setattr(examining, "_own", lambda artifact, _, frames: own(artifact, right, frames))
    assert finding(model, right).fits
    result = finding(model, replace(right, **change))
    assert not result.fits
    assert result.reason.startswith("the alpha that it shows is off by ")


def test_a_file_with_the_names_of_open_model_zoo_fits_it(tmp_path):
    def rename(graph):
        for tensors, names in ((graph.input, ("src", "r1", "r2", "r3", "r4")), (graph.output, None)):
            for k, tensor in enumerate(tensors):
                name = names[k] if names else ("fgr", "pha", "rr1", "rr2", "rr3", "rr4")[k]
                for node in graph.node:
                    for values in (node.input, node.output):
                        values[:] = [name if value == tensor.name else value for value in values]
                tensor.name = name

    path = edited(export_fixed(tmp_path, 96, 64, 0.5), tmp_path / "omz.onnx", rename)
    result = finding(path, SMALL["omz"])
    assert result.fits, result.reason
    assert result.reason.endswith("its names are not the released ones, so the alpha was not compared")


def test_the_command_says_a_line_for_each_and_exits_with_one(run, model):
    result = run("doctor", model, "--as", "obs")
    assert (result.code, result.out) == (0, "")
    assert result.err.startswith("obs: fits: 4 frames of 320x192 played, the alpha within ")
    result = run("doctor", model, "--as", "official", "--as", "omz")
    assert result.code == 1
    first, second = result.err.splitlines()
    assert first.startswith("official: fits: ")
    assert second.startswith("omz: does NOT fit: it asks for input r1 by name")
    assert second.endswith("; a file that does: " + CONTRACTS["omz"].command)


def test_a_name_of_any_length_makes_no_long_line(run, model, tmp_path):
    def rename(graph):
        for node in graph.node:
            node.input[:] = ["s" * 5000 if value == "src" else value for value in node.input]
        graph.input[0].name = "s" * 5000

    result = run("doctor", edited(model, tmp_path / "long.onnx", rename), "--as", "official")
    assert result.code == 1
    assert len(result.err) < 800


def test_what_it_cannot_play(run, model, tmp_path):
    assert "--as vlc: give one of official, obs, fastdeploy" in run("doctor", model, "--as", "vlc").error
    assert "none of the formats" in run("doctor", __file__).error
    spoiled = Path(shutil.copy(model, tmp_path / "spoiled.onnx"))
    with spoiled.open("r+b") as file:
        file.truncate(1_000_000)
    result = run("doctor", spoiled)
    assert (result.code, "truncated or damaged" in result.error) == (2, True)
