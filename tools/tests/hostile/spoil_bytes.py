"""Ways to spoil any file: its bytes, an archive's entries, a JSON's values.

Every way here and in the other `spoil_*.py` takes the content of a good file, a random generator and the home, and
returns the spoiled content. Some bypass a checksum, such as a zip file's: an entry is spoiled and packed again.
"""

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

from tools.tests.hostile.home import ESCAPED, Home

Mutation = Callable[[bytes, Random, Home], bytes]


def flip_bits(content: bytes, random: Random, home: Home) -> bytes:
    """Flip some bits, most of them near an end of the file. Weights fill the rest."""
    damaged, ends = bytearray(content), min(random.choice((200, 4_000, 40_000)), len(content))
    for _ in range(random.choice((1, 8, 64))):
        start, end = random.choice(((0, ends), (len(content) - ends, len(content)), (0, len(content))))
        damaged[random.randrange(start, end)] ^= 1 << random.randrange(8)
    return bytes(damaged)


def truncate(content: bytes, random: Random, home: Home) -> bytes:
    longest = (1, min(100, len(content)), min(40_000, len(content)), len(content))
    return content[: random.randrange(random.choice(longest))]


def splice(content: bytes, random: Random, home: Home) -> bytes:
    """Remove or duplicate bytes."""
    start = random.randrange(random.choice((min(40_000, len(content)), len(content))))
    return content[:start] + content[max(0, start + random.choice((-1, 1)) * random.randrange(1, 200)) :]


def swap(content: bytes, random: Random, home: Home) -> bytes:
    """Replace the file by another, or its beginning by another's."""
    files = sorted(path for path in home.good.rglob("*") if path.is_file())
    other = random.choice(files).read_bytes()
    if random.random() < 0.5:
        return other
    where = random.randrange(1 + min(len(content), len(other)))
    return other[:where] + content[where:]


def enlarge_numbers(content: bytes, random: Random, home: Home) -> bytes:
    """Set a few bytes near the beginning to a huge or negative number, as a length or size would be."""
    damaged, size = bytearray(content), random.choice((2, 4, 8))
    where = random.randrange(max(1, min(2_000, len(content) - size)))
    damaged[where : where + size] = random.choice((b"\xff" * size, b"\x7f" + b"\xff" * (size - 1), bytes(size)))
    return bytes(damaged)


BYTES: tuple[Mutation, ...] = (flip_bits, truncate, splice, swap, enlarge_numbers)


# Archives.


def spoil_entry(content: bytes, random: Random, home: Home) -> bytes:
    """Spoil one entry and pack the archive again, so that its checksum is right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [entry for entry in archive.infolist() if entry.file_size]
    small = sorted(entries, key=lambda entry: (entry.file_size, entry.filename))[:12]
    name = random.choice(random.choice((entries, small))).filename
    kind = random.choice((flip_bits, truncate, splice, *([change_value] * 3 if name.endswith(".json") else [])))
    return repacked(content, {name: lambda inner: kind(inner, random, home)})


def drop_entry(content: bytes, random: Random, home: Home) -> bytes:
    return repacked(content, {random.choice(names_of(content)): lambda _: None})


def rename_entry(content: bytes, random: Random, home: Home) -> bytes:
    name = random.choice(names_of(content))
    other = random.choice((f"../{ESCAPED}", f"/tmp/{ESCAPED}", f"{name}x", name.upper(), f"{name}/x", "\x1b[2J", ""))
    return repacked(content, {}, {name: other})


def escape(content: bytes, random: Random, home: Home) -> bytes:
    """Add an entry whose name leads out of any folder."""
    name = random.choice((f"../{ESCAPED}", f"../../{ESCAPED}", str(home.escaped), f"a/../../../{ESCAPED}"))
    return with_entries(content, {name: b"out"})


def run_code(content: bytes, random: Random, home: Home) -> bytes:
    """Replace a pickle by one that makes a file when it is read."""
    name = random.choice([name for name in names_of(content) if name.endswith(".pkl")])
    return repacked(content, {name: lambda _: pickle.dumps(Code(str(home.escaped)), random.choice((2, 4)))})


class Code:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (self.path, "w")


ARCHIVE: tuple[Mutation, ...] = (spoil_entry, spoil_entry, drop_entry, rename_entry, escape)


def in_entry(mutation: Mutation, ending: str) -> Mutation:
    """Return a mutation of an archive that changes its first entry with this ending by a mutation."""

    def change(content: bytes, random: Random, home: Home) -> bytes:
        name = next(each for each in names_of(content) if each.endswith(ending))
        return repacked(content, {name: lambda inner: mutation(inner, random, home)})

    change.__name__ = mutation.__name__
    return change


def repacked(
    content: bytes,
    changes: Mapping[str, Callable[[bytes], bytes | None]],
    renamed: Mapping[str, str] | None = None,
    more: Mapping[str, bytes] | None = None,
) -> bytes:
    """Pack an archive again with changed entries, those of None left out, and with some renamed and some added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(out, "w") as target:
        for entry in archive.infolist():
            inner = archive.read(entry)
            new = changes[entry.filename](inner) if entry.filename in changes else inner
            if new is not None:
                info = zipfile.ZipInfo((renamed or {}).get(entry.filename, entry.filename))
                info.compress_type = entry.compress_type
                target.writestr(info, new, compresslevel=1)
        for name, inner in (more or {}).items():
            target.writestr(zipfile.ZipInfo(name), inner)
    return out.getvalue()


def with_entries(content: bytes, entries: Mapping[str, bytes]) -> bytes:
    """Return an archive with more entries, whatever their names."""
    return repacked(content, {}, more=entries)


def names_of(content: bytes) -> list[str]:
    """Return the names of an archive's files."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [name for name in archive.namelist() if not name.endswith("/")]


# JSON.


def change_value(content: bytes, random: Random, home: Home) -> bytes:
    """Change or remove one value anywhere in the JSON."""
    document = json.loads(content)
    place, key = random.choice([*_places(document)])
    values = (None, -1, 10**30, 1e308, float("nan"), "", f"../{ESCAPED}", "\ud800", "\x1b[2J", [], {}, [[]] * 3, True)
    place[key] = random.choice((*values, "x" * 100_000))
    if random.random() < 0.2:
        del place[key]
    return json.dumps(document).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys or indices."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


JSON: tuple[Mutation, ...] = (change_value,) * 4
