"""Bound the constants of a file. Thousands may share its bytes, and a reader would take each for one of its own."""

_MOST_TIMES = 2
"""How often a file's bytes may be constants. Those of a network share no more than a few small ones."""


class Budget:
    """The bytes that the constants of a file may still have. `content` is what they are taken from."""

    def __init__(self, content: bytes) -> None:
        self._left = _MOST_TIMES * len(content)

    def take(self, nbytes: int) -> None:
        """Count a constant. Raises ValueError if all together have too many bytes."""
        self._left -= nbytes
        if self._left < 0:
            raise ValueError(f"its constants share their bytes, and have more than {_MOST_TIMES} times those of all")
