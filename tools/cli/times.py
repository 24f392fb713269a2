"""Parse the times of `--start` and `--end`."""

import re

from rvm_model.errors import UserError

_TIMECODE = re.compile(r"(?:([0-9]{1,5}):)?([0-9]{1,2}):([0-9]{1,2}(?:\.[0-9]{1,9})?)", re.ASCII)


def parse_time(option: str, text: str) -> float:
    """Return the seconds of a time: `12.5`, `1:12.5` or `00:01:12.5`.

    Raises:
        UserError: it is neither a number nor a timecode. Whether the number fits a clip is checked there.
    """
    match = _TIMECODE.fullmatch(text)
    if match is not None:
        hours, minutes, seconds = int(match[1] or 0), int(match[2]), float(match[3])
        if seconds < 60 and (minutes < 60 or match[1] is None):
            return hours * 3600 + minutes * 60 + seconds
    else:
        try:
            return float(text)
        except ValueError:
            pass
    raise UserError(f"{option} {text}: give seconds, such as 12.5, or hours:minutes:seconds, such as 00:00:12.5")
