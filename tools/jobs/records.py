"""Records of the files that jobs made, so that a rerun skips a job whose files and inputs are unchanged.

A file that exists is whole, since it gets its final name only then. But neither its name nor its date tells its input
and options. So a record is kept in a hidden folder beside it. It has the hashes of the files' contents, and is sealed
with a key of this user (`seals.py`). It may be deleted at any time: the job then runs again.
"""

import errno
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

from rvm_model import __version__
from rvm_model.files import read_file, sha256_of
from tools.jobs.seals import seal_key, sealed, unsealed

FOLDER = ".rvm-export-made"
_MOST_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a job: `contents` are the files' hashes, in order; `said` is the text that the job returned."""

    made_from: str
    contents: list[str]
    said: str | None


def fingerprint(inputs: Sequence[Path], options: Mapping[str, object]) -> str:
    """Return a hash of what files are made from: the content of input files and folders, the options, our version.

    Raises:
        OSError: an input cannot be read.
    """
    digest = hashlib.sha256(json.dumps([__version__, options], sort_keys=True, default=str).encode())
    for path in inputs:
        digest.update(f"\n{_content(path)}".encode())
    return digest.hexdigest()


def made(files: Sequence[Path], made_from: str) -> Record | None:
    """Return the record if all files or folders have their recorded content and were made from this; else None."""
    return None if others(files, made_from, missing=True) else _read(files, made_from)


def others(files: Sequence[Path], made_from: str, missing: bool = False) -> list[Path]:
    """Return the existing files that were not made by such a job; with `missing`, also the files that do not exist."""
    record = _read(files, made_from)
    contents = record.contents if record is not None and record.made_from == made_from else []
    found = []
    for path, content in zip_longest(files, contents[: len(files)]):
        if not path.exists():
            found += [path] * missing
        elif content is None or not (path.is_file() or path.is_dir()) or content != _content(path):
            found.append(path)
    return found


def remember(files: Sequence[Path], made_from: str, said: str | None, key: bytes) -> None:
    """Record what the files were made from. They must exist and be whole. `key` is `seal_key(made_from)`.

    Raises OSError if the record cannot be written.
    """
    place = _place(files)
    place.parent.mkdir(exist_ok=True)
    staged = place.with_suffix(".partial")
    record = Record(made_from=made_from, contents=[_content(path) for path in files], said=said)
    staged.unlink(missing_ok=True)  # it may be a link, which writing would follow
    with staged.open("x") as file:
        file.write(sealed(json.dumps(asdict(record)), key))
    staged.replace(place)


def forget(files: Sequence[Path]) -> None:
    """Delete the record before the files are made again, since soon some of them may differ from it."""
    with suppress(OSError):  # what is left describes other files
        _place(files).unlink()


def _read(files: Sequence[Path], made_from: str) -> Record | None:
    try:
        place = _place(files)
        if place.is_symlink():
            return None
        return Record(**json.loads(unsealed(read_file(place, _MOST_BYTES), seal_key(made_from))))
    except (OSError, ValueError, TypeError):
        return None


def _place(files: Sequence[Path]) -> Path:
    """Return where the record is. Raises OSError if its folder is a link, which may lead anywhere."""
    folder = files[0].parent / FOLDER
    if folder.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))
    return folder / f"{files[0].name}.json"


def _content(path: Path) -> str:
    """Return a hash of a file's content, or of the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]:
        digest.update(b"\n%s " % os.fsencode(file.relative_to(path)))
        digest.update(bytes.fromhex(sha256_of(file)))
    return digest.hexdigest()
