"""Progress of a clip, on stderr: a bar on a terminal, else a plain line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from rvm_model.printable import printable

SECONDS_BETWEEN_LINES = 10


@contextmanager
def frames_progress(name: str, total: int | None, shown: bool = True) -> Iterator[Callable[[int], object]]:
    """Yield a function to call with the number of frames done since its last call.

    It shows frames per second and the time left: as a bar if stderr is a terminal, else as a line every ten seconds and
    one at the end.

    Args:
        name: The user's name for the clip.
        total: Number of frames, None if unknown.
        shown: False shows nothing.
    """
    name = printable(name)
    if shown and sys.stderr.isatty():
        with tqdm(desc=name, total=total, unit="frames", dynamic_ncols=True) as bar:
            yield bar.update
        return
    lines = _Lines(name, total)
    yield lines.update if shown else lambda _: None
    if shown:
        lines.say()


class _Lines:
    def __init__(self, name: str, total: int | None):
        self.name, self.total, self.done = name, total, 0
        self.began = self.said = time.monotonic()

    def update(self, frames: int) -> None:
        self.done += frames
        if time.monotonic() - self.said >= SECONDS_BETWEEN_LINES:
            self.say()

    def say(self) -> None:
        self.said = time.monotonic()
        meter = tqdm.format_meter(
            self.done, self.total or 0, self.said - self.began, ncols=0, unit="frames", prefix=self.name
        )
        print(meter, file=sys.stderr, flush=True)  # noqa: T201
