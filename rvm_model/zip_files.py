"""Open zip files of others: models, and `.pth` and `.torchscript` files. None of their claims is trusted."""

import errno
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rvm_model.files import MOST_BYTES, check_file, open_file

MOST_ENTRIES = 1000
MOST_RATIO = 10
"""The limit of unpacked over packed size, all entries together. Graphs shrink to a 24th, but weights hardly do.

A reader takes four times what 20 MB unpack to, so a larger ratio would let them take gigabytes.
"""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The methods that `zipfile` reads in pieces. For bzip2 and lzma it unpacks a whole piece, whatever size is claimed."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)
"""The errors that `zipfile` raises for flipped bits, which also look like an unknown method or encryption."""

_ENCRYPTED = 0x1
"""The flag of an entry whose content needs a password."""

_ENTRY = b"PK\x01\x02"
_PIECE = 2**20


class ZipError(Exception):
    """A zip file that is damaged or unsafe. The message continues a sentence that begins with the file's name."""


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file that unpacks to at most `MOST_BYTES`.

    Raises:
        ZipError: it is damaged, also if the caller finds out; an entry is encrypted, or packed by another method than
            usual; or it unpacks to more than any model has.
        OSError: it cannot be read, is no regular file, is too large, or lists too many entries.
    """
    check_file(path)
    try:
        with open_file(path) as file:
            _refuse_many_entries(path, file)
            with zipfile.ZipFile(file) as archive:
                _refuse_unreadable(archive)
                _refuse_bomb(archive, path.stat().st_size)
                yield archive
    except _DAMAGE as error:
        raise ZipError(f"is damaged: {error}") from error


def names_in_zip(path: Path) -> list[str]:
    """Return the names of a zip file's entries; none if it is no zip file, or damaged. Raises OSError as `open_zip`."""
    with open_file(path) as file:
        try:
            if not zipfile.is_zipfile(file):
                return []
            _refuse_many_entries(path, file)
            with zipfile.ZipFile(file) as archive:
                return archive.namelist()
        except _DAMAGE:
            return []


def find_damage(path: Path) -> str | None:
    """Return a fault of a file that PyTorch wrote, as words to follow its name, or None.

    Torch itself reads flipped bits without an error, and unpacks a bomb.
    """
    try:
        with open_file(path) as file:
            if not zipfile.is_zipfile(file):
                return "is truncated, or not written by PyTorch in its present (zip) format"
        with open_zip(path) as archive:
            damaged = archive.testzip()
    except ZipError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return f"is damaged: the checksum of {damaged} is wrong" if damaged else None


def rewritten(archive: zipfile.ZipFile) -> io.BytesIO:
    """Return an archive of the same entries for a library, which might read another content from a file of two minds.

    Raises ZipError if the names of two entries differ in case at most, since PyTorch does not tell them apart.
    """
    names = archive.namelist()
    if len({name.lower() for name in names}) < len(names):
        raise ZipError("is refused: two of its entries have the same name")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for name in names:
            target.writestr(zipfile.ZipInfo(name), archive.read(name))
    out.seek(0)
    return out


def _refuse_many_entries(path: Path, file: BinaryIO) -> None:
    """Raise OSError for more than `MOST_ENTRIES`: `zipfile` alone would take minutes to list them.

    It counts the bytes with which each must begin, wherever they are, since what a file says about its list is a claim.
    """
    file.seek(0)
    count, before = 0, b""
    while piece := file.read(_PIECE):
        count += (before + piece).count(_ENTRY)
        before = piece[1 - len(_ENTRY) :]
        if count > MOST_ENTRIES:
            raise OSError(errno.EFBIG, f"it lists more than {MOST_ENTRIES} entries", str(path))


def _refuse_unreadable(archive: zipfile.ZipFile) -> None:
    """Raise ZipError for an entry that is encrypted, or packed by another method than usual."""
    for entry in archive.infolist():
        name = repr(entry.orig_filename[:100])
        if entry.flag_bits & _ENCRYPTED:
            raise ZipError(f"is refused: its entry {name} is encrypted, or damaged; pack it without a password")
        if entry.compress_type not in _METHODS:
            raise ZipError(
                f"is refused: its entry {name} is packed by method {entry.compress_type}; pack it stored or deflated, "
                "as zip tools do by default"
            )


def _refuse_bomb(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ZipError if the archive unpacks to too much for its own size, in bytes.

    The unpacked sizes are those that the entries claim, since `zipfile` never unpacks more.
    """
    entries = archive.infolist()
    unpacked_bytes = sum(each.file_size for each in entries)
    packed_bytes = min(sum(each.compress_size for each in entries), size)
    if unpacked_bytes > min(MOST_BYTES, MOST_RATIO * packed_bytes):
        raise ZipError(
            f"is refused: {len(entries)} entries of {packed_bytes} bytes would unpack to {unpacked_bytes}, which no "
            "model of this network does"
        )
