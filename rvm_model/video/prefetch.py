"""Prefetch: run an iterator ahead of its consumer, in a thread of its own, so that stages work in parallel."""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")

_LOOK = 0.05
"""Interval, in seconds, at which the queue is emptied after the consumer has stopped, until the thread ends."""


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


def ahead(items: Generator[Item], most: int) -> Generator[Item]:
    """Yield the items, which a thread produces while the consumer works on earlier ones.

    An exception of `items` is raised after the items before it. If the consumer stops early, `items` is closed in its
    thread, and this generator ends only after the thread.

    Args:
        items: Runs, and is closed, in the thread only.
        most: Largest number of items in the queue; the thread works on one more.
    """
    waiting: Queue[Item | _End] = Queue(most)
    gone = Event()

    def work() -> None:
        end = _End()
        try:
            for item in items:
                waiting.put(item)
                if gone.is_set():
                    break
            items.close()
        except BaseException as error:
            end = _End(error)
        waiting.put(end)

    thread = Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        gone.set()
        while thread.is_alive():
            with suppress(Empty):  # make room
                waiting.get(timeout=_LOOK)
