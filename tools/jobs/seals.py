"""Seal the records of finished work with a key of this user, so that a record from elsewhere is not believed.

The key is 32 random bytes in the user's state folder, for this user's eyes only. Where it cannot be kept, each command
has its own: its records count while it runs, and the next command does the work again.
"""

import hashlib
import hmac
import json
import os
import secrets
import stat
from functools import cache
from pathlib import Path

from platformdirs import user_state_path

from tools.shared.outputs import hidden_folder

_BYTES = 32
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def seal_key(made_from: str) -> bytes:
    """Return the key that seals the records of one piece of work.

    A job on another machine gets it, and can seal no other record with it.

    Args:
        made_from: The hash of all that the work depends on.
    """
    return hmac.digest(_user_key(), made_from.encode(), hashlib.sha256)


def sealed(record: str, key: bytes) -> str:
    """Return the text to write for a record. See `unsealed`."""
    return json.dumps({"seal": _seal(record, key), "record": record})


def unsealed(text: bytes, key: bytes) -> str:
    """Return the record in a text of `sealed`. Raises ValueError if it was not sealed with this key."""
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is no sealed record") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(name), str) for name in ("seal", "record")):
        raise ValueError("it is no sealed record")
    record: str = content["record"]
    if not hmac.compare_digest(_seal(record, key).encode(), content["seal"].encode()):
        raise ValueError("it was not sealed with this key")
    return record


def _seal(record: str, key: bytes) -> str:
    return hmac.digest(key, record.encode(), hashlib.sha256).hex()


@cache
def _user_key() -> bytes:
    """Return this user's key, made when it is first needed. If it cannot be kept, return one for this process."""
    path = user_state_path("rvm-export", appauthor=False) / "records.key"
    try:
        if path.is_absolute():  # not so for a user without a home
            path.parent.mkdir(parents=True, exist_ok=True)
            return _read(path) or _created(path)
    except OSError:
        pass
    return secrets.token_bytes(_BYTES)


def _read(path: Path) -> bytes | None:
    """Return the key in a file, or None if it is no key, or not for this user's eyes only."""
    try:
        file = os.fdopen(os.open(path, _FLAGS), "rb")
    except OSError:
        return None
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid != os.getuid():
            return None
        key = file.read(_BYTES + 1)
    return key if len(key) == _BYTES else None


def _created(path: Path) -> bytes:
    """Write a new key and return it, or the key of a process that was faster."""
    key = secrets.token_bytes(_BYTES)
    with hidden_folder(path.parent) as folder:
        staged = folder / path.name
        staged.touch(mode=0o600)
        staged.write_bytes(key)
        try:
            os.link(staged, path)
        except FileExistsError:
            other = _read(path)
            if other is not None:
                return other
            staged.replace(path)
    return key
