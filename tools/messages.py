"""How the command speaks to people: on stderr, an error in one line, names as they are."""

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text


def stderr_console() -> Console:
    """For tables and progress. Names of files are not markup, whatever brackets they hold."""
    return Console(stderr=True, markup=False, highlight=False)


def working(console: Console, what: str) -> Status:
    """A spinner on a terminal, nothing elsewhere."""
    return console.status(Text(what))


def say_error(message: str, code: int) -> int:
    """Say what went wrong, in one line whatever the message, and give the exit code back."""
    line = " ".join(message.split())
    typer.secho(f"rvm-export: error: {line}", err=True, fg="red")
    return code
