"""The base of all errors that are the user's to mend. Standard library only: a command catches it at no cost."""


class UserError(Exception):
    """Wrong use or bad input. The message is one line: what was given, what was expected, what to do."""
