"""Base class of all errors that the user can fix. It needs the standard library only, so commands import it fast."""

_LONGEST = 500


class UserError(Exception):
    """Wrong use or bad input. The message is one line: what was given, what was expected, what to do."""


def first_line(error: BaseException, longest: int = _LONGEST) -> str:
    """Return the first line of a library's message, or the error's type if there is no message. Cut a long line."""
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return line if len(line) <= longest else f"{line[:longest]}..."
