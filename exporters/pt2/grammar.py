"""Check that JSON has the form of a pattern, all of it: one unknown key is a misfit.

A pattern is one of these:

* a type: a value of exactly this type, where `int` fits 64 bits;
* a regular expression: a string that it matches as a whole;
* a list of one pattern: a list of any length, of such values;
* a tuple of patterns: a value that fits one of them;
* a dictionary: an object with these keys;
* `Table`: an object with any keys that match;
* `Optionally`: an object with these keys, and perhaps some more;
* `Just`: this value;
* `Text`: a string of JSON that fits.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Pattern = Any
_MOST_INT = 2**63


@dataclass(frozen=True)
class Table:
    """An object whose keys match `keys`, and whose values fit `values`."""

    keys: re.Pattern[str]
    values: Pattern


@dataclass(frozen=True)
class Optionally:
    """An object with the keys of `needed`, and perhaps those of `others`."""

    needed: Mapping[str, Pattern]
    others: Mapping[str, Pattern]


@dataclass(frozen=True)
class Just:
    """A value that is equal to this one, and of its type."""

    value: Any


@dataclass(frozen=True)
class Text:
    """A string that holds JSON of this form."""

    pattern: Pattern


def parse(content: bytes | str) -> Any:
    """Return the value of a JSON text. Raises ValueError, also for a key given twice, NaN, and endless nesting."""
    try:
        return json.loads(content, object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def misfit(value: Any, pattern: Pattern, place: str = "") -> str | None:
    """Return the place of the first part that does not fit, as keys and numbers with dots between, or None."""
    match pattern:
        case type():
            return None if type(value) is pattern and _is_short(value) else place
        case re.Pattern():
            return None if isinstance(value, str) and pattern.fullmatch(value) else place
        case tuple():
            return None if any(misfit(value, each) is None for each in pattern) else place
        case [each]:
            return _first(value, each, place) if isinstance(value, list) else place
        case dict():
            return misfit(value, Optionally(pattern, {}), place)
        case Table(keys, values):
            fits = isinstance(value, dict) and all(keys.fullmatch(key) for key in value)
            return _first(value, values, place) if fits else place
        case Optionally(needed, others):
            if not isinstance(value, dict) or not needed.keys() <= value.keys() <= needed.keys() | others.keys():
                return place
            return _first_of(value, {**needed, **others}, place)
        case Just(expected):
            return None if type(value) is type(expected) and value == expected else place
        case Text(inner):
            try:
                return misfit(parse(value), inner, place) if isinstance(value, str) else place
            except ValueError:
                return place
    raise TypeError(f"{pattern!r} is no pattern")


def _first(values: list[Any] | dict[str, Any], pattern: Pattern, place: str) -> str | None:
    pairs = values.items() if isinstance(values, dict) else enumerate(values)
    return next((found for key, each in pairs if (found := misfit(each, pattern, f"{place}.{key}")) is not None), None)


def _first_of(value: dict[str, Any], patterns: Mapping[str, Pattern], place: str) -> str | None:
    places = (misfit(each, patterns[key], f"{place}.{key}") for key, each in value.items())
    return next((found for found in places if found is not None), None)


def _is_short(value: Any) -> bool:
    return not isinstance(value, int) or abs(value) < _MOST_INT


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")
