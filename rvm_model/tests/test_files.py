"""Test that only regular files of a bounded size are read, and that nothing else is waited for."""

import os
import socket
from pathlib import Path

import pytest

from rvm_model.files import check_file, open_file, read_file, sha256_of

pytestmark = pytest.mark.timeout(60)


def opened(path):
    with open_file(path):
        pass


READERS = pytest.mark.parametrize("read", [opened, read_file, check_file, sha256_of])


@READERS
def test_a_pipe_is_not_waited_for(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no regular file"):
        read(tmp_path / "pipe")


@READERS
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero on this machine")
def test_a_device_without_an_end_is_not_read(read, tmp_path):
    (tmp_path / "link").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="it is no regular file"):
        read(tmp_path / "link")


@READERS
def test_a_socket_is_not_read(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(OSError, match="it is no regular file"):
            read(Path("socket"))


@READERS
def test_a_folder_is_no_file(read, tmp_path):
    with pytest.raises(IsADirectoryError):
        read(tmp_path)


@pytest.mark.parametrize("read", [read_file, check_file])
def test_a_large_file_is_refused_before_it_is_read(read, tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(300_000_000_000)
    with pytest.raises(OSError, match="it has 300000000000 bytes; at most 1000000000 are read"):
        read(tmp_path / "sparse")


def test_a_file_that_tells_no_size_is_bounded_too():
    """Linux gives the files in /proc zero bytes."""
    path = Path("/proc/self/status")
    if not path.exists():
        pytest.skip("no /proc on this machine")
    with pytest.raises(OSError, match="at most 100 are read"):
        read_file(path, 100)


def test_a_file_of_exactly_the_limit_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"four")
    assert read_file(tmp_path / "file", 4) == b"four"
    with pytest.raises(OSError, match="it has 4 bytes; at most 3 are read"):
        read_file(tmp_path / "file", 3)
