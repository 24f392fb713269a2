"""Integrity check of zip files, which `.pth` and `.torchscript` files are."""

import zipfile
import zlib
from pathlib import Path


def find_damage(path: Path) -> str | None:
    """Return the archive's damage, as words to follow its name, or None. Torch reads flipped bits without an error."""
    if not zipfile.is_zipfile(path):
        return "is truncated, or not written by PyTorch in its present (zip) format"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    # Flipped bits can look like an unknown compression method or an encrypted record: both are RuntimeErrors.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        return f"is damaged: {error}"
    return f"is damaged: the checksum of {damaged} is wrong" if damaged else None
