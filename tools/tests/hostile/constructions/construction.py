"""A construction, and the pieces that several are built of."""

import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.tests.hostile.good_files import RELEASE
from tools.tests.hostile.home import Home

HUGE = 300 << 30
ESC = "\x1b[2J\x1b]52;c;aGk=\x07"
"""A text that clears a terminal and writes to its clipboard."""


@dataclass(frozen=True)
class Construction:
    """A file or folder to open. `kind` is a key of `commands.EVERY`.

    `check` returns what is wrong after a command, besides all that `judgement.wrong_with` finds.
    """

    kind: str
    path: Path
    check: Callable[[], str] = lambda: ""


Build = Callable[[Home], Construction]


def sparse(path: Path, head: bytes = b"", size: int = HUGE) -> Path:
    """Write a file that is huge, and takes no space on the disk."""
    path.write_bytes(head)
    os.truncate(path, size)
    return path


def copied(home: Home, name: str) -> Path:
    """Return a copy of a good folder or file that may be changed."""
    source, target = home.good / name, home.files / name
    return Path(shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target))


def changed_json(path: Path, change: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def released(home: Home, change: Callable[[Path], object]) -> Construction:
    """Return a copy of the good release that was changed, and whose sums were made right again where there are any."""
    folder = copied(home, RELEASE)
    change(folder)
    sums = folder / "SHA256SUMS"
    if sums.is_file() and not sums.is_symlink():
        names = [line.partition("  ")[2] for line in sums.read_text(errors="replace").splitlines()]
        files = [folder / name for name in names if (folder / name).is_file() and (folder / name).stat().st_size < HUGE]
        sums.write_text("".join(f"{sha256(path)}  {path.name}\n" for path in files))
    return Construction("release", folder)


def model_of(folder: Path) -> Path:
    """Return the only model of the good release."""
    (path,) = folder.glob("*.onnx")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of `raw_zip`, every field of which may be a lie.

    `size` is the unpacked size; None for that of `data`. `at` names the earlier entry whose content it shares.
    """

    name: bytes
    data: bytes = b""
    method: int = 0
    size: int | None = None
    crc: int | None = None
    flags: int = 0
    mode: int = 0o100644
    at: int | None = None


def raw_zip(entries: Sequence[Entry]) -> bytes:
    """Return a zip file of entries as they are."""
    body, directory, places = bytearray(), bytearray(), list[int]()
    for entry in entries:
        place = len(body) if entry.at is None else places[entry.at]
        places.append(place)
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        size = len(entry.data) if entry.size is None else entry.size
        common = struct.pack(
            "<HHHHHIIIHH", 20, entry.flags, entry.method, 0, 33, crc, len(entry.data), size, len(entry.name), 0
        )
        if entry.at is None:
            body += b"PK\3\4" + common + entry.name + entry.data
        made_by = struct.pack("<H", 3 << 8 | 20)
        directory += b"PK\1\2" + made_by + common + struct.pack("<HHHII", 0, 0, 0, entry.mode << 16, place) + entry.name
    count = min(len(entries), 0xFFFF)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + b"PK\5\6" + end)
