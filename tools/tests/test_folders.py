"""A model may be a folder wherever a file is accepted, and in every message."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from exporters.tests.tfjs_files import RELEASED
from tools.shared.outputs import ExportFailed, OutputError, publish


@pytest.fixture
def folder(shared):
    return shared / RELEASED


def test_info_shows_what_a_folder_is(folder, run):
    told = json.loads(run("info", folder, "--json").out)
    assert (told["artifact"], told["format"], told["precision"]) == (str(folder), "tfjs", "int8")
    assert told["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    lines = subprocess.run("LC_ALL=C sha256sum *", shell=True, cwd=folder, capture_output=True, timeout=120).stdout
    assert (
        told["sha256"]
        == subprocess.run("sha256sum", input=lines, capture_output=True, timeout=120).stdout.decode()[:64]
    )
    assert told["metadata"] == {}


@pytest.mark.parametrize("name", ["model.json", "report.json", "deeper/report.json"])
def test_no_report_is_written_into_a_folder_that_is_verified(name, folder, run):
    result = run("verify", folder, "--json", folder / name)
    assert result.code == 2
    assert "would overwrite" in result.error
    assert not (folder / "deeper").exists()


def test_a_folder_of_something_else(tmp_path, run):
    result = run("verify", tmp_path)
    assert result.code == 2
    assert f"{tmp_path} is none of the formats known here" in result.error


def test_a_folder_that_is_damaged(tmp_path, run):
    (tmp_path / "model.json").write_text("{")
    result = run("info", tmp_path)
    assert result.code == 2
    assert f"{tmp_path} has a model.json that is truncated, or no JSON" in result.error


def test_a_folder_is_no_output_file(tmp_path, run):
    (tmp_path / "rvm.onnx").mkdir()
    result = run("onnx", "--checkpoint", "seeded", "--output", tmp_path / "rvm.onnx")
    assert result.code == 2
    assert "rvm.onnx is a folder; give a file that ends in .onnx" in result.error


def content(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def export_folder(run, output, *options):
    return run("tensorflow", "--folder", "--checkpoint", "seeded", "--no-verify", "--output", output, *options)


@pytest.mark.long
def test_a_model_is_written_as_a_folder_and_replaced_by_force(run, tmp_path):
    path = tmp_path / "rvm_mobilenetv3_tf_seeded"
    assert export_folder(run, tmp_path).out == f"{path}\n"
    written = content(path)
    assert "saved_model.pb" in written

    (path / "saved_model.pb").write_text("old")
    (path / "mine").write_text("mine")
    refused = export_folder(run, tmp_path)
    assert (refused.code, refused.error.partition("; ")[2]) == (
        2,
        "use --force to replace it, or write elsewhere",
    )
    assert (path / "mine").exists()
    assert export_folder(run, tmp_path, "--force").code == 0
    assert content(path) == written
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_is_not_replaced_by_a_folder(run, tmp_path):
    (tmp_path / "rvm_mobilenetv3_tf_seeded").write_text("mine")
    result = export_folder(run, tmp_path, "--force")
    assert result.code == 2
    assert "is a file; remove it, or give another --output" in result.error
    assert (tmp_path / "rvm_mobilenetv3_tf_seeded").read_text() == "mine"


@pytest.mark.parametrize("fails", [1, 2])
def test_a_folder_that_cannot_be_replaced_stays(fails, tmp_path, monkeypatch):
    """Let the disk fail when the old folder is moved aside, or when the new one replaces it."""
    path, calls, replace = tmp_path / "model", [], Path.replace
    path.mkdir()
    (path / "old").write_text("old")

    def failing(self, target):
        calls.append(target)
        if len(calls) == fails:
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(ExportFailed, match=r"cannot write .*: Input/output error"):
        publish(path, lambda folder: folder.mkdir(), lambda folder: None, force=True)
    assert content(path) == {"old": b"old"}
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_that_appears_while_another_is_written_stays(folder, tmp_path):
    path = tmp_path / "model"

    def write(staged):
        if folder:
            staged.mkdir()
        else:
            staged.write_text("new")

    def appear(_):
        path.mkdir()
        (path / "mine").write_text("mine")

    with pytest.raises(OutputError, match="exists; use --force to replace it, or write elsewhere"):
        publish(path, write, appear, force=False)
    assert content(path) == {"mine": b"mine"}
    assert [*tmp_path.iterdir()] == [path]


def test_a_package_is_a_folder_with_a_suffix(run, tmp_path, monkeypatch):
    """Check that a package can be named, is replaced as a whole, and does not replace a file."""

    def make(checkpoint, spec, path):
        path.mkdir()
        (path / "Manifest.json").write_text("new")

    monkeypatch.setattr("tools.commands.export.load_exporter", lambda name: SimpleNamespace(export=make))
    path = tmp_path / "mine_seeded.mlpackage"
    export = ("coreml", "--resolution", "64x64", "--downsample-ratio", "0.5", "--checkpoint", "seeded", "--no-verify")
    assert run(*export, "--output", path).out == f"{path}\n"
    (path / "Manifest.json").write_text("old")
    assert "use --force" in run(*export, "--output", path).error
    assert run(*export, "--output", path, "--force").code == 0
    assert content(path) == {"Manifest.json": b"new"}
    into = run(*export, "--output", tmp_path)
    assert into.out == f"{tmp_path}/rvm_mobilenetv3_64x64_s0.5_fp16_seeded.mlpackage\n"
    (path / "Manifest.json").rename(path / "mine")
    assert "is a folder of something else" in run(*export, "--output", path, "--force").error
    (tmp_path / "file_seeded.mlpackage").write_text("mine")
    assert "is a file; remove it" in run(*export, "--output", tmp_path / "file_seeded.mlpackage", "--force").error
    named = run(*export, "--output", tmp_path / "mine.mlpackage")
    assert "call it mine_seeded.mlpackage" in named.error
    zipped = run(*export, "--zip", "--output", tmp_path / "mine.mlpackage.zip")
    assert "call it mine_seeded.mlpackage.zip" in zipped.error
