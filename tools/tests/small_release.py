"""Releases of a few small files, small enough for tests.

`python -m tools.tests.small_release FOLDER [FILES]` makes one in its own process, from seeded weights, one job at a
time.
"""

import sys
from pathlib import Path
from typing import Any

import pytest

from exporters import FORMATS
from exporters.spec import Fixed
from tools.release import make
from tools.release.build import Order
from tools.release.contents import Row
from tools.tests.jobs_here import call_here

VERSION = "1.2.3"
RATIOS = (0.5, 1.0)


def small_row(ratio: float, variant: str = "mobilenetv3") -> Row:
    """Return the row of an ONNX file of one small size, which takes two seconds to make and verify."""
    fixed = Fixed(width=96, height=64, ratio=ratio)
    spec = FORMATS["onnx"].spec(variant=variant, refiner="deep_guided_filter", precision="fp32", fixed=fixed)
    return Row(format="onnx", spec=spec, light=True)


ROWS = tuple(map(small_row, RATIOS))


def order_of(out: Path) -> Order:
    return Order(out=out, checkpoints={"mobilenetv3": "seeded"}, frames=16)


def make_here(out: Path, count: int = len(ROWS)) -> None:
    """Make a release of the first rows, with all its jobs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "read_table", lambda: ROWS[:count])
        patch.setattr("tools.jobs.runner.in_process", call_here)
        paths, failures = make.make_release(order_of(out), VERSION, [], True, 1, None)
    assert (len(paths), failures) == (count, [])


def again(*arguments: Any) -> list[tuple[str, str]]:
    """Run `check._again` with these rows, in another process."""
    make.read_table = lambda: ROWS
    _, failures = make.make_release(*arguments)
    return [(each.name, each.error) for each in failures]


def main(out: Path, count: int = len(ROWS)) -> None:
    make.read_table = lambda: ROWS[:count]
    paths, failures = make.make_release(order_of(out), VERSION, [], True, 1, None)
    sys.exit(len(paths) < count or bool(failures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
