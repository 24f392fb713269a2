"""The base of all errors that are the user's to mend. Standard library only: a command catches it at no cost."""

_LONGEST = 500


class UserError(Exception):
    """Wrong use or bad input. The message is one line: what was given, what was expected, what to do."""


def first_line(error: BaseException, longest: int = _LONGEST) -> str:
    """Return the first line of what a library says, or the error's type if it says nothing. A long line is cut."""
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return line if len(line) <= longest else f"{line[:longest]}..."
