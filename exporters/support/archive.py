"""Pack and open models that are folders, or a folder in a zip file.

The same folder packs to the same bytes. Opening does not trust the sizes and names that the zip file claims.
"""

import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from exporters.artifact import ArtifactError

MOST_BYTES = 1_000_000_000
"""The limit of all entries together, unpacked. The largest model of this network has a tenth of it."""

MOST_ENTRIES = 1000
MOST_RATIO = 50
"""The limit of unpacked over packed size, all entries together: weights hardly shrink, and a graph's JSON to a 24th."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)
"""The errors that `zipfile` raises for flipped bits, which also look like an unknown method or encryption."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The methods that `zipfile` reads in pieces. For bzip2 and lzma it unpacks a whole piece, whatever size is claimed."""

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the earliest date of the format; a real date would change the bytes


def pack(folder: Path, path: Path, root: str) -> None:
    """Write a folder's files into a zip file, sorted by name, under a top folder `root`."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(f"{root}/{file.relative_to(folder).as_posix()}", _EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, file.read_bytes(), compresslevel=9)


def holds(path: Path, marker: str) -> bool:
    """Return True if a file named `marker` is in a folder, or in a zip file's root or only top folder. Never fails."""
    if path.is_dir():
        return (path / marker).is_file()
    try:
        with zipfile.ZipFile(path) as archive:
            return _root(archive.namelist(), marker) is not None
    except _DAMAGE:
        return False


@contextmanager
def unpacked(path: Path, marker: str) -> Iterator[Path]:
    """Yield the folder that holds `marker`: `path` itself, or a temporary one that is deleted afterwards.

    Args:
        path: A folder, or a zip file.
        marker: The name of the file that identifies such a model.

    Raises:
        ArtifactError: a zip file that is damaged, that has entries outside itself, or that unpacks to more than any
            model has. Nothing has been written then.
    """
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="rvm-export-") as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                _refuse_unsafe(path, archive.infolist())
                root = _root(archive.namelist(), marker)
                if root is None:
                    raise ArtifactError(f"{path} holds no {marker}, neither at its root nor in its only top folder")
                archive.extractall(folder)
        except _DAMAGE as error:
            raise ArtifactError(f"{path} is damaged: {error}") from error
        except OSError as error:
            raise ArtifactError(f"cannot unpack {path}: {error.strerror or error}") from error
        yield Path(folder) / root


def _root(names: list[str], marker: str) -> str | None:
    """Return the folder in a zip file that holds `marker`, or `.` for its root."""
    if marker in names:
        return "."
    tops = {name.partition("/")[0] for name in names}
    top = tops.pop() if len(tops) == 1 else None
    return top if f"{top}/{marker}" in names else None


def _refuse_unsafe(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Raise ArtifactError for an unsafe entry, or if the archive unpacks to too much for its own size.

    The unpacked sizes are those that the entries claim, since `zipfile` never unpacks more.
    """
    for entry in entries:
        name = entry.orig_filename
        if entry.compress_type not in _METHODS:
            raise ArtifactError(
                f"{path} is refused: its entry {name[:100]!r} is packed by method {entry.compress_type}; pack it "
                "stored or deflated, as zip tools do by default"
            )
        parts = PurePosixPath(name).parts
        if ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name or ":" in name or "\0" in name:
            raise ArtifactError(f"{path} is refused: its entry {name[:100]!r} lies outside the archive")
    unpacked_bytes = sum(each.file_size for each in entries)
    packed_bytes = min(sum(each.compress_size for each in entries), path.stat().st_size)
    if len(entries) > MOST_ENTRIES or unpacked_bytes > min(MOST_BYTES, MOST_RATIO * packed_bytes):
        raise ArtifactError(
            f"{path} is refused: {len(entries)} entries of {packed_bytes} bytes would unpack to {unpacked_bytes}, "
            "which no model of this network does"
        )
