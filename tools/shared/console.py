"""Messages on stderr: tables, progress, and errors in one line.

Foreign text in them is escaped here, see `rvm_model/printable.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from rvm_model.printable import one_line, printable

_LONGEST = 1800
"""Characters of a message: more than any of ours with one path in it has, and fewer than a file could bring along."""


class _Stderr(Console):
    """A console whose texts, also in the cells of tables, cannot act on the terminal."""

    def __init__(self) -> None:
        # A file name is no markup, whatever brackets and colons it holds.
        super().__init__(stderr=True, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


def stderr_console() -> Console:
    """Return a console for tables and progress. Pass it `str`, which it escapes, never `rich.text.Text`."""
    return _Stderr()


class Stage:
    """The current stage of a command. Its text may change while it runs."""

    def __init__(self, show: Callable[[str, str], None]) -> None:
        self._show = show

    def update(self, text: str, detail: str = "") -> None:
        """Show another text.

        Args:
            text: The stage, such as `playing the reference in float64`. A new one is a new line on a pipe.
            detail: The progress, such as `frame 3 of 24`. Only a terminal shows it.
        """
        self._show(one_line(text), one_line(detail))


@contextmanager
def working(console: Console, text: str) -> Iterator[Stage]:
    """Show a stage while the `with` block runs, and yield it.

    A terminal shows a spinner, the elapsed time and the text, and clears them at the end. A pipe or a log file gets
    one line as the stage begins. Stages are not nested: two spinners would draw over each other.
    """
    show = _print_lines()
    if not console.is_interactive:
        stage = Stage(show)
        stage.update(text)
        yield stage
        return
    # The text gets the remaining width, by ratio and expand: a long name loses its end, and the clock stays visible.
    width = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    columns = SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False, table_column=width)
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        task = progress.add_task(one_line(text), total=None)
        yield Stage(lambda text, detail: progress.update(task, description=", ".join(filter(None, (text, detail)))))


def _print_lines() -> Callable[[str, str], None]:
    """Return a function that prints a text unless it is the one it printed last."""
    last = ""

    def show(text: str, detail: str) -> None:  # noqa: ARG001 - a log does not need every frame
        nonlocal last
        if text != last:
            typer.echo(f"rvm-export: {text}", err=True)
        last = text

    return show


def say_error(message: str, code: int, kind: str = "error") -> int:
    """Print an error as one line, whatever the message, and return the exit code."""
    with suppress(OSError):  # stderr is full or closed, and the exit code is all that is left
        typer.secho(f"rvm-export: {kind}: {_cut(message)}", err=True, fg="red")
    return code


def say_warning(message: str) -> None:
    """Print a warning as one line."""
    typer.secho(f"rvm-export: WARNING: {_cut(message)}", err=True, fg="yellow", bold=True)


def _cut(message: str) -> str:
    """Return a message as one line. Cut a long one, such as one that quotes a file's text."""
    line = one_line(message)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
