"""The functions of jobs in the tests.

They are in their own module, which other processes import by name, and quickly.
"""

import os
import pickle
import signal
import time
import warnings
from pathlib import Path

from rvm_model.errors import UserError


def square(x):
    return x * x


def write(path, text="whole"):
    path.with_suffix(".partial").write_text(text)
    path.with_suffix(".partial").replace(path)
    return os.getpid()


def count(path):
    """Return how often this path was counted, including this call."""
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len(path.read_text().split())


def fail(path):
    count(path)
    raise ZeroDivisionError("on\npurpose")


def refuse(path):
    count(path)
    raise UserError(f"{path} is none;\ngive one")


def fail_once(path):
    if count(path) == 1:
        raise OSError(5, "Input/output error", str(path))
    return "second"


def die(path):
    count(path)
    os._exit(7)


def die_once(path):
    if count(path) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "second"


class OddError(Exception):
    """An exception that pickle can write but not read."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def raise_odd():
    raise OddError("one", "two")


def give_what_json_cannot_hold():
    return lambda: None


def import_missing():
    import missing_package  # noqa: F401


def warn():
    for _ in range(2):
        warnings.warn("audio is left out", stacklevel=2)


def threads():
    return [os.environ.get(name) for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")]


def half_write(folder, name):
    """Begin a file, report it, and sleep. When interrupted, clean up, as `publish` does."""
    partial = Path(folder) / f"{name}.partial"
    try:
        partial.write_text("half")
        (Path(folder) / f"{name}.{os.getpid()}.began").touch()
        time.sleep(60)
        partial.replace(Path(folder) / name)
    finally:
        time.sleep(0.2)  # a second signal arrives here
        partial.unlink(missing_ok=True)


def hold_on(folder, name):
    """Ignore SIGINT and SIGTERM, like native code that never returns to Python."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    (Path(folder) / f"{name}.{os.getpid()}.began").touch()
    time.sleep(60)


def pid():
    return os.getpid()


def serve_without_numba(connection, entry):
    from tools.bench import contender

    contender.find_spec = lambda _: None
    contender.serve(connection, entry)


def die_at_once(*_):
    os._exit(9)


class Bomb:
    """A value whose pickle makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def answer_with_a_pickle(path):
    """Write a pickle where the answer of this process goes, and end."""
    for number in range(3, 20):
        try:
            os.write(number, pickle.dumps(Bomb(path)))
        except OSError:
            continue
    os._exit(0)
