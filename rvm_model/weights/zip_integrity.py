"""Whether a zip file, which `.pth` and `.torchscript` files are, is as it was written."""

import zipfile
import zlib
from pathlib import Path


def find_damage(path: Path) -> str | None:
    """What is wrong with the archive, to be read after its name, or None. Torch reads flipped bits without a word."""
    if not zipfile.is_zipfile(path):
        return "is truncated, or not written by PyTorch in its present (zip) format"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    # An unknown compression method or an encrypted record, which only flipped bits put there, are RuntimeErrors.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        return f"is damaged: {error}"
    return f"is damaged: the checksum of {damaged} is wrong" if damaged else None
