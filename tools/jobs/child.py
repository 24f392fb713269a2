"""The other end of `processes.py`: a process that makes one call and ends. Nothing heavy is imported before the call.

The call comes through stdin, which then stays open for as long as somebody waits for the answer, which goes to stdout.
What the call itself prints goes to stderr.
"""

import os
import pickle
import signal
import sys
import threading
import time
from types import FrameType

ENDING_SECONDS = 10
"""For a call that is broken off, to remove what it has half written."""


def main() -> None:
    """Answer, or end silently on SIGTERM or SIGINT, as KeyboardInterrupt leaves the call."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, _interrupt_once)
            function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own process
            threading.Thread(target=_end_when_nobody_waits, daemon=True).start()
            pickle.dump(function(*arguments), answers)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)


def _interrupt_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """A second signal must not break off the tidying up after the first."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_when_nobody_waits() -> None:
    """However the parent ended, be it by SIGKILL, its end of stdin is closed."""
    os.read(sys.stdin.fileno(), 1)  # past Python's buffer, whose lock would still be held when Python ends
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ENDING_SECONDS)
    os._exit(128 + signal.SIGTERM)
