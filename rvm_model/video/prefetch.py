"""An iterator that runs ahead of its consumer, in a thread of its own, so that stages work side by side."""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")

_LOOK = 0.05
"""Seconds that the thread may go on waiting for room after its consumer has gone."""


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


def ahead(items: Generator[Item], most: int) -> Generator[Item]:
    """The same items, made in a thread while the consumer works on those before.

    An exception of `items` comes out after the items before it. When the consumer stops early, `items` is closed in its
    thread, and the thread has ended when this generator has.

    Args:
        items: Made, and closed, in the thread only.
        most: How many may wait; one more is being made.
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
            with suppress(Empty):  # making room
                waiting.get(timeout=_LOOK)
