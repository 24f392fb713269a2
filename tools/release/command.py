"""`rvm-export release` and `rvm-export release verify`, from their options to the exit code."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.format import MissingPackage
from rvm_model.errors import UserError
from rvm_model.state import VARIANTS
from tools.shared.console import say_error, stderr_console
from tools.shared.stdout import print_result

if TYPE_CHECKING:
    from tools.release.build import Order

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_PACKAGES = ("filelock", "jinja2", "matplotlib", "pydantic")


@dataclass(frozen=True, kw_only=True)
class ReleaseOptions:
    """The options that making a release and checking one share.

    `out` is the release's folder. `checkpoints` are its weights, in the form of `parse_checkpoints`. `trust` opens
    those that are code. `clip` is an image folder or a video; None is the built-in clip. `frames` is the number of
    frames; None means 24, or 12 large ones. `jobs` is the number of files to work on at a time; None means as many as
    cores and memory allow. `cluster` is the address of a Dask scheduler, or None.
    """

    out: Path
    checkpoints: Sequence[str]
    trust: bool
    clip: Path | None
    frames: int | None
    jobs: int | None
    cluster: str | None


def release(
    options: ReleaseOptions, *, only: Sequence[str], light: bool, version: str, check_reproducible: bool
) -> int:
    """Make a release, print the paths of its files, and return the exit code: 1 if one is missing or not reproducible.

    Raises:
        UserError: see `make_release`.
    """
    _require()
    from tools.release.check import differences
    from tools.release.make import REPORT, chosen, make_release, resolve_order
    from tools.shared.models import parse_checkpoints

    if not _VERSION.fullmatch(version):
        raise UserError(f"--version {version!r}: give letters, digits and . + - _, such as 1.1.0")
    variants = [*dict.fromkeys(row.spec.variant for row in chosen(only, light))]
    sources = parse_checkpoints(options.checkpoints or ["auto"], variants, options.trust)
    order = resolve_order(_order(options, sources))
    paths, failures = make_release(order, version, only, light, options.jobs, options.cluster)
    for path in paths:
        print_result(path)
    console = stderr_console()
    console.print(f"the report: {order.out / REPORT}", soft_wrap=True)
    for failure in failures:
        say_error(f"{failure.name} is not there: {failure.error}", 1)
    if failures:
        return 1
    if not check_reproducible:
        return 0
    console.print("making it again, to compare")
    other = differences(order, version, only, light, options.jobs, options.cluster)
    for difference in other:
        say_error(difference, 1)
    if not other:
        console.print(
            "reproducible: made again in other processes and another folder, every file is the same bytes",
            soft_wrap=True,
        )
    return int(bool(other))


def verify(options: ReleaseOptions) -> int:
    """Check a release, and return the exit code: 1 if anything differs.

    Raises:
        UserError: see `check_release`.
    """
    _require()
    from tools.release.check import check_release
    from tools.release.make import resolve_order
    from tools.shared.models import parse_checkpoints

    sources = parse_checkpoints(options.checkpoints, VARIANTS, options.trust)
    if "auto" in sources.values():
        raise UserError("--checkpoint auto could be other weights than the release's; give a path, official or seeded")
    order = resolve_order(_order(options, sources))
    doubts = check_release(order, options.jobs, options.cluster)
    for doubt in doubts:
        say_error(doubt, 1)
    if doubts:
        return 1
    stderr_console().print(f"ok: {options.out} is whole, and each file computes what PyTorch computes", soft_wrap=True)
    return 0


def _order(options: ReleaseOptions, sources: dict[str, str]) -> "Order":
    from tools.release.build import Order

    return Order(out=options.out, checkpoints=sources, clip=options.clip, frames=options.frames, trust=options.trust)


def _require() -> None:
    for package in _PACKAGES:
        if find_spec(package) is None:
            raise MissingPackage(f"a release needs {package}; run: pip install 'rvm-export[release]'")
