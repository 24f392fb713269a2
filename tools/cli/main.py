"""Start `rvm-export`.

A command imports its code only when it runs, so that help needs no heavy import.

stdout carries only what a script needs: paths and JSON. Messages for people go to stderr. Exit codes: 0 is success, 1 a
failed export or parity, 2 wrong use or bad input, 130 Ctrl-C.
"""

import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Annotated, Any

import typer

from rvm_model import __version__
from rvm_model.errors import UserError
from rvm_model.printable import printable_lines
from tools.cli.advice import advised
from tools.cli.options import app
from tools.shared.console import say_error, say_warning
from tools.shared.outputs import ExportFailed
from tools.shared.stdout import flush_streams, open_closed_streams, print_result

# isort: off
from tools.cli import export, judge, matte, bench, release  # noqa: F401 - each adds its commands, in the order of the help

INTERRUPTED = 130  # as typer and shells do
TIDYING_SECONDS = 10
"""Time for an interrupted command to remove its half-written files, in which a second signal is ignored."""

FIRST_STEPS = """rvm-export exports Robust Video Matting, and proves that each file computes what PyTorch computes.
  rvm-export onnx                                               Export, prove it over a clip, and print the file's path.
  rvm-export info FILE                                          Show how to call that file.
  rvm-export matte clip.mp4 --model FILE --composition out.mp4  Matte a video with it.
  rvm-export --help                                             Show all commands."""

_NO_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc", "failed to map segment")
"""Words of PyTorch, CUDA, C++ and the dynamic linker in errors that are no MemoryError."""


@dataclass
class Settings:
    """The options before the command's name."""

    debug: bool = False


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Show the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an internal error.")] = False,
) -> None:
    context.obj.debug = debug
    if version:
        print_result(f"rvm-export {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(FIRST_STEPS, err=True)
        raise typer.Exit(2)


def main() -> None:
    """Run the command. Turn every error into one line and an exit code."""
    open_closed_streams()
    # Treat a closed terminal (SIGHUP) and a shutdown (SIGTERM) like Ctrl-C: nothing is left half-written. A signal that
    # was ignored at the start stays ignored, as `nohup` does with SIGHUP.
    interrupt = _interrupt_once()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
    warnings.showwarning = _show_warning
    settings = Settings()
    try:
        code = app(prog_name="rvm-export", standalone_mode=False, obj=settings) or 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code = _say(error, settings.debug)
    if code == INTERRUPTED:
        say_error("interrupted; nothing was left half-written", code)
    if not flush_streams():
        code = code or 1
    sys.exit(code)


def _interrupt_once() -> Callable[[int, FrameType | None], None]:
    """Return a signal handler that raises KeyboardInterrupt, but no second one while the first is tidied up after."""
    last = -float("inf")

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal last
        if time.monotonic() - last > TIDYING_SECONDS:
            last = time.monotonic()
            raise KeyboardInterrupt

    return interrupt


def _say(error: Exception, debug: bool) -> int:
    """Print an error as one line, and return the exit code."""
    match error:
        case typer.TyperException():
            return say_error(advised(error), 2)
        case UserError():
            return say_error(str(error), 2)
        case ExportFailed():
            return say_error(str(error), 1)
        case OSError():  # stdout is closed, or a file has disappeared
            return say_error(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    if isinstance(error, MemoryError) or any(each in str(error) for each in _NO_MEMORY):
        return say_error("memory ran out; give a smaller size, or run it where more memory is free", 1)
    if isinstance(error, typer.Abort) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # typer takes any EOFError for the end of a prompt
    if debug:
        typer.echo(printable_lines("".join(traceback.format_exception(error))), err=True, nl=False)
        advice = "report it with the traceback above"
    else:
        advice = "run again with --debug for the traceback: rvm-export --debug ..."
    return say_error(f"{type(error).__name__}: {error}; {advice}", 1, kind="internal error")


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say_warning(str(message))
