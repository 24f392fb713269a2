"""Read flatbuffers from bytes, with each offset, length and count checked.

Source: the layout at https://flatbuffers.dev/internals. The library of that name trusts a file: vectors of tables that
share their elements would keep it busy for hours.
"""

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exporters.support.budget import Budget

_MOST_TABLES = 200_000
"""The limit of tables that are read. A model of ResNet50 has 2,000."""

_KINDS = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "Q": 8}


@dataclass(kw_only=True, eq=False)
class _Content:
    content: bytes
    budget: Budget
    tables: int = 0

    def number(self, at: int, kind: str) -> int:
        return int(self.unpacked(at, kind))

    def unpacked(self, at: int, kind: str) -> int | float:
        if not 0 <= at <= len(self.content) - _KINDS[kind]:
            raise ValueError(f"an offset in it is {at}, and it has {len(self.content)} bytes")
        value: int | float = struct.unpack_from(f"<{kind}", self.content, at)[0]
        return value


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A table at a position of the content. Fields have the numbers of the schema, from 0.

    All methods raise ValueError for what lies outside of the content.
    """

    at: int
    of: _Content = field(repr=False)

    def __post_init__(self) -> None:
        self.of.tables += 1
        if self.of.tables > _MOST_TABLES:
            raise ValueError(f"it has more than {_MOST_TABLES} tables")

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        """Return a whole number of a kind of `struct`: b, B, h, i, I or Q."""
        at = self._field(slot)
        return default if at is None else self.of.number(at, kind)

    def real(self, slot: int, default: float = 0.0) -> float:
        """Return a float32 number."""
        at = self._field(slot)
        return default if at is None else self.of.unpacked(at, "f")

    def table(self, slot: int) -> "Table | None":
        at = self._field(slot)
        return None if at is None else Table(at=at + self.of.number(at, "I"), of=self.of)

    def tables(self, slot: int) -> list["Table"]:
        begin, count = self._vector(slot, 4)
        return [Table(at=at + self.of.number(at, "I"), of=self.of) for at in range(begin, begin + 4 * count, 4)]

    def numbers(self, slot: int, dtype: str) -> NDArray[np.generic]:
        """Return a vector of numbers, which is empty if there is none. It shares the content's memory."""
        begin, count = self._vector(slot, np.dtype(dtype).itemsize)
        return np.frombuffer(self.of.content, dtype, count, begin)

    def text(self, slot: int) -> str:
        return self.numbers(slot, "u1").tobytes().decode(errors="replace")

    def has(self, slot: int) -> bool:
        return self._field(slot) is not None

    def _field(self, slot: int) -> int | None:
        """Return the position of a field, or None if the table has not got it."""
        layout = self.at - self.of.number(self.at, "i")
        if 4 + 2 * slot >= self.of.number(layout, "H"):
            return None
        offset = self.of.number(layout + 4 + 2 * slot, "H")
        return self.at + offset if offset else None

    def _vector(self, slot: int, size: int) -> tuple[int, int]:
        """Return the position of the first element of a vector, and their number."""
        at = self._field(slot)
        if at is None:
            return 0, 0
        at += self.of.number(at, "I")
        count = self.of.number(at, "I")
        if count * size > len(self.of.content) - at - 4:
            raise ValueError(f"a vector in it has {count} elements, more than its bytes hold")
        self.of.budget.take(count * size)
        return at + 4, count


def root(content: bytes) -> Table:
    """Return the table that a flatbuffer begins with. Raises ValueError."""
    whole = _Content(content=content, budget=Budget(content))
    return Table(at=whole.number(0, "I"), of=whole)
