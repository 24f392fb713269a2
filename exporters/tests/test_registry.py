"""Test the formats' names, and that nothing heavy is imported without need."""

import subprocess
import sys
import zipfile

import pytest

from exporters import FORMATS, load_exporter, load_recovery, load_runtime, recognise
from exporters.artifact import ArtifactError
from exporters.format import MissingPackage, UnknownRuntime


def test_the_registry_imports_nothing_heavy():
    code = "import sys, exporters, exporters.spec; sys.exit(bool({'torch', 'numpy', 'onnx'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@pytest.mark.parametrize(
    ("runtime", "package", "extra"),
    [
        ("onnxruntime", "onnxruntime", "onnx"),
        ("onnxruntime-web", "onnx", "onnx"),
        ("openvino", "openvino", "openvino"),
    ],
)
def test_a_missing_package_is_one_line_with_the_command(runtime, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"^onnx in {runtime} needs {package}; run: pip install 'rvm-export\[{extra}\]'$"
    with pytest.raises(MissingPackage, match=message):
        load_runtime("onnx", runtime)


def test_export_needs_no_runtime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    load_exporter("onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackage, match=r"^onnx needs onnx; run: pip install 'rvm-export\[onnx\]'$"):
        load_exporter("onnx")


def test_an_unknown_runtime_is_refused_with_those_there_are():
    with pytest.raises(UnknownRuntime, match=r"'openvino'; give as --runtime one of: torch$"):
        load_runtime("torchscript", "openvino")
    assert load_runtime("onnx") is load_runtime("onnx", "onnxruntime")


def test_a_typo_of_ours_is_not_a_missing_package(monkeypatch):
    for module in ("runtimes.onnxruntime", "artifact"):
        monkeypatch.delitem(sys.modules, f"exporters.onnx.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "exporters.support.identify", None)
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
    with pytest.raises(ArtifactError, match="none of the formats known here"):
        recognise(tmp_path)


def test_a_file_inside_a_model_leads_to_its_folder(tmp_path):
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).write_bytes(b"<?xml version='1.0'?><net name='x' version='11'>")
    with pytest.raises(ArtifactError, match=f"the model is the folder: give {tmp_path}$"):
        recognise(tmp_path / "model.xml")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_read_for_its_weights(name):
    assert callable(load_recovery(name).dataflow)


ZIPS = {
    "tensorflow": ("saved_model.pb",),
    "pt2": ("archive/archive_format",),
    "tfjs": ("model.json",),
    "coreml": ("Manifest.json",),
    "ncnn": ("model.ncnn.param",),
    "openvino": ("model.xml",),
    "torchscript": ("archive/constants.pkl", "archive/code/network.py"),
}


def written(path, name):
    """Write the least by which a format is recognised."""
    if name == "onnx":
        path.write_bytes(b"\x08\x08")
        return path
    if name == "executorch":
        path.write_bytes(b"\x1c\0\0\0ET12")
        return path
    if name == "litert":
        path.write_bytes(b"\x1c\0\0\0TFL3")
        return path
    with zipfile.ZipFile(path, "w") as archive:
        for record in ZIPS[name]:
            archive.writestr(record, b"")
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_a_suffix_that_is_another_formats_is_refused(name, tmp_path):
    suffixes = {suffix for description in FORMATS.values() for suffix in description.suffixes}
    assert suffixes == {
        ".mlmodel",
        ".mlpackage",
        ".ncnn",
        ".onnx",
        ".openvino",
        ".pt2",
        ".pte",
        ".tflite",
        ".torchscript",
        ".zip",
    }
    for suffix in (*suffixes, *map(str.upper, suffixes)):
        path = written(tmp_path / f"file{suffix}", name)
        if suffix.lower() in FORMATS[name].suffixes:
            assert recognise(path) == name
        else:
            message = rf"is {FORMATS[name].title} by its content, and .* by its name; give the right file, or a name"
            with pytest.raises(ArtifactError, match=message):
                recognise(path)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("suffix", ["", ".bin", ".pt", ".v1.0"])
def test_a_name_that_says_nothing_is_taken(name, suffix, tmp_path):
    assert recognise(written(tmp_path / f"file{suffix}", name)) == name


def test_a_folder_has_a_suffix_too(tmp_path):
    folder = tmp_path / "folder.onnx"
    folder.mkdir()
    (folder / "saved_model.pb").touch()
    with pytest.raises(ArtifactError, match="is TensorFlow by its content, and ONNX by its name"):
        recognise(folder)
