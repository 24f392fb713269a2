"""The folders are the registry, and nothing heavy comes through its door unasked."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import exporters
from exporters import FORMATS, load_runtime, recognise
from exporters.spec import ArtifactError, MissingPackage


def test_the_formats_are_the_folders():
    folders = {path.parent.name for path in Path(exporters.__file__).parent.glob("*/__init__.py")}
    assert set(FORMATS) == folders >= {"onnx", "torchscript"}


def test_the_registry_imports_nothing_heavy():
    code = "import sys, exporters, exporters.spec; sys.exit(bool({'torch', 'numpy', 'onnx'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_missing_package_is_one_line_with_the_command(monkeypatch):
    monkeypatch.delitem(sys.modules, "exporters.onnx.runtime", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackage, match=r"onnx needs onnxruntime; run: pip install 'rvm-export\[onnx\]'"):
        load_runtime("onnx")


def test_a_typo_of_ours_is_not_a_missing_package(monkeypatch):
    monkeypatch.delitem(sys.modules, "exporters.onnx.runtime", raising=False)
    monkeypatch.setitem(sys.modules, "exporters.identify", None)
    with pytest.raises(ModuleNotFoundError):
        load_runtime("onnx")


@pytest.mark.parametrize("content", [b"", b"\x08", b"hello", b"PK\x05\x06" + bytes(18), b"PK\x03\x04broken"])
def test_other_files_are_not_recognised(content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="none of the formats"):
        recognise(path)


def test_every_flipped_bit_of_an_archives_directory_is_survived(tmp_path):
    path = tmp_path / "small.torchscript"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", b"")
        archive.writestr("archive/code/network.py", b"")
    content = path.read_bytes()
    for position in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            recognise(path)
        except ArtifactError:
            continue


def test_a_missing_file_and_a_folder_are_said(tmp_path):
    with pytest.raises(ArtifactError, match="No such file"):
        recognise(tmp_path / "none.onnx")
    with pytest.raises(ArtifactError, match="directory"):
        recognise(tmp_path)
