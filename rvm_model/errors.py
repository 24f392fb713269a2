"""The one base of all errors that are the user's to mend. Standard library only, so that a command can catch it cheaply."""


class UserError(Exception):
    """Wrong use or bad input. The message is one line: what was given, what was expected, what to do."""
