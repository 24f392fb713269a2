"""The child process of `processes.py`, which makes one call and ends.

It imports nothing heavy before the call. The call comes through stdin, which stays open as long as the parent waits.
The answer goes to stdout as JSON, and everything that the call prints goes to stderr.
"""

import json
import os
import pickle
import signal
import sys
import threading
import time
from types import FrameType

ENDING_SECONDS = 10
"""Time for an interrupted call to remove its half-written files."""


def main() -> None:
    """Make the call and write its answer.

    SIGTERM or SIGINT raises KeyboardInterrupt in the call, and the process ends.
    """
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, _interrupt_once)
            function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own process
            threading.Thread(target=_end_when_nobody_waits, daemon=True).start()
            answers.write(json.dumps(function(*arguments)).encode())
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)


def _interrupt_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Raise KeyboardInterrupt, and ignore further signals: a second one must not interrupt the cleanup."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_when_nobody_waits() -> None:
    """End this process when the parent closes stdin, which happens however the parent ends, even by SIGKILL."""
    os.read(sys.stdin.fileno(), 1)  # bypasses Python's buffer, whose lock would still be held when Python ends
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ENDING_SECONDS)
    os._exit(128 + signal.SIGTERM)
