"""What a job has made, and of what: a rerun skips it only while both are as they were.

A file that is there is whole, since it appears under its final name only then. But of what input, and with which
options? Neither a name nor a date tells, so a record is kept beside, in a hidden folder. It may be deleted at any time:
what was made from the same is then made again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rvm_model import __version__

FOLDER = ".rvm-export-made"


@dataclass(frozen=True, kw_only=True)
class Record:
    """`sizes` in the order of the files; `said` is what the job said of them."""

    made_from: str
    sizes: list[Any]
    said: str | None


def fingerprint(inputs: Sequence[Path], options: Mapping[str, object]) -> str:
    """What files are made from: the content of the inputs, files or folders, the options, and our version.

    Raises:
        OSError: an input cannot be read.
    """
    digest = hashlib.sha256(json.dumps([__version__, options], sort_keys=True, default=str).encode())
    for path in inputs:
        for file in sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]:
            digest.update(f"\n{file.relative_to(path)} ".encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def made(files: Sequence[Path], made_from: str) -> Record | None:
    """The record, if all files, or folders, are there, in the size that they were made in, and made from this."""
    return None if others(files, made_from, missing=True) else _read(files)


def others(files: Sequence[Path], made_from: str, missing: bool = False) -> list[Path]:
    """Those that are there but were not made by such a job; with `missing` also those that are not there."""
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
    """Keep what the files were made from. They are there, and whole."""
    place = _place(files)
    place.parent.mkdir(exist_ok=True)
    staged = place.with_suffix(".partial")
    sizes = [_sizes(path) for path in files]
    staged.write_text(json.dumps({"made_from": made_from, "sizes": sizes, "said": said}))
    staged.replace(place)


def forget(files: Sequence[Path]) -> None:
    """Before they are made again: half of them may soon be of another kind."""
    _place(files).unlink(missing_ok=True)


def _read(files: Sequence[Path]) -> Record | None:
    try:
        return Record(**json.loads(_place(files).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _place(files: Sequence[Path]) -> Path:
    return files[0].parent / FOLDER / f"{files[0].name}.json"


def _sizes(path: Path) -> int | list[int]:
    """Of a file, or of all in a folder."""
    if path.is_dir():
        return [each.stat().st_size for each in sorted(path.rglob("*")) if each.is_file()]
    return path.stat().st_size
