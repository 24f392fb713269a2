"""Faulty jobs of a release for the tests.

They are in their own module, which other processes import by name.
"""

import os
import resource
import signal
import time
from pathlib import Path

from rvm_model.errors import UserError
from tools.release.build import Order, build
from tools.release.contents import Row


def die(row: Row, order: Order, key: str, seal: bytes) -> None:
    """Die like a process that the kernel kills when memory runs out."""
    _count(row, order)
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(row: Row, order: Order, key: str, seal: bytes) -> None:
    """Die on the first attempt only."""
    if _count(row, order) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    build(row, order, key, seal)


def hang(row: Row, order: Order, key: str, seal: bytes) -> None:
    time.sleep(600)


def refuse(row: Row, order: Order, key: str, seal: bytes) -> None:
    """Fail like a worker without the format's packages."""
    _count(row, order)
    raise UserError("onnx needs onnx; run: pip install 'rvm-export[onnx]'")


def lose(row: Row, order: Order, key: str, seal: bytes) -> None:
    """Write no file, like a worker that has another folder at the same path."""
    _count(row, order)


def starve(row: Row, order: Order, key: str, seal: bytes) -> None:
    """Run with nearly no memory left."""
    status = Path("/proc/self/status").read_text().splitlines()
    taken = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (taken + 30_000_000,) * 2)
    build(row, order, key, seal)


def tries(out: Path) -> dict[float, int]:
    """Return the number of calls of each row, by its ratio."""
    files = out.parent.glob(f"{out.name}.*.tries")
    return {float(path.stem.removeprefix(f"{out.name}.")): len(path.read_text().split()) for path in files}


def _count(row: Row, order: Order) -> int:
    path = order.out.parent / f"{order.out.name}.{row.spec.fixed.ratio}.tries"
    with path.open("a") as file:
        file.write("once\n")
    return len(path.read_text().split())
