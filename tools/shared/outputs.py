"""Write files so that they appear under their final name only when whole and proved.

A file is written in a folder beside, checked, and renamed. Reports for scripts and CI are written likewise, or go to
stdout.
"""

import os
import re
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from rvm_model.errors import UserError
from rvm_model.publishing import move_new, move_over
from tools.shared.stdout import write_stdout

Results = TypeVar("Results")
STDOUT = Path("-")
_TO_TIDY_UP = 8
"""File descriptors to keep for removing a folder: one for each level of the deepest model, and some."""


class OutputError(UserError):
    """An output path that cannot be written to."""


class ExportFailed(Exception):
    """A valid command that failed. The message is one line for the user."""


def resolve_output(output: Path, file_name: str, suffix: str, folder: bool, seeded: bool, force: bool) -> Path:
    """Return a model's path: `output` itself if it ends in the file name's suffix, else a path in the folder `output`.

    A model whose name has no suffix always goes into the folder `output`. See `refuse_file_name` for the names that
    are folders.

    Args:
        output: The user's path.
        file_name: The model's default name.
        suffix: The end of `file_name`.
        folder: Whether the model is a folder itself.
        seeded: Whether its weights are seeded.
        force: Replace an existing file or folder.

    Raises:
        OutputError: `output` is the name of a file of another kind, or is a folder with a file's suffix or the reverse,
            lies in a file or in a folder that cannot be written to, the model exists and `force` is off, or its name
            does not tell that its weights are seeded.
    """
    refuse_file_name(output, suffix)
    path = output if suffix and output.name.endswith(suffix) else output / file_name
    refuse_place(path)
    if not folder and path.is_dir():
        raise OutputError(f"{path} is a folder; give a file that ends in {suffix}, or the folder to put {file_name} in")
    if folder and path.is_file():
        raise OutputError(f"{path} is a file; remove it, or give another --output, to write the folder {file_name}")
    if seeded and "seeded" not in path.name:
        name = path.name.removesuffix(suffix)
        raise OutputError(f"{path} would hold seeded weights, which its name must tell; call it {name}_seeded{suffix}")
    refuse_existing(path, force)
    return path


def refuse_file_name(output: Path, suffix: str) -> None:
    """Refuse an output that is neither a file with this suffix nor a folder.

    A name whose suffix begins with a letter is a file's name: `model.pb` would become a folder by mistake. `v1.0`,
    `dist-1.2.3` and the name of an existing folder are folders' names.

    Args:
        output: The user's path.
        suffix: The end of the model's name; empty if it has no suffix, and `output` must be a folder.

    Raises:
        OutputError: `output` is the name of another kind of file.
    """
    try:
        if (suffix and output.name.endswith(suffix)) or not re.match(r"\.[A-Za-z]", output.suffix) or output.is_dir():
            return
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror}; give another --output") from error
    fault, name = (f"does not end in {suffix}", "a name that does") if suffix else ("is a file's name", "a folder")
    raise OutputError(f"{output} {fault}; give {name}, or make that folder first if it is to be one")


def refuse_place(path: Path) -> None:
    """Raise OutputError if a file or folder cannot be written there, as far as this shows without writing."""
    try:
        path.exists()  # raises for a name that is too long
        place = next(parent for parent in path.absolute().parents if parent.exists())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; give another --output") from error
    if not place.is_dir():
        raise OutputError(f"{place} is a file, not a folder; give another --output")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {place}: Permission denied; give another --output")


def refuse_existing(path: Path, force: bool) -> None:
    """Raise OutputError if the file exists and `force` is off."""
    if os.path.lexists(path) and not force:
        raise OutputError(f"{path} exists; use --force to replace it, or write elsewhere")


def publish(
    path: Path, write: Callable[[Path], None], check: Callable[[Path], None], force: bool, desk: Path | None = None
) -> None:
    """Write a file, check it, and only then give it its name. A failure leaves no file behind.

    Args:
        path: The final name.
        write: Writes the file to its argument, a path of the same name in a folder beside.
        check: Raises if the file is not good.
        force: Replace a file that exists, even one that was written in the meantime.
        desk: An existing folder on the same disk to write in; None for the file's own folder.

    Raises:
        OutputError: the folder cannot be made or written to, or the name was taken meanwhile and `force` is off.
        ExportFailed: the disk is full, or fails.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = ExitStack()
        folder = staging.enter_context(hidden_folder(desk or path.parent))
    except FileExistsError as error:
        raise OutputError(f"{error.filename} is a file, not a folder; give another --output") from error
    except OSError as error:
        raise OutputError(f"cannot write into {path.parent}: {error.strerror}; give another --output") from error
    with staging:
        staged = folder / path.name
        try:
            write(staged)
            check(staged)
            if force:
                move_over(staged, path, aside=folder / "old")
            else:
                move_new(staged, path)
        except FileExistsError:
            refuse_existing(path, force)
            raise
        except OSError as error:
            raise ExportFailed(f"cannot write {path}: {error.strerror or error}") from error
        except Exception as error:
            traceback.clear_frames(
                error.__traceback__
            )  # where memory is short, their arrays leave none to clean up with
            raise


@contextmanager
def hidden_folder(place: Path) -> Iterator[Path]:
    """Yield a new folder `.rvm-export-*` in `place`, and remove it, even where all file descriptors are taken.

    The descriptors that removing takes are reserved before the folder is made. Raises OSError if that fails.
    """
    with ExitStack() as reserved:
        for _ in range(_TO_TIDY_UP):
            reserved.enter_context(Path(os.devnull).open("rb"))
        with tempfile.TemporaryDirectory(prefix=".rvm-export-", dir=place) as folder:
            try:
                yield Path(folder)
            finally:
                reserved.close()


def check_reports(reports: Mapping[str, Path], artifacts: Sequence[Path]) -> None:
    """Refuse reports that cannot be written or would overwrite a wanted file, before anything is verified.

    Args:
        reports: Option to file, or `-` for stdout.
        artifacts: The files that will be verified.

    Raises:
        OutputError: a report's path is a folder or no regular file, cannot be written, or is used twice.
    """
    said = [f"--{option} -" for option, path in reports.items() if path == STDOUT]
    if len(said) > 1:
        raise OutputError(f"{' and '.join(said)} cannot all have stdout; give all but one a file")
    files = {f"--{option}": path for option, path in reports.items() if path != STDOUT}
    try:
        taken = {path.resolve(): str(path) for path in artifacts if path.exists()}
        for option, path in files.items():
            _check_file(option, path)
            place = path.resolve()
            for over in (place, *place.parents):  # a model may be a folder
                if over in taken:
                    raise OutputError(f"{option} {path} would overwrite {taken[over]}; give another file")
            taken[place] = f"{option} {path}"
    except (OSError, RuntimeError) as error:  # a name that is too long, or a loop of links
        raise OutputError(f"cannot write a report: {error}; give another file") from error


def write_reports(
    renderings: Mapping[str, Callable[[Results], str]], results: Results, reports: Mapping[str, Path]
) -> None:
    """Write each report that was asked for.

    Args:
        renderings: By option, the function that returns the report's text, which ends in a newline.
        results: The functions' argument.
        reports: Option of `renderings` to file, or `-` for stdout.

    Raises:
        OutputError, ExportFailed: a file cannot be written.
    """
    for option, path in reports.items():
        write_text(renderings[option](results), path)


def write_text(text: str, path: Path, desk: Path | None = None) -> None:
    """Write a text to stdout for `-`, else to a file that appears only when whole.

    See `publish` for `desk` and the errors.
    """
    if path == STDOUT:
        write_stdout(text)
    else:
        publish(path, partial(_write, text), check=lambda _: None, force=True, desk=desk)


def bytes_of(path: Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    paths = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in paths if each.is_file())


def _check_file(option: str, path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"{option} {path} is a folder; give a file, or - for stdout")
    if path.exists() and not path.is_file():
        raise OutputError(f"{option} {path} is no regular file; give one, or - for stdout")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with hidden_folder(nearest):
            pass
    except OSError as error:
        raise OutputError(f"cannot write into {nearest}: {error.strerror}; give {option} another place") from error


def _write(text: str, path: Path) -> None:
    path.write_bytes(text.encode(errors="surrogateescape"))
