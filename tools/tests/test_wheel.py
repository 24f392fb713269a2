"""The built wheel in fresh environments: help and clear messages without extras, and a format with its own extra."""

import os
import re
import zipfile
from pathlib import Path

import pytest

from exporters import FORMATS
from tools.targets.targets import read_targets
from tools.tests.fresh import build_wheel, fresh, run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Path:
    """Make an environment without extras."""
    return fresh(wheel, tmp_path_factory.mktemp("bare") / "environment", [])


def test_what_it_holds(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        texts = {name: archive.read(name).decode() for name in names if name.endswith(".py")}
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        *("rvm_model", "exporters", "parity_tests", "tools")
    }
    assert not [name for name in names if "/tests/" in name or "node_modules" in name or "/test_" in name]
    assert not [name for name in names if name.startswith("tools/measure/")]
    assert not [
        name for name, text in texts.items() if re.search(r"^\s*(?:from|import) \w+\.(?:tests|measure)\b", text, re.M)
    ]
    assert {"tools/release/contents.toml", "rvm_model/video/synthetic/portrait.png"} <= {*names}
    for name in FORMATS:
        assert f"exporters/{name}/card.md.jinja" in names
    for target in read_targets().values():
        for file in target.files:
            assert os.path.normpath(f"tools/targets/examples/{file.source}") in names


def test_help_and_version(bare):
    for words in (["--help"], *([name, "--help"] for name in (*FORMATS, "verify", "release", "matte"))):
        result = run(bare, *words)
        assert (result.returncode, result.stderr) == (0, ""), words
        assert "Usage" in result.stdout
    assert run(bare, "--version").stdout.startswith("rvm-export ")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "onnx" else [pytest.mark.long])
        for name in FORMATS
        if FORMATS[name].packages != ("torch",)
    ],
)
def test_a_format_whose_extra_is_missing(name, bare, tmp_path):
    size = ["--resolution", "96x64", "--downsample-ratio", 0.5] if FORMATS[name].one_size else []
    result = run(bare, name, "--checkpoint", "seeded", "--output", tmp_path, *size)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"rvm-export: error: {name} needs {FORMATS[name].packages[0]}; run: pip install ")
    assert f"'rvm-export[{FORMATS[name].extra}]'" in line
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("words", [["release"], ["release", "verify", "."]], ids=" ".join)
def test_a_release_without_its_extra(words, bare):
    result = run(bare, *words)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("rvm-export: error: a release needs ")
    assert line.endswith("; run: pip install 'rvm-export[release]'")


@pytest.mark.long
@pytest.mark.parametrize("name", ["torchscript", "onnx"])
def test_a_format_with_its_extra_alone_which_brings_no_other(name, wheel, tmp_path):
    """Test the quick formats; `make soak` tests the others."""
    environment = fresh(wheel, tmp_path / "environment", [name])
    result = run(environment, name, "--checkpoint", "seeded", "--output", tmp_path / "made")
    assert result.returncode == 0, result.stderr
    assert "computes what PyTorch computes" in result.stderr
    (path,) = result.stdout.split()
    assert Path(path).is_file()
    here = {each.name for each in environment.iterdir()}
    assert {"torch", *(["onnx", "onnxruntime"] if name == "onnx" else [])} <= here
    assert not {"tensorflow", "tensorflowjs", "coremltools", "ncnn", "openvino", "distributed", "matplotlib"} & here
