"""A finished file or folder gets its name at once, and replaces another only if that is wanted."""

import os
from pathlib import Path

import pytest

from rvm_model.publishing import move_new


def made(path: Path, folder: bool) -> Path:
    if folder:
        path.mkdir()
        (path / "content").write_text("new")
    else:
        path.write_text("new")
    return path


@pytest.fixture(params=["hard links", "no hard links"])
def _disk(request, monkeypatch):
    if request.param == "no hard links":

        def link(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("_disk")
@pytest.mark.parametrize("folder", [False, True])
def test_a_free_name_is_given(folder, tmp_path):
    move_new(made(tmp_path / ".staged", folder), tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "content" if folder else tmp_path / "out").read_text() == "new"


@pytest.mark.usefixtures("_disk")
@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("taken", ["file", "folder", "link", "dangling link"])
def test_a_taken_name_stays(folder, taken, tmp_path):
    path = tmp_path / "out"
    if taken == "folder":
        path.mkdir()
        (path / "mine").write_text("mine")
    elif taken == "file":
        path.write_text("mine")
    else:
        if taken == "link":
            (tmp_path / "target").write_text("mine")
        path.symlink_to("target")
    before = sorted(each.name for each in tmp_path.rglob("*"))
    staged = made(tmp_path / ".staged", folder)
    with pytest.raises(FileExistsError, match="out"):
        move_new(staged, path)
    assert staged.exists()
    assert {*before} <= {each.name for each in tmp_path.rglob("*")}
    assert path.is_symlink() == ("link" in taken)
    if taken == "file":
        assert path.read_text() == "mine"


def test_an_error_of_the_disk_is_no_taken_name(tmp_path):
    with pytest.raises(FileNotFoundError):
        move_new(made(tmp_path / ".staged", False), tmp_path / "missing" / "out")
