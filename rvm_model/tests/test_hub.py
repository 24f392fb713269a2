"""`hubconf.py`, as `torch.hub` reads it. Its downloads are in `test_download.py`."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rvm_model import MattingNetwork

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("variant", ["mobilenetv3", "resnet50"])
def test_an_untrained_network_is_a_new_module(variant):
    network = torch.hub.load(ROOT, variant, source="local", pretrained=False)
    assert isinstance(network, MattingNetwork)
    assert (network.variant, network.training) == (variant, True)
    assert all(weight.requires_grad and weight.dtype == torch.float32 for weight in network.parameters())
    fgr, pha, *states = network.eval()(torch.rand(1, 3, 64, 96), downsample_ratio=0.5)
    assert (fgr.shape, pha.shape, len(states)) == ((1, 3, 64, 96), (1, 1, 64, 96), 4)


def test_the_released_weights_load_into_it(shared):
    """Load them as a user does who has the file already."""
    network = torch.hub.load(ROOT, "mobilenetv3", source="local", pretrained=False)
    network.load_state_dict(load_file(shared / "weights" / "rvm_mobilenetv3_from_tfjs.safetensors"))


def test_it_needs_nothing_but_the_model(tmp_path):
    """Copy the model only. TorchHub brings the repository without installing it or what the tools need."""
    shutil.copy(ROOT / "hubconf.py", tmp_path)
    shutil.copytree(ROOT / "rvm_model", tmp_path / "rvm_model", ignore=shutil.ignore_patterns("tests", "__pycache__"))
    code = (
        "import sys, torch\n"
        "network = torch.hub.load(sys.argv[1], 'mobilenetv3', source='local', pretrained=False)\n"
        "assert sys.modules['rvm_model'].__file__.startswith(sys.argv[1])\n"
        "sys.exit(','.join({'tools', 'exporters', 'parity_tests', 'typer', 'rich', 'onnx'} & sys.modules.keys()) or 0)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert (process.returncode, process.stderr) == (0, "")


def test_every_dependency_is_there_and_said():
    """Compare the listed dependencies with the model's third-party imports."""
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    hubconf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hubconf)
    assert all(importlib.util.find_spec(package) for package in hubconf.dependencies)
    imported = {
        line.split()[1].partition(".")[0]
        for file in (ROOT / "rvm_model").rglob("*.py")
        if "tests" not in file.parts
        for line in map(str.strip, file.read_text().splitlines())
        if line.startswith(("import ", "from ")) and len(line.split()) > 1
    }
    # The extra `fused` is for the command `matte` alone.
    foreign = imported - sys.stdlib_module_names - {"rvm_model", "numba"}
    assert foreign <= {*hubconf.dependencies}


def test_the_converter_is_ours():
    assert torch.hub.load(ROOT, "converter", source="local") is importlib.import_module("rvm_model").convert_video
