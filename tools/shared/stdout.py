"""stdout, which carries only what a script needs: paths, JSON and other reports.

A pipe or a file gets the exact text. A terminal, on which foreign text could act, gets it escaped.
"""

import os
import sys
from pathlib import Path

from rvm_model.printable import printable, printable_lines


def print_result(result: str | Path) -> None:
    """Print a path or another result as one line. Raises as `write_stdout`."""
    write_stdout(f"{printable(str(result)) if sys.stdout.isatty() else result}\n")


def write_stdout(text: str) -> None:
    """Write a text to stdout at once.

    Raises:
        OSError: stdout is closed, its disk is full, or its reader has ended. Its `filename` is `stdout`.
    """
    text = printable_lines(text) if sys.stdout.isatty() else text
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode(errors="surrogateescape"))
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "stdout") from error


def open_closed_streams() -> None:
    """Open the standard streams that the shell has closed, so that no other file gets their numbers.

    Nothing can be read from them or written to them. An error of writing to stdout shows as such.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def flush_streams() -> bool:
    """Flush stdout and stderr, and return whether both took all. Python would do it last, and complain on failure."""
    taken = True
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            taken = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return taken
