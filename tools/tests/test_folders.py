"""A model may be a folder: everywhere that a file can be given, and in every message."""

import json
import subprocess

import pytest

from exporters.tests.tfjs_files import RELEASED


@pytest.fixture
def folder(shared):
    return shared / RELEASED


def test_info_shows_what_a_folder_is(folder, run):
    told = json.loads(run("info", folder, "--json").out)
    assert (told["artifact"], told["format"], told["precision"]) == (str(folder), "tfjs", "int8")
    assert told["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    lines = subprocess.run("LC_ALL=C sha256sum *", shell=True, cwd=folder, capture_output=True).stdout
    assert told["sha256"] == subprocess.run("sha256sum", input=lines, capture_output=True).stdout.decode()[:64]
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
