"""Read regular files of a bounded size. A pipe or a device may block, or never end.

All errors are OSErrors whose `strerror` completes the sentence "cannot read x: ...".
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

MOST_BYTES = 1_000_000_000
"""The limit of a model's or a checkpoint's bytes. The largest of this network have a tenth of it."""


@contextmanager
def open_file(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file to read its bytes, and close it afterwards.

    Raises OSError if there is none, if it cannot be read, or if it is a folder, a pipe, a socket or a device.
    """
    _refuse_irregular(path, path.stat())  # before it is opened, since opening a device can already act on it
    with open(path, "rb", opener=_without_waiting) as file:
        _refuse_irregular(path, os.fstat(file.fileno()))  # again, since another file may have got the name
        yield file


def read_file(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file.

    Raises OSError as `open_file` does, and if it has more than `most_bytes`. Then none of it was read.
    """
    with open_file(path) as file:
        _refuse_large(path, os.fstat(file.fileno()).st_size, most_bytes)
        content = file.read(most_bytes + 1)
    _refuse_large(path, len(content), most_bytes)  # it grew meanwhile, or the system tells no size
    return content


def check_file(path: Path, most_bytes: int = MOST_BYTES) -> None:
    """Raise OSError as `read_file` does, but read nothing: for a file that a library opens by its path."""
    status = path.stat()
    _refuse_irregular(path, status)
    _refuse_large(path, status.st_size, most_bytes)


def sha256_of(path: Path) -> str:
    """Return the hash of a regular file of any size, read in pieces. Raises OSError as `open_file` does."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def leads_out(path: Path, folder: Path) -> bool:
    """Return whether a file in a folder is a link to one outside of it."""
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _without_waiting(path: str, flags: int) -> int:
    """Open a path for `open`. Without O_NONBLOCK, opening a pipe waits until somebody writes into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _refuse_irregular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


def _refuse_large(path: Path, size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise OSError(errno.EFBIG, f"it has {size} bytes; at most {most_bytes} are read", str(path))
