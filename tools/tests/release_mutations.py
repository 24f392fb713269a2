"""Ways to spoil any file that the command reads, each drawn from a seed: the same number gives the same file.

Some bypass a checksum, such as a zip file's: an entry is spoiled and packed again.
"""

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

ESCAPED = "escaped"
"""A file that appears beside the folders if a name in a zip file is trusted, or a pickle's code runs."""

Files = Mapping[str, bytes]
"""The contents of good files, by their names within `bases`."""


def spoil(number: int, name: str, bases: Files, home: Path) -> tuple[str, bytes]:
    """Return (kind, content) to replace the file `name`."""
    random = Random(number)
    content = bases[name]
    kinds = [flip_bits, truncate, splice, swap]
    if zipfile.is_zipfile(io.BytesIO(content)):
        kinds += [spoil_entry] * 3 + [drop_entry, escape]
        if "data.pkl" in content.decode("latin-1"):
            kinds += [run_code] * 2
    if name.endswith(".json"):
        kinds += [change_value] * 6
    kind = kinds[random.randrange(len(kinds))]
    while (spoiled := kind(content, random, bases, home)) == content:
        pass
    return kind.__name__, spoiled


def flip_bits(content: bytes, random: Random, bases: Files, home: Path) -> bytes:
    damaged = bytearray(content)
    ends = min(4_000, len(content))
    for _ in range(random.choice((1, 8))):
        start, end = random.choice(((0, ends), (len(content) - ends, len(content)), (0, len(content))))
        damaged[random.randrange(start, end)] ^= 1 << random.randrange(8)
    return bytes(damaged)


def truncate(content: bytes, random: Random, bases: Files, home: Path) -> bytes:
    return content[: random.choice((0, random.randrange(min(100, len(content))), random.randrange(len(content))))]


def splice(content: bytes, random: Random, bases: Files, home: Path) -> bytes:
    """Remove or duplicate bytes."""
    start, length = random.randrange(len(content)), random.randrange(1, 200)
    return content[:start] + content[max(0, start + random.choice((-1, 1)) * length) :]


def swap(content: bytes, random: Random, bases: Files, home: Path) -> bytes:
    """Replace the file by another, or its beginning by another's."""
    other = random.choice([bases[name] for name in sorted(bases) if bases[name] != content])
    if random.random() < 0.5:
        return other
    where = random.randrange(min(len(content), len(other)))
    return other[:where] + content[where:]


def change_value(content: bytes, random: Random, bases: Files, home: Path) -> bytes:
    """Change one value anywhere in the JSON."""
    told = json.loads(content)
    place, key = random.choice([*_places(told)])
    values = (None, -1, 10**30, 1e308, "", "../" + ESCAPED, "\ud800", [], {}, [[]] * 3, True, "x" * 100_000, place)
    place[key] = random.choice(values[:-1])
    if random.random() < 0.2:
        del place[key]
    return json.dumps(told).encode()


def spoil_entry(content: bytes, random: Random, bases: Files, home: Path) -> bytes:
    """Spoil one entry and pack the archive again, so that its checksum is right."""
    entries = _entries(content)
    name = random.choice(sorted(entries, key=lambda each: (len(entries[each]), each))[:12])
    kind = random.choice((flip_bits, truncate, splice, *([change_value] * 3 if name.endswith(".json") else [])))
    if entries[name]:
        entries[name] = kind(entries[name], random, bases, home)
    return _packed(entries)


def drop_entry(content: bytes, random: Random, bases: Files, home: Path) -> bytes:
    entries = _entries(content)
    entries.pop(random.choice(sorted(entries)))
    return _packed(entries)


def escape(content: bytes, random: Random, bases: Files, home: Path) -> bytes:
    """Add an entry whose name leads out of any folder."""
    name = random.choice((f"../{ESCAPED}", f"../../{ESCAPED}", str(home / ESCAPED), f"a/../../../{ESCAPED}"))
    return _packed({**_entries(content), name: b"out"})


def run_code(content: bytes, random: Random, bases: Files, home: Path) -> bytes:
    """Replace a pickle by one that makes a file when it is read."""
    entries = _entries(content)
    name = random.choice([name for name in entries if name.endswith(".pkl")])
    entries[name] = pickle.dumps(_Code(str(home / ESCAPED)), random.choice((2, 4)))
    return _packed(entries)


class _Code:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (self.path, "w")


def _entries(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def _packed(entries: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _places(value: Any) -> Any:
    """Yield every container with each of its keys or indices."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
