"""What a job has made, and of what: a rerun skips it only while both are as they were.

A file that is there is whole, since it appears under its final name only then. But of what input, and with which
options? Neither a name nor a date tells, so a line is kept beside, in a hidden folder that may be deleted at any time:
what was made from the same is then made again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rvm_model import __version__

FOLDER = ".rvm-export-made"


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


def is_made(files: Sequence[Path], made_from: str) -> bool:
    """Whether all files, or folders, are there, in the size that they were made in, and made from this."""
    try:
        return bool(json.loads(_record(files).read_text()) == _state(files, made_from))
    except (OSError, ValueError):
        return False


def remember(files: Sequence[Path], made_from: str) -> None:
    """Keep what the files were made from. They are there, and whole."""
    record = _record(files)
    record.parent.mkdir(exist_ok=True)
    staged = record.with_suffix(".partial")
    staged.write_text(json.dumps(_state(files, made_from)))
    staged.replace(record)


def forget(files: Sequence[Path]) -> None:
    """Before they are made again: half of them may soon be of another kind."""
    _record(files).unlink(missing_ok=True)


def _record(files: Sequence[Path]) -> Path:
    return files[0].parent / FOLDER / f"{files[0].name}.json"


def _state(files: Sequence[Path], made_from: str) -> list[object]:
    return [made_from, *(_sizes(path) for path in files)]


def _sizes(path: Path) -> int | list[int]:
    """Of a file, or of all in a folder."""
    if path.is_dir():
        return [each.stat().st_size for each in sorted(path.rglob("*")) if each.is_file()]
    return path.stat().st_size
