"""Records of the files that jobs made, so that a rerun skips a job whose files and inputs are unchanged.

A file that exists is whole, since it gets its final name only then. But neither its name nor its date tells its input
and options. So a record is kept in a hidden folder beside it. The record may be deleted at any time: the job then runs
again.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rvm_model import __version__

FOLDER = ".rvm-export-made"


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a job: `sizes` in the order of the files; `said` is the text that the job returned."""

    made_from: str
    sizes: list[Any]
    said: str | None


def fingerprint(inputs: Sequence[Path], options: Mapping[str, object]) -> str:
    """Return a hash of what files are made from: the content of input files and folders, the options, our version.

    Raises:
        OSError: an input cannot be read.
    """
    digest = hashlib.sha256(json.dumps([__version__, options], sort_keys=True, default=str).encode())
    for path in inputs:
        for file in sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]:
            digest.update(b"\n%s " % os.fsencode(file.relative_to(path)))
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def made(files: Sequence[Path], made_from: str) -> Record | None:
    """Return the record if all files or folders exist in their recorded sizes and were made from this; else None."""
    return None if others(files, made_from, missing=True) else _read(files)


def others(files: Sequence[Path], made_from: str, missing: bool = False) -> list[Path]:
    """Return the existing files that were not made by such a job; with `missing`, also the files that do not exist."""
    record = _read(files)
    sizes = record.sizes if record is not None and record.made_from == made_from else []
    found = []
    for path, size in zip_longest(files, sizes[: len(files)]):
        if not path.exists():
            found += [path] * missing
        elif size != _sizes(path):
            found.append(path)
    return found


def remember(files: Sequence[Path], made_from: str, said: str | None) -> None:
    """Record what the files were made from. They must exist and be whole."""
    place = _place(files)
    place.parent.mkdir(exist_ok=True)
    staged = place.with_suffix(".partial")
    sizes = [_sizes(path) for path in files]
    staged.write_text(json.dumps({"made_from": made_from, "sizes": sizes, "said": said}))
    staged.replace(place)


def forget(files: Sequence[Path]) -> None:
    """Delete the record before the files are made again, since soon some of them may differ from it."""
    _place(files).unlink(missing_ok=True)


def _read(files: Sequence[Path]) -> Record | None:
    try:
        return Record(**json.loads(_place(files).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _place(files: Sequence[Path]) -> Path:
    return files[0].parent / FOLDER / f"{files[0].name}.json"


def _sizes(path: Path) -> int | list[int]:
    """Return the size of a file, or the sizes of all files in a folder."""
    if path.is_dir():
        return [each.stat().st_size for each in sorted(path.rglob("*")) if each.is_file()]
    return path.stat().st_size
