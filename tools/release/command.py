"""`rvm-export release` and `rvm-export release verify`, from what was typed to the exit code."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import typer

from exporters.spec import MissingPackage
from rvm_model.errors import UserError
from rvm_model.state import VARIANTS
from tools.shared.console import say_error, stderr_console

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_PACKAGES = ("filelock", "jinja2", "matplotlib", "pydantic")


def release(
    checkpoints: Sequence[str],
    out: Path,
    only: Sequence[str],
    light: bool,
    clip: Path | None,
    frames: int | None,
    jobs: int | None,
    cluster: str | None,
    version: str,
    check_reproducible: bool,
    trust: bool,
) -> int:
    """Make a release, print the paths of its files, and give the exit code: 1 if one is missing or not reproducible.

    Raises:
        UserError: see `make_release`.
    """
    _require()
    from tools.release.build import Order
    from tools.release.check import differences
    from tools.release.make import REPORT, chosen, make_release, settle
    from tools.shared.models import parse_checkpoints

    if not _VERSION.fullmatch(version):
        raise UserError(f"--version {version!r}: give letters, digits and . + - _, such as 1.1.0")
    variants = [*dict.fromkeys(row.spec.variant for row in chosen(only, light))]
    sources = parse_checkpoints(checkpoints or ["auto"], variants, trust)
    order = settle(Order(out=out, checkpoints=sources, clip=clip, frames=frames, trust=trust))
    paths, failures = make_release(order, version, only, light, jobs, cluster)
    for path in paths:
        typer.echo(path)
    console = stderr_console()
    console.print(f"the report: {order.out / REPORT}", soft_wrap=True)
    for failure in failures:
        say_error(f"{failure.name} is not there: {failure.error}", 1)
    if failures:
        return 1
    if not check_reproducible:
        return 0
    console.print("making it again, to compare")
    other = differences(order, version, only, light, jobs, cluster)
    for difference in other:
        say_error(difference, 1)
    if not other:
        console.print(
            "reproducible: made again in other processes and another folder, every file is the same bytes",
            soft_wrap=True,
        )
    return int(bool(other))


def verify(
    folder: Path,
    checkpoints: Sequence[str],
    clip: Path | None,
    frames: int | None,
    jobs: int | None,
    cluster: str | None,
    trust: bool,
) -> int:
    """Doubt a release, and give the exit code: 1 on any doubt.

    Raises:
        UserError: see `check_release`.
    """
    _require()
    from tools.release.build import Order
    from tools.release.check import check_release
    from tools.release.make import settle
    from tools.shared.models import parse_checkpoints

    sources = parse_checkpoints(checkpoints, VARIANTS, trust)
    if "auto" in sources.values():
        raise UserError("--checkpoint auto could be other weights than the release's; give a path, official or seeded")
    order = settle(Order(out=folder, checkpoints=sources, clip=clip, frames=frames, trust=trust))
    doubts = check_release(order, jobs, cluster)
    for doubt in doubts:
        say_error(doubt, 1)
    if doubts:
        return 1
    stderr_console().print(f"ok: {folder} is whole, and each file computes what PyTorch computes", soft_wrap=True)
    return 0


def _require() -> None:
    for package in _PACKAGES:
        if find_spec(package) is None:
            raise MissingPackage(f"a release needs {package}; run: pip install 'rvm-export[release]'")
