"""Pack and open models that are folders, or a folder in a zip file, and write archives as PyTorch does.

The same content packs to the same bytes. Opening trusts nothing in a folder or zip file: no name, no size, no link.
"""

import io
import os
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from exporters.artifact import ArtifactError
from rvm_model.files import MOST_BYTES, read_file
from rvm_model.zip_files import MOST_ENTRIES, ZipError, names_in_zip, open_zip

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the earliest date of the format; a real date would change the bytes
_ALIGNMENT = 64  # PyTorch maps tensors from the file into memory, and aligns them to this.


def torch_archive(records: Mapping[str, bytes]) -> bytes:
    """Return a zip file as PyTorch writes it: its records stored and aligned. They are sorted, and have no dates."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in sorted(records.items()):
            record = zipfile.ZipInfo(name)
            # A zip entry's content starts after 30 bytes, its name and its extra field, which holds the filler here.
            filler = -(out.tell() + 30 + len(name) + 4) % _ALIGNMENT
            record.extra = b"FB" + filler.to_bytes(2, "little") + b"Z" * filler
            archive.writestr(record, content)
    return out.getvalue()


def pack(folder: Path, path: Path, root: str) -> None:
    """Write a folder's files into a zip file, sorted by name, under a top folder `root`."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(f"{root}/{file.relative_to(folder).as_posix()}", _EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, file.read_bytes(), compresslevel=9)


def holds(path: Path, marker: str) -> bool:
    """Return True if a file named `marker` is in a folder, or in a zip file's root or only top folder.

    Raises OSError for a file that cannot be read, or a zip file with too many entries.
    """
    if path.is_dir():
        return (path / marker).is_file()
    return _root(names_in_zip(path), marker) is not None


@contextmanager
def unpacked(path: Path, marker: str) -> Iterator[Path]:
    """Yield the folder that holds `marker`: `path` itself, or a temporary one that is deleted afterwards.

    Everything in it is a folder or a regular file, and all of it has at most `MOST_BYTES`.

    Args:
        path: A folder, or a zip file.
        marker: The name of the file that identifies such a model.

    Raises:
        ArtifactError: a zip file that is damaged, that has entries outside itself, or that unpacks to more than any
            model has: nothing has been written then. Or a folder with a link that leads out of it, a pipe or a device,
            or with more than any model has.
    """
    if path.is_dir():
        _check_folder(path)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="rvm-export-") as folder:
        try:
            with open_zip(path) as archive:
                names = archive.namelist()
                _refuse_outside(path, [each.orig_filename for each in archive.infolist()])
                root = _root(names, marker)
                if root is None:
                    raise ArtifactError(f"{path} holds no {marker}, neither at its root nor in its only top folder")
                archive.extractall(folder)
        except ZipError as error:
            raise ArtifactError(f"{path} {error}") from error
        except OSError as error:
            raise ArtifactError(f"cannot unpack {path}: {error.strerror or error}") from error
        yield Path(folder) / root


def member(folder: Path, place: str, path: Path) -> Path:
    """Return the real path of a file or folder that a model's own file names.

    Args:
        folder: The folder that `unpacked` yields.
        place: The name in the model, relative to the folder.
        path: The user's path, for messages.

    Raises ArtifactError if it is outside, or does not exist.
    """
    pure = PurePosixPath(place)
    outside = ArtifactError(f"{path} is refused: it points outside itself, to {place[:200]!r}")
    if ".." in pure.parts or pure.is_absolute() or any(odd in place for odd in ("//", "\\", "\0")):
        raise outside
    try:
        found = (folder / pure).resolve()
        if not found.is_relative_to(folder.resolve()):
            raise outside
        if not found.exists():
            raise ArtifactError(f"{path} lacks {place[:200]!r}, which it names")
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, or a cycle of links
        raise ArtifactError(f"{path} names {place[:200]!r}, which cannot be opened") from error
    return found


def read_member(folder: Path, place: str, path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the content of a file that a model's own file names. The arguments are those of `member`.

    Raises ArtifactError as `member`, and for anything but a regular file of at most `most_bytes`.
    """
    try:
        return read_file(member(folder, place, path), most_bytes)
    except OSError as error:
        raise ArtifactError(f"{path} is refused: {place[:200]!r} cannot be read: {error.strerror}") from error


def _check_folder(path: Path) -> None:
    """Raise ArtifactError unless a folder consists of regular files and folders, none of them elsewhere."""
    real, count, total = path.resolve(), 0, 0
    try:
        for parent, folders, files in os.walk(path, onerror=_raise):
            for name in (*folders, *files):
                place = Path(parent, name)
                shown = place.relative_to(path).as_posix()[:200]
                if place.is_symlink() and not place.resolve().is_relative_to(real):
                    raise ArtifactError(f"{path} is refused: it points outside itself, to {shown!r}")
                status = place.stat()
                if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                    raise ArtifactError(f"{path} is refused: {shown!r} is no regular file")
                count += 1
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
                if count > MOST_ENTRIES or total > MOST_BYTES:
                    raise ArtifactError(
                        f"{path} is refused: with {shown!r} it holds {count} files of {total} bytes, which no model of "
                        "this network does; give a folder with the model alone"
                    )
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        raise ArtifactError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _raise(error: OSError) -> None:
    raise error


def _root(names: list[str], marker: str) -> str | None:
    """Return the folder in a zip file that holds `marker`, or `.` for its root."""
    if marker in names:
        return "."
    tops = {name.partition("/")[0] for name in names}
    top = tops.pop() if len(tops) == 1 else None
    return top if f"{top}/{marker}" in names else None


def _refuse_outside(path: Path, names: list[str]) -> None:
    """Raise ArtifactError for an entry of a zip file whose name leads out of it."""
    for name in names:
        parts = PurePosixPath(name).parts
        if ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name or ":" in name or "\0" in name:
            raise ArtifactError(f"{path} is refused: its entry {name[:100]!r} lies outside the archive")
