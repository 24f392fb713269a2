"""A file appears under its final name only when it is whole and proved: written beside, checked, renamed."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from rvm_model.errors import UserError


class OutputError(UserError):
    """A place that is not there to be written to."""


class ExportFailed(Exception):
    """Nothing was wrong with what was asked for, but it did not come about. The message is one line for the user."""


def resolve_output(output: Path, file_name: str, seeded: bool, force: bool) -> Path:
    """Where a file goes: `output` itself if it ends in the file name's suffix, else the folder `output`.

    Raises:
        OutputError: `output` is a folder with a file's suffix, the file is there already and `force` is off, or its
            name would not tell that its weights are seeded.
    """
    suffix = Path(file_name).suffix
    path = output if output.suffix == suffix else output / file_name
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give a file that ends in {suffix}, or the folder to put {file_name} in")
    if seeded and "seeded" not in path.name:
        raise OutputError(
            f"{path} would hold seeded weights, which its name must tell; call it {path.stem}_seeded{suffix}"
        )
    if path.exists() and not force:
        raise OutputError(f"{path} exists; use --force to replace it, or --output to write elsewhere")
    return path


def publish(path: Path, write: Callable[[Path], None], check: Callable[[Path], None]) -> None:
    """Write a file, check it, and only then give it its name. What fails on the way leaves nothing behind.

    Args:
        path: The final name; an existing file is replaced.
        write: Writes the file to the path it is given, which has the same name in a folder beside.
        check: Raises if the file is not good.

    Raises:
        OutputError: the folder cannot be made or written to.
        ExportFailed: the disk is full, or fails.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = tempfile.TemporaryDirectory(prefix=".rvm-export-", dir=path.parent)
    except FileExistsError as error:
        raise OutputError(f"{error.filename} is a file, not a folder; give another --output") from error
    except OSError as error:
        raise OutputError(f"cannot write into {path.parent}: {error.strerror}; give another --output") from error
    with staging as folder:
        staged = Path(folder) / path.name
        try:
            write(staged)
            check(staged)
            staged.replace(path)
        except OSError as error:
            raise ExportFailed(f"cannot write {path}: {error.strerror or error}") from error
