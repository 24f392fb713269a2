"""Zip files that hold a folder: written so that the same folder gives the same bytes, and opened without trust."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from exporters.spec import ArtifactError

LARGEST = 2**30
"""Bytes that a model's files may have together, unpacked: four times ResNet50 in float32."""

LARGEST_RATIO = 100
"""How many times its size a file may grow when unpacked; weights hardly shrink, and a graph's text by ten."""

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # that the format can tell; a real one would be another every time


def pack(folder: Path, path: Path, root: str) -> None:
    """Write a folder's files into a zip file, in the order of their names, under the folder `root`."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(f"{root}/{file.relative_to(folder).as_posix()}", _EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, file.read_bytes(), compresslevel=9)


@contextmanager
def unpacked(path: Path, file_name: str) -> Iterator[Path]:
    """The folder that holds the file of that name: `path` itself, or what a zip file unpacks to for the while.

    Raises:
        ArtifactError: a damaged zip file, one with entries that point outside or are no files, or one that would grow
            beyond `LARGEST` or `LARGEST_RATIO`.
    """
    if path.is_dir():
        yield path
        return
    with TemporaryDirectory(prefix="rvm-export-") as desk:
        try:
            with zipfile.ZipFile(path) as archive:
                _refuse_unsafe(path, archive)
                archive.extractall(desk)
        # An unknown compression method or an encrypted entry, which flipped bits put there, are RuntimeErrors.
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            raise ArtifactError(f"{path} is damaged: {error}") from error
        found = next(iter(sorted(Path(desk).rglob(file_name))), None)
        if found is None:
            raise ArtifactError(f"{path} has no {file_name} in it")
        yield found.parent


def _refuse_unsafe(path: Path, archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or stat.S_ISLNK(entry.external_attr >> 16):
            raise ArtifactError(f"{path} has an entry that points outside of it, {entry.filename!r}; it is not opened")
        if entry.file_size > LARGEST_RATIO * max(entry.compress_size, 1000):
            raise ArtifactError(f"{path} has an entry that grows {LARGEST_RATIO} times, {entry.filename!r}")
    size = sum(entry.file_size for entry in entries)
    if size > LARGEST:
        raise ArtifactError(f"{path} would unpack to {size / 1e9:.1f} GB; a model has at most {LARGEST / 1e9:.1f}")
