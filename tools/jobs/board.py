"""A live table of all jobs on a terminal. Elsewhere, as in CI, it shows nothing: a line for each job is enough."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID, TextColumn, TimeElapsedColumn

from rvm_model.printable import printable


class Board(Progress):
    """A line for each job while its `with` lasts, below whatever is printed: name, state, and how long it runs or took.

    The k-th task is the k-th job.
    """

    def __init__(self, console: Console, names: Sequence[str]) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
        )
        super().__init__(*columns, console=console, transient=True, disable=not console.is_terminal)
        for name in names:
            self.add_task(printable(name), start=False, state="waiting")

    def submitted(self, k: int) -> None:
        """Show that the job waits, perhaps for another attempt."""
        self.reset(TaskID(k), start=False, state="waiting")

    def look(self, k: int, future: Future[Any]) -> None:
        """Show that the job runs, once it does."""
        if future.running() and not self.tasks[k].started:
            self.start_task(TaskID(k))
            self.update(TaskID(k), state="running")

    def ended(self, k: int, outcome: str) -> None:
        self.stop_task(TaskID(k))
        self.update(TaskID(k), state=outcome)
