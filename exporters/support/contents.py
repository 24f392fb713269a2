"""Describe what a file holds, without running it: its operations, its references, and the pickles among its members."""

import io
import pickletools
import stat
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PICKLES = (".pickle", ".pkl")
_MARK = 0x80
"""The first byte of a pickle since protocol 2; the second is the protocol."""

_PROTOCOLS = range(2, 6)
_MOST_BYTES = 1 << 24
"""Bytes of a member that are searched for a pickle's end."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of a file's graph.

    `operations` are the numbers of operations by kind. `custom` are those kinds that no runtime of the format brings
    along, or that a matting network does not need. `external` are references to data outside of the file.
    """

    operations: Mapping[str, int]
    custom: Collection[str]
    external: Collection[str] = ()


Scanner = Callable[[Path], Contents]
"""Describe a file. Raises ArtifactError if it is damaged."""


def members_of(path: Path) -> tuple[int, list[str]]:
    """Return the number of members of a file, and the names of those that are pickles.

    The members of a folder or a zip file are its files. Any other file is its own only member. A pickle is a member
    that is named `.pkl` or `.pickle`, or that begins with a whole pickle of protocol 2 or later.
    """
    count, pickles = 0, []
    for name, file in _members(path):
        count += 1
        if name.lower().endswith(_PICKLES) or _begins_with_pickle(file):
            pickles.append(name)
    return count, sorted(pickles)


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if path.is_dir():
        for each in sorted(path.rglob("*")):
            if stat.S_ISREG(each.lstat().st_mode):
                with each.open("rb") as file:
                    yield each.relative_to(path).as_posix(), file
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    with archive.open(entry) as file:
                        yield entry.filename, file
    else:
        with path.open("rb") as file:
            yield path.name, file


def _begins_with_pickle(file: IO[bytes]) -> bool:
    head = file.read(2)
    if len(head) < len(b"\x80\x02") or head[0] != _MARK or head[1] not in _PROTOCOLS:
        return False
    try:
        for _ in pickletools.genops(io.BytesIO(head + file.read(_MOST_BYTES))):
            pass
    except Exception:  # it raises nearly anything for bytes that are no pickle
        return False
    return True
