"""Read the metadata that we write into a file, and hold the hash in it against the file.

Runtimes run most files with flipped bits, and give wrong mattes. So a file of ours holds a hash of itself.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from exporters.artifact import ArtifactError
from exporters.support.archive import read_member

HASH = "content_sha256"
"""The key of the hash."""

UNHASHED = "0" * 64
"""Stands in place of the hash while it is computed."""

_MOST_BYTES = 1_000_000


def parse_metadata(content: bytes, what: str) -> dict[str, str]:
    """Return the metadata in a JSON text. `what` names its place. Raises ValueError if it is not text by name."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its {what} is no JSON") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"its {what} is not text by name")
    return found


def read_metadata(path: Path, folder: Path, name: str) -> dict[str, str]:
    """Return the metadata in a file beside the model; none if there is no such file.

    Args:
        path: The user's path, for messages.
        folder: The folder that holds the model.
        name: The file's name in it.

    Raises:
        ArtifactError: it is damaged.
    """
    if not (folder / name).exists():
        return {}
    try:
        return parse_metadata(read_member(folder, name, path, _MOST_BYTES), name)
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error


def hashed(content: bytes) -> bytes:
    """Return a file's bytes with their hash in place of `UNHASHED`, which must be in its metadata."""
    return content.replace(UNHASHED.encode(), _content_sha256(content).encode(), 1)


def is_unchanged(content: bytes, metadata: Mapping[str, str]) -> bool:
    """Return True if a file's bytes have the hash that its metadata claims, or it claims none."""
    claimed = metadata.get(HASH)
    if claimed is None:
        return True
    found = claimed.encode(errors="surrogatepass")  # JSON may hold half a character
    return claimed == _content_sha256(content.replace(found, UNHASHED.encode(), 1))


def _content_sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
