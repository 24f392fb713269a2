"""A live table of the jobs' states on a terminal.

Elsewhere, such as in CI, nothing is shown: the line that each job prints at its end is enough.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

_REFRESHES = 4  # a second


class Board:
    """A live table that stays below the printed lines while the `with` block runs, and then disappears."""

    def __init__(self, console: Console, names: Sequence[str]) -> None:
        self._names = names
        self._running: dict[int, Future[Any]] = {}
        self._since: dict[int, float] = {}
        self._ended: dict[int, tuple[str, float]] = {}
        self._live = (
            Live(get_renderable=self.table, console=console, transient=True, refresh_per_second=_REFRESHES)
            if console.is_terminal
            else None
        )

    def submitted(self, k: int, future: Future[Any]) -> None:
        """Note that the k-th job is submitted: it waits, or runs."""
        self._running[k] = future
        self._since.pop(k, None)

    def ended(self, k: int, outcome: str, seconds: float) -> None:
        self._running.pop(k, None)
        self._ended[k] = (outcome, seconds)

    def table(self) -> Table:
        """Return a table with a line for each job: its name, its state, and how long it has run or took."""
        table = Table(title=f"{len(self._ended)} of {len(self._names)} jobs have ended", title_justify="left")
        for column in ("job", "state", "seconds"):
            table.add_column(column, justify="right" if column == "seconds" else "left", overflow="fold")
        for k, name in enumerate(self._names):
            table.add_row(name, *self._state(k))
        return table

    def _state(self, k: int) -> tuple[str, str]:
        if k in self._ended:
            outcome, seconds = self._ended[k]
            return outcome, f"{seconds:.0f}" if seconds else ""
        future = self._running.get(k)
        if future is None or not future.running():
            return "waiting", ""
        since = self._since.setdefault(k, time.monotonic())
        return "running", f"{time.monotonic() - since:.0f}"

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
