"""The size and the hash of a file or folder."""

import hashlib
import os
from pathlib import Path

from rvm_model.files import sha256_of


def size_and_sha256(path: Path) -> tuple[int, str]:
    """Return bytes and hash.

    For a folder: the bytes of all its files, and the hash of the lines that `sha256sum *` prints there.
    """
    if not path.is_dir():
        return path.stat().st_size, sha256_of(path)
    found = [file for file in path.rglob("*") if file.is_file()]
    files = {os.fsencode(file.relative_to(path).as_posix()): file for file in found}
    lines = b"".join(b"%s  %s\n" % (sha256_of(file).encode(), name) for name, file in sorted(files.items()))
    return sum(file.stat().st_size for file in found), hashlib.sha256(lines).hexdigest()
