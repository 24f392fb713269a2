"""Escape the characters of foreign text that act on a terminal, a page or a report instead of being seen.

Names of files, metadata and messages of libraries are foreign text. Everything that people read passes through here: on
stderr by `tools/shared/console.py`, in pages and model cards, in JUnit and Markdown reports. Data for scripts stays
exact.
"""

import re

_UNPRINTABLE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters: ESC begins commands to a terminal, and XML cannot hold most of them
    "\u2028\u2029"  # line and paragraph separators
    "\u202a-\u202e\u2066-\u2069"  # bidirectional overrides, which show text in another order than it has
    "\ud800-\udfff"  # surrogates, which stand for undecodable bytes of a file's name
    "\ufffe\uffff"  # no characters
    "]"
)


def printable(text: str) -> str:
    r"""Escape unprintable characters as Python does, such as ESC as `\x1b`. A line break is one, too."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_lines(text: str) -> str:
    """Escape like `printable`, and keep the line breaks."""
    return "\n".join(map(printable, text.split("\n")))


def one_line(text: str) -> str:
    """Return a message as one line: each run of white space becomes a space, and the rest is escaped."""
    return printable(" ".join(text.split()))
