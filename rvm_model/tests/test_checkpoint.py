"""Weights from every source, and every way in which a file can be wrong."""

import os
import random
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from rvm_model import CheckpointError, load_checkpoint
from rvm_model.state import REFINERS, VARIANTS
from rvm_model.tests.clips import drawn_inputs
from rvm_model.weights.checkpoint import weights_sha256

RESNET50_LONG = pytest.mark.parametrize(
    ("variant", "refiner"),
    [pytest.param(v, r, marks=[pytest.mark.long] if v == "resnet50" else []) for v in VARIANTS for r in REFINERS],
)
SEEDED_SHA256 = {
    "mobilenetv3": "a15eb59e9227b3ee335fab4dec5f233a2e54b3c206ffd2c16dfd6c1a2eede2a8",
    "resnet50": "4a0e1e42801edb0697053637ca5d73675dbb32bf5a4f362b2b71fa74e8bacbf3",
}


@pytest.fixture(scope="module")
def weights():
    return dict(load_checkpoint("seeded").state_dict)


def save(weights, path: Path) -> Path:
    if path.suffix == ".pth":
        torch.save(weights, path)
    else:
        safetensors.torch.save_file(weights, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_file_gives_float32_weights(suffix, dtype, weights, tmp_path):
    narrow = {key: value.to(dtype) if value.is_floating_point() else value for key, value in weights.items()}
    checkpoint = load_checkpoint(save(narrow, tmp_path / f"weights{suffix}"))
    assert (checkpoint.origin, checkpoint.seeded) == ("file", False)
    for key, value in checkpoint.state_dict.items():
        assert value.dtype == (torch.float32 if weights[key].is_floating_point() else torch.int64)
        assert torch.equal(value, narrow[key].to(value.dtype))
    checkpoint.network()


def test_the_weights_hash_is_of_the_weights_alone(weights, tmp_path):
    one = load_checkpoint(save(weights, tmp_path / "a.pth"))
    other = load_checkpoint(save(dict(reversed(weights.items())), tmp_path / "b.safetensors"))
    assert one.sha256 != other.sha256
    assert one.weights_sha256 == other.weights_sha256 == weights_sha256(weights)
    changed = weights | {"project_mat.conv.bias": weights["project_mat.conv.bias"] + 1e-6}
    assert weights_sha256(changed) != weights_sha256(weights)


@pytest.mark.parametrize("variant", VARIANTS)
def test_seeded_weights_are_the_same_bytes_anywhere(variant):
    assert load_checkpoint("seeded", variant).weights_sha256 == SEEDED_SHA256[variant]


def test_seeded_weights_do_not_depend_on_the_process():
    code = "import rvm_model; print(rvm_model.load_checkpoint('seeded').weights_sha256)"
    environment = os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert process.stdout.strip() == SEEDED_SHA256["mobilenetv3"]


@RESNET50_LONG
def test_seeded_weights_exercise_the_network(variant, refiner):
    checkpoint = load_checkpoint("seeded", variant, refiner)
    for kind, neutral in {"running_mean": 0, "running_var": 1, "bias": 0}.items():
        vectors = [v for key, v in checkpoint.state_dict.items() if key.endswith(kind) and v.dim() == 1]
        assert all((vector - neutral).abs().max() > 0.05 for vector in vectors)
    model, states, alphas = checkpoint.network(), [None] * 4, []
    with torch.inference_mode():
        for frame in drawn_inputs(12, 320, 180):
            _, pha, *states = model(torch.from_numpy(frame), *states, 0.5)
            alphas.append(pha)
    assert torch.stack(alphas).std() > 0.1
    assert all(0.05 < state.std() < 0.9 for state in states)


@pytest.mark.parametrize("source", ["no/such.pth", "weights.onnx", "."])
def test_what_is_no_checkpoint_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("weights.onnx").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="official, seeded or auto"):
        load_checkpoint(source)


def test_missing_extra_and_misshapen_keys_are_listed(weights, tmp_path):
    wrong = dict(weights)
    del wrong["aspp.aspp1.0.weight"]
    wrong["aspp.extra"] = torch.zeros(1)
    wrong["project_mat.conv.bias"] = torch.zeros(5)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(save(wrong, tmp_path / "wrong.pth"))
    message = str(caught.value)
    assert "1 missing: aspp.aspp1.0.weight" in message
    assert "1 extra: aspp.extra" in message
    assert "1 of another shape: project_mat.conv.bias [5] instead of [4]" in message
    assert "\n" not in message


@RESNET50_LONG
def test_a_checkpoint_of_another_network_says_which(variant, refiner, tmp_path):
    path = save(dict(load_checkpoint("seeded", variant, refiner).state_dict), tmp_path / "other.safetensors")
    for other_variant in VARIANTS:
        for other_refiner in REFINERS:
            if (other_variant, other_refiner) != (variant, refiner):
                with pytest.raises(CheckpointError, match=f"use --variant {variant} --refiner {refiner}"):
                    load_checkpoint(path, other_variant, other_refiner)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused(value, weights, tmp_path):
    damaged = {key: tensor.double() if tensor.dim() else tensor for key, tensor in weights.items()}
    damaged["decoder.decode1.gru.ih.0.weight"].view(-1)[7] = value
    with pytest.raises(CheckpointError, match=r"decoder.decode1.gru.ih.0.weight holds a value that is not finite"):
        load_checkpoint(save(damaged, tmp_path / "damaged.safetensors"))


def test_a_negative_variance_is_refused(weights, tmp_path):
    damaged = weights | {"aspp.aspp1.1.running_var": -weights["aspp.aspp1.1.running_var"]}
    with pytest.raises(CheckpointError, match=r"aspp.aspp1.1.running_var holds a negative variance"):
        load_checkpoint(save(damaged, tmp_path / "damaged.safetensors"))


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(4, dtype=torch.int32),
        torch.zeros(4, dtype=torch.complex64),
        torch.zeros(4, dtype=torch.bool),
        torch.zeros(4).to(torch.float8_e4m3fn),
        torch.zeros(4).to_sparse(),
        torch.zeros(4, device="meta"),
    ],
    ids=lambda value: f"{value.dtype}-{value.layout}-{value.device}",
)
def test_weights_of_another_kind_are_refused(value, weights, tmp_path):
    with pytest.raises(CheckpointError, match=r"project_mat.conv.bias is .*; known are dense"):
        load_checkpoint(save(weights | {"project_mat.conv.bias": value}, tmp_path / "odd.pth"))


@pytest.mark.filterwarnings("ignore:.*looks like a TorchScript archive")
def test_torchscript_is_no_checkpoint(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Conv2d(3, 4, 1)), tmp_path / "code.pth")
    with pytest.raises(CheckpointError, match="is TorchScript, not a checkpoint"):
        load_checkpoint(tmp_path / "code.pth")


@pytest.mark.parametrize("content", [b".", b"\x80\x02}q\x00(", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R."])
def test_a_pickle_that_is_no_checkpoint(content, tmp_path):
    """Give the file valid checksums and nonsense content."""
    with zipfile.ZipFile(tmp_path / "odd.pth", "w") as archive:
        archive.writestr("odd/data.pkl", content)
        archive.writestr("odd/version", "3\n")
    with pytest.raises(CheckpointError, match="no PyTorch checkpoint"):
        load_checkpoint(tmp_path / "odd.pth")


@pytest.mark.parametrize("source", ["official", "auto", "seeded", "weights.pth"])
def test_an_unknown_variant_is_refused_before_anything(source):
    with pytest.raises(ValueError, match="mobilenetv3, resnet50"):
        load_checkpoint(source, "vgg")


def test_a_file_that_holds_no_state_dict_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not hold a state_dict"):
        load_checkpoint(save([1, 2, 3], tmp_path / "list.pth"))
    with pytest.raises(CheckpointError, match="does not hold a state_dict"):
        load_checkpoint(save({1: torch.zeros(1)}, tmp_path / "numbers.pth"))
    with pytest.raises(CheckpointError, match="does not hold a state_dict"):
        load_checkpoint(save({"state_dict": {}}, tmp_path / "nested.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -1])
def test_truncated_files_are_refused(suffix, kept, weights, tmp_path):
    path = save(weights, tmp_path / f"whole{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match=r"truncated|damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("flips", [12, pytest.param(100, marks=pytest.mark.long)])
def test_flipped_bits_in_a_pth_are_found(flips, weights, tmp_path):
    """Flip bits anywhere. Only flips between records, in filler and dates, change nothing."""
    path = save(weights, tmp_path / "whole.pth")
    content, generator, found = path.read_bytes(), random.Random(0), 0
    for _ in range(flips):
        damaged = bytearray(content)
        damaged[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            checkpoint = load_checkpoint(path)
        except CheckpointError as error:
            assert "\n" not in str(error)
            found += 1
        else:
            assert checkpoint.weights_sha256 == weights_sha256(weights)
    assert found >= 0.75 * flips


@pytest.mark.parametrize("flips", [12, pytest.param(100, marks=pytest.mark.long)])
def test_flipped_bits_in_a_safetensors_header_are_found(flips, weights, tmp_path):
    """Flip bits in the header. Tensors have no checksum: only the file's sha256, which artifacts carry, shows those."""
    path = save(weights, tmp_path / "whole.safetensors")
    content, generator, found = path.read_bytes(), random.Random(0), 0
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(flips):
        damaged = bytearray(content)
        damaged[generator.randrange(header)] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            checkpoint = load_checkpoint(path)
        except CheckpointError as error:
            assert "\n" not in str(error)
            found += 1
        else:
            assert checkpoint.state_dict.keys() == weights.keys()
    assert found >= 0.875 * flips


class Exploit:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "it ran")


def test_a_malicious_pickle_does_not_run(tmp_path):
    trace = tmp_path / "trace"
    path = save({"project_mat.conv.bias": Exploit(trace)}, tmp_path / "malicious.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        load_checkpoint(path)
    assert not trace.exists()


def test_the_old_format_of_torch_save_is_refused(weights, tmp_path):
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="present \\(zip\\) format"):
        load_checkpoint(tmp_path / "old.pth")


def test_loading_leaves_the_random_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_checkpoint("seeded")
    assert torch.equal(torch.rand(3), expected)


def test_the_shared_weights_load(shared):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in sorted((shared / "weights").glob("*.safetensors")):
            checkpoint = load_checkpoint(path)
            assert all(np.isfinite(value.numpy()).all() for value in checkpoint.state_dict.values())
