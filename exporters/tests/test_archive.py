"""Folders and zip files that lead elsewhere, never end, or hold more than a model: none of that is opened."""

import os
import zipfile
from pathlib import Path

import pytest

from exporters import recognise
from exporters.artifact import ArtifactError
from exporters.support.archive import member, read_member, unpacked

pytestmark = pytest.mark.timeout(60)

MARKER = "model.json"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a folder with a marker and a sub-folder."""
    path = tmp_path / "model"
    (path / "variables").mkdir(parents=True)
    (path / MARKER).write_text("{}")
    return path


def link_out(folder):
    (folder.parent / "secret").write_text("secret")
    (folder / "shard.bin").symlink_to("../secret")


def folder_link_out(folder):
    (folder.parent / "secrets").mkdir()
    (folder / "shards").symlink_to("../secrets")


def link_to_the_root(folder):
    (folder / "variables" / "data").symlink_to("/etc/passwd")


def broken_link_out(folder):
    (folder / "shard.bin").symlink_to("../none")


def endless_link(folder):
    (folder / "shard.bin").symlink_to("/dev/zero")


def pipe(folder):
    os.mkfifo(folder / "variables" / "variables.index")


def pipe_for_a_marker(folder):
    (folder / MARKER).unlink()
    os.mkfifo(folder / MARKER)


def stranger(folder):
    with (folder / "stranger.bin").open("wb") as file:
        file.truncate(200_000_000_000)


def many_files(folder):
    for number in range(1000):
        (folder / f"{number}").touch()


def circle(folder):
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")


ATTACKS = {
    link_out: "it points outside itself, to 'shard.bin'",
    folder_link_out: "it points outside itself, to 'shards'",
    link_to_the_root: "it points outside itself, to 'variables/data'",
    broken_link_out: "it points outside itself, to 'shard.bin'",
    endless_link: "it points outside itself, to 'shard.bin'",
    pipe: "'variables/variables.index' is no regular file",
    pipe_for_a_marker: "'model.json' is no regular file",
    stranger: r"with 'stranger.bin' it holds \d files of 2000000000\d\d bytes, .*; give a folder with the model alone",
    many_files: r"it holds 1001 files of \d+ bytes, .*; give a folder with the model alone",
    circle: "cannot read .*model",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_folder_that_is_no_model_is_refused(attack, folder):
    attack(folder)
    with pytest.raises(ArtifactError, match=ATTACKS[attack]) as caught, unpacked(folder, MARKER):
        pass
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_links_within_a_folder_are_followed(folder):
    (folder / "again.json").symlink_to(MARKER)
    with unpacked(folder, MARKER) as same:
        assert read_member(same, "again.json", folder) == b"{}"


@pytest.mark.parametrize("place", ["../model/model.json", "/etc/passwd", "variables/../model.json", "a\\b", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(place, folder):
    with pytest.raises(ArtifactError, match="it points outside itself"):
        member(folder, place, folder)


@pytest.mark.parametrize(("place", "said"), [("variables", "Is a directory"), (MARKER, "at most 1 are read")])
def test_only_small_files_are_read(place, said, folder):
    with pytest.raises(ArtifactError, match=said):
        read_member(folder, place, folder, 1)


def test_a_pipe_that_replaces_a_checked_file_is_not_waited_for(folder):
    with unpacked(folder, MARKER):
        pipe_for_a_marker(folder)
        with pytest.raises(ArtifactError, match="it is no regular file"):
            read_member(folder, MARKER, folder)


@pytest.mark.parametrize("attack", [pipe_for_a_marker, endless_link, pipe])
def test_recognising_a_folder_never_hangs(attack, folder):
    attack(folder)
    try:
        assert recognise(folder) == "tfjs"
    except ArtifactError as error:
        assert attack is pipe_for_a_marker
        assert "none of the formats" in str(error)


def test_recognising_a_zip_file_of_many_entries_lists_none(tmp_path, monkeypatch):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1100):
            archive.writestr(f"{number}", "")
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ArtifactError, match=r"cannot read .*many.zip: it lists more than 1000 entries"):
        recognise(path)
