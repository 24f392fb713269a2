"""Where `verify` writes its reports for scripts and CI: a file that is whole or not there, or stdout."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import typer

from parity_tests.reports.junit import to_junit
from parity_tests.reports.markdown import to_markdown
from parity_tests.reports.parity_report import Refusal, refusal_to_json, to_json
from parity_tests.verify import ParityReport
from tools.shared.outputs import OutputError, publish

Results = Sequence[ParityReport | Refusal]
STDOUT = Path("-")


def to_json_text(results: Results) -> str:
    """A list of objects, one for each artifact."""
    objects = [refusal_to_json(each) if isinstance(each, Refusal) else to_json(each) for each in results]
    return json.dumps(objects, indent=2) + "\n"


RENDERINGS: dict[str, Callable[[Results], str]] = {
    "json": to_json_text,
    "junit": to_junit,
    "markdown": to_markdown,
}
"""By the name of the option that asks for it. Each gives a text that ends in a newline."""


def check_reports(reports: Mapping[str, Path], artifacts: Sequence[Path]) -> None:
    """Refuse, before anything is verified, what could not be written or would overwrite what is wanted.

    Args:
        reports: Option of `RENDERINGS` to file, or `-` for stdout.
        artifacts: The files that will be verified.

    Raises:
        OutputError: a folder, no regular file, no place to write to, or one place for two things.
    """
    said = [f"--{option} -" for option, path in reports.items() if path == STDOUT]
    if len(said) > 1:
        raise OutputError(f"{' and '.join(said)} cannot all have stdout; give all but one a file")
    files = {f"--{option}": path for option, path in reports.items() if path != STDOUT}
    try:
        taken = {path.resolve(): str(path) for path in artifacts}
        for option, path in files.items():
            _check_file(option, path)
            place = path.resolve()
            for over in (place, *place.parents):  # a model may be a folder
                if over in taken:
                    raise OutputError(f"{option} {path} would overwrite {taken[over]}; give another file")
            taken[place] = f"{option} {path}"
    except (OSError, RuntimeError) as error:  # a name too long, links in a circle
        raise OutputError(f"cannot write a report: {error}; give another file") from error


def write_reports(results: Results, reports: Mapping[str, Path]) -> None:
    """Raises OutputError or ExportFailed if a file cannot be written."""
    for option, path in reports.items():
        write_text(RENDERINGS[option](results), path)


def write_text(text: str, path: Path, desk: Path | None = None) -> None:
    """Into a file that appears only when whole, or on stdout for `-`; see `publish` for `desk`, and what it raises."""
    if path == STDOUT:
        typer.echo(text.encode(), nl=False)
    else:
        publish(path, partial(_write, text), check=lambda _: None, force=True, desk=desk)


def _check_file(option: str, path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"{option} {path} is a folder; give a file, or - for stdout")
    if path.exists() and not path.is_file():
        raise OutputError(f"{option} {path} is no regular file; give one, or - for stdout")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        tempfile.TemporaryDirectory(prefix=".rvm-export-", dir=nearest).cleanup()
    except OSError as error:
        raise OutputError(f"cannot write into {nearest}: {error.strerror}; give {option} another place") from error


def _write(text: str, path: Path) -> None:
    path.write_bytes(text.encode())
