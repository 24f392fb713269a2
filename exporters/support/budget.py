"""Bound what is read of a file. Thousands of arrays may share its bytes, and a reader would copy each."""

_MOST_TIMES = 2
"""Arrays together may have this many times the bytes of the file: a network shares only small ones."""

_SMALL = 1_000_000
"""Bytes that may be read besides, for small files."""


class Budget:
    """The bytes that may still be read as arrays of a content."""

    def __init__(self, content: bytes) -> None:
        self._left = _MOST_TIMES * len(content) + _SMALL

    def take(self, nbytes: int) -> None:
        """Count an array. Raises ValueError if all together have too many bytes."""
        self._left -= nbytes
        if self._left < 0:
            raise ValueError(f"its arrays share their bytes, and have more than {_MOST_TIMES} times those of all")
