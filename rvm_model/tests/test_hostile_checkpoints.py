"""Checkpoints that are made to cost their reader minutes or gigabytes. Each is refused before that."""

import os
import struct
import zipfile

import pytest
import torch

from rvm_model import CheckpointError, load_checkpoint

pytestmark = pytest.mark.timeout(120)

BOMB_BYTES = 60_000_000


@pytest.fixture
def unread(monkeypatch):
    """Fail if torch loads a file."""

    def load(*_, **__):
        raise AssertionError("torch was asked to load it")

    monkeypatch.setattr(torch, "load", load)


def refused(path, said):
    with pytest.raises(CheckpointError, match=said) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def archive(path, pickled, method=zipfile.ZIP_STORED, data=b""):
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a/data.pkl", pickled)
        file.writestr("a/version", "3\n")
        file.writestr("a/data/0", data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_bomb_of_another_method_is_not_unpacked(method, tmp_path, monkeypatch, unread):
    monkeypatch.setattr(zipfile.ZipFile, "testzip", None)
    path = archive(tmp_path / "bomb.pth", b"\x80\x02}.", method, bytes(BOMB_BYTES))
    assert path.stat().st_size < BOMB_BYTES / 1000
    refused(path, f"'a/data.pkl' is packed by method {method}; pack it stored or deflated")


def test_an_encrypted_entry_is_named(tmp_path, unread):
    path = archive(tmp_path / "locked.pth", b"\x80\x02}.")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # a flag in the list of entries
    path.write_bytes(content)
    refused(path, "its entry 'a/data.pkl' is encrypted, or damaged; pack it without a password")


def test_a_deflated_bomb_is_not_unpacked(tmp_path, monkeypatch, unread):
    monkeypatch.setattr(zipfile.ZipFile, "testzip", None)
    path = archive(tmp_path / "bomb.pth", b"\x80\x02}.", zipfile.ZIP_DEFLATED, bytes(BOMB_BYTES))
    refused(path, r"3 entries of \d+ bytes would unpack to 60000\d+, which no model")


def test_an_archive_of_a_million_entries_is_not_listed(tmp_path, monkeypatch, unread):
    """`zipfile` takes minutes to list as many as fit into 20 MB."""
    names = [f"{number:x}".encode() for number in range(1200)]
    listed = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), *[0] * 6) + name
        for name in names
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(names), len(names), len(listed), 0, 0)
    path = tmp_path / "entries.pth"
    path.write_bytes(listed + end)
    with zipfile.ZipFile(path) as file:
        assert len(file.namelist()) == len(names)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    refused(path, "it lists more than 1000 entries")


def called(module, name, *arguments):
    """Return the bytes of a pickle that calls a function."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def text(content):
    return b"X" + struct.pack("<I", len(content)) + content.encode()


def doubled(times):
    """Return a pickle that encodes eight bytes in hexadecimal, and the result again."""
    value = called("_codecs", "encode", text("AAAAAAAA"), text("latin1"))
    for _ in range(times):
        value = called("_codecs", "encode", value, text("hex"))
    return b"\x80\x02" + value + b"."


ALLOCATED = called("builtins", "bytearray", b"\x8a\x05" + (3_000_000_000).to_bytes(5, "little"))
TENSOR = called("torch", "FloatTensor", b"\x8a\x05" + (3_000_000_000).to_bytes(5, "little"))


@pytest.mark.parametrize("pickled", [doubled(28), b"\x80\x02" + ALLOCATED + b".", b"\x80\x02" + TENSOR + b"."])
def test_a_pickle_that_makes_gigabytes_of_a_kilobyte_is_not_loaded(pickled, tmp_path, unread):
    """Torch calls these functions although `weights_only` is set."""
    refused(archive(tmp_path / "bomb.pth", pickled), "its pickle asks for more than tensors")


def test_torch_itself_calls_what_the_test_above_refuses(tmp_path):
    with pytest.raises(TypeError, match="byte indices"):  # raised afterwards: the result is no state dict
        torch.load(archive(tmp_path / "small.pth", doubled(2)), weights_only=True)["key"]


def test_a_pickle_of_a_million_tensors_is_not_loaded(tmp_path, unread):
    refused(archive(tmp_path / "long.pth", b"\x80\x02" + b"}0" * 600_000 + b"}."), "its pickle has 1200004 bytes")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_sparse_file_is_refused_by_its_size(suffix, tmp_path, unread):
    path = tmp_path / f"sparse{suffix}"
    with path.open("wb") as file:
        file.truncate(300_000_000_000)
    refused(path, "it has 300000000000 bytes; at most 1000000000 are read")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_pipe_is_no_checkpoint(suffix, tmp_path, unread):
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)
    refused(path, "is no checkpoint")


def test_a_header_of_many_tensors_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr("safetensors.torch.load_file", None)
    entry = b'"%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = b"{" + b",".join(entry % number for number in range(25_000)) + b"}"
    path = tmp_path / "many.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    refused(path, rf"its header would have {len(header)} bytes; at most 1000000 are read")
