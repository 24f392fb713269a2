"""Metadata of ours is text by name, and the hash in it fits the file."""

import json

import pytest

from exporters.artifact import ArtifactError
from exporters.support.own_metadata import HASH, UNHASHED, hashed, is_unchanged, parse_metadata, read_metadata


def test_the_hash_covers_every_byte_but_itself():
    content = hashed(f"before {UNHASHED} after".encode())
    metadata = {HASH: content.split()[1].decode()}
    assert is_unchanged(content, metadata)
    assert not is_unchanged(content + b"!", metadata)
    assert is_unchanged(content + b"!", {})


@pytest.mark.parametrize("claimed", ["", "0", "\ud800", "é" * 64])
def test_what_is_no_hash_fits_no_file(claimed):
    assert not is_unchanged(b"a file", {HASH: claimed})


@pytest.mark.parametrize(
    ("text", "said"),
    [("[" * 100_000, "is no JSON"), ("\xff", "is no JSON"), ("[]", "is not text by name"), ('{"a": 1}', "is not text")],
)
def test_other_metadata_is_refused(text, said, tmp_path):
    with pytest.raises(ValueError, match=f"its entry {said}"):
        parse_metadata(text.encode("latin-1"), "entry")
    (tmp_path / "notes.json").write_text(text, encoding="latin-1")
    with pytest.raises(ArtifactError, match=f"model is damaged: its notes.json {said}"):
        read_metadata(tmp_path / "model", tmp_path, "notes.json")


def test_a_model_without_a_file_of_metadata_has_none(tmp_path):
    assert read_metadata(tmp_path, tmp_path, "notes.json") == {}
    (tmp_path / "notes.json").write_text(json.dumps({"a": "b"}))
    assert read_metadata(tmp_path, tmp_path, "notes.json") == {"a": "b"}
