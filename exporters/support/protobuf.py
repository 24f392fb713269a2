"""Parse protobuf messages of others. Two bytes of a file can become an object of 400."""

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from exporters.artifact import ArtifactError

MOST_FIELDS = 1_000_000
"""The limit of the fields of a message and of all messages in it. A SavedModel of this network has 100,000."""

_NUMBER, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


def parse(kind: Any, content: bytes, path: Path) -> Any:
    """Return the message in a file.

    Args:
        kind: The message's class.
        content: Its bytes.
        path: The user's path, for messages.

    Raises:
        ArtifactError: it has more than `MOST_FIELDS`.
        DecodeError: it is no such message.
    """
    try:
        count = _fields(kind.DESCRIPTOR, content)
    except IndexError as error:
        raise DecodeError("truncated") from error
    if count > MOST_FIELDS:
        raise ArtifactError(f"{path} is refused: it has more than {MOST_FIELDS} fields; no model of this network does")
    return kind.FromString(content)


def _fields(descriptor: Any, content: bytes) -> int:
    """Count all fields, by their bytes alone, up to the limit. Raises IndexError if they end in the middle of one."""
    count = 0
    waiting = [(descriptor, 0, len(content))]
    while waiting:
        descriptor, at, end = waiting.pop()
        messages = _messages(descriptor)
        while at < end:
            count += 1
            if count > MOST_FIELDS:
                return count
            tag, at = _varint(content, at)
            kind = tag & 7
            if kind == _BYTES:
                length, at = _varint(content, at)
                if length and tag >> 3 in messages:
                    waiting.append((messages[tag >> 3], at, at + length))
                at += length
            elif kind == _NUMBER:
                _, at = _varint(content, at)
            elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
                at += 8 if kind == _EIGHT_BYTES else 4
            else:
                raise DecodeError("it has groups, which no format here has")
    return count


@cache
def _messages(descriptor: Any) -> dict[int, Any]:
    """Return the fields of a message that are messages themselves, by number."""
    return {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and the position after it."""
    value = content[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DecodeError("it has a number of more than 64 bits")
