"""Start `rvm-export`.

A command imports its code only when it runs, so that help needs no heavy import.

stdout carries only what a script needs: paths and JSON. Messages for people go to stderr. Exit codes: 0 is success, 1 a
failed export or parity, 2 wrong use or bad input, 130 Ctrl-C.
"""

import signal
import sys
import warnings
from typing import Annotated, Any

import typer

from rvm_model import __version__
from rvm_model.errors import UserError
from tools.cli.options import app
from tools.shared.console import say_error
from tools.shared.outputs import ExportFailed

# isort: off
from tools.cli import export, judge, matte, bench, release  # noqa: F401 - each adds its commands, in the order of the help

INTERRUPTED = 130  # as typer and shells do


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"rvm-export {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


def main() -> None:
    """Run the command. Turn every expected error into one line and an exit code."""
    # Treat a closed terminal (SIGHUP) and a shutdown (SIGTERM) like Ctrl-C: nothing is left half-written. A signal that
    # was ignored at the start stays ignored, as `nohup` does with SIGHUP.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    warnings.showwarning = _show_warning
    try:
        code = app(standalone_mode=False) or 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (UserError, typer.TyperException) as error:
        code = say_error(error.format_message() if isinstance(error, typer.TyperException) else str(error), 2)
    except ExportFailed as error:
        code = say_error(str(error), 1)
    except OSError as error:  # stdout is closed, or a file has disappeared
        code = say_error(f"{error.strerror}{f': {error.filename}' if error.filename else ''}", 1)
    if code == INTERRUPTED:
        say_error("interrupted; nothing was left half-written", code)
    sys.exit(code)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.secho(f"rvm-export: WARNING: {message}", err=True, fg="yellow", bold=True)
