"""`recover` and `--checkpoint` on the command line: round trips through every format."""

import numpy as np
import pytest
import torch

from exporters import describe, load_exporter, open_artifact
from exporters.coreml import CoremlSpec
from exporters.lowering.folding import lowered_convs
from exporters.recover import recover
from rvm_model import load_checkpoint
from tools.measure.recover_soak import same_file
from tools.tests.conftest import ONE_SIZE

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.long
def test_a_coreml_file_is_made_again_from_itself(seeded_artifacts, tmp_path):
    """Compare all but the texts about the checkpoint; coremltools folds batch norm in its own way, in float32."""
    first = seeded_artifacts["coreml"]
    second = tmp_path / first.name
    spec = CoremlSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", **ONE_SIZE["coreml"])
    load_exporter("coreml").export(recover([describe(first)]).checkpoint, spec, second)
    assert same_file("coreml", first, second)


@pytest.mark.parametrize("name", ["tensorflow", "tfjs"])
def test_every_format_gives_weights_that_make_the_same_file(name, seeded_artifacts):
    """Compare all that an exporter writes of the weights, to the last bit.

    `make soak` compares the files themselves.
    """
    checkpoint = recover([open_artifact(seeded_artifacts[name], trust=True)]).checkpoint
    known, given = (lowered_convs(each.network()) for each in (load_checkpoint("seeded"), checkpoint))
    del known["project_seg.conv"]
    for module, conv in known.items():
        assert np.array_equal(conv.weight.astype(np.float32), given[module].weight.astype(np.float32)), module
        if conv.bias is not None:
            assert np.array_equal(conv.bias.astype(np.float32), given[module].bias.astype(np.float32)), module


def test_recover_writes_a_checkpoint_and_says_what_it_did(run, seeded_artifacts, tmp_path):
    path = tmp_path / "weights_seeded.safetensors"
    result = run("recover", seeded_artifacts["onnx"], "--output", path)
    assert (result.code, result.out.strip()) == (0, str(path))
    for words in (
        "mobilenetv3 with deep_guided_filter",
        "identity and offset",
        "first convolution",
        "project_seg",
        "ok:",
    ):
        assert words in result.err
    known = recover([describe(seeded_artifacts["onnx"])]).checkpoint.state_dict
    given = load_checkpoint(path).state_dict
    assert known.keys() == given.keys()
    assert all(torch.equal(known[key], given[key]) for key in known)
    assert "exists" in run("recover", seeded_artifacts["onnx"], "--output", path).error


def test_an_artifact_is_a_checkpoint(run, seeded_artifacts, tmp_path):
    path = tmp_path / "a_seeded.onnx"
    result = run("onnx", "--checkpoint", seeded_artifacts["tfjs"], "--output", path, "--no-verify")
    assert result.code == 0
    assert "recovered from" in result.err
    result = run("verify", path, "--checkpoint", path, "--frames", 12)
    assert result.code == 0, result.err


def test_of_another_kind_it_says_which(run, seeded_artifacts, tmp_path):
    error = run("onnx", "--checkpoint", seeded_artifacts["onnx"], "--variant", "resnet50", "--output", tmp_path).error
    assert "--variant mobilenetv3 --refiner deep_guided_filter" in error
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("command", [("recover",), ("onnx", "--checkpoint")])
def test_code_needs_trust(command, run, seeded_artifacts, tmp_path):
    words = [*command, seeded_artifacts["torchscript"], "--output", tmp_path, "--no-verify"]
    result = run(*words)
    assert result.code == 2
    assert "--trust" in result.error
    assert [*tmp_path.iterdir()] == []
    assert run(*words, "--trust").code == 0


def test_what_is_no_file_of_the_network_is_refused(run, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no weights")
    assert "neither a checkpoint" in run("onnx", "--checkpoint", path, "--output", tmp_path).error
    assert "none of the formats" in run("recover", path, "--output", tmp_path).error


def test_a_graph_changed_beyond_its_convolutions_is_found_out(run, seeded_artifacts, tmp_path):
    """Change a part that the matcher ignores: the clip must reveal it."""
    import onnx

    model = onnx.load(seeded_artifacts["onnx"])
    (node,) = [node for node in model.graph.node if node.name == "decoder.decode3.gru/Sub"]
    node.input[:] = [*node.input][::-1]
    del model.metadata_props[:]
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    output = tmp_path / "weights.safetensors"
    result = run("recover", path, "--output", output)
    assert result.code == 1
    assert "does not show in its convolutions" in result.error
    assert not output.exists()
