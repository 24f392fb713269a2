"""Fresh environments: the built wheel, and exactly the packages that it declares with some extras.

The packages are linked from this environment, not installed again. A package that is used but not declared is missing.
"""

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=600)
    (wheel,) = folder.glob("*.whl")
    return wheel


def fresh(wheel: Path, folder: Path, extras: Sequence[str], beside: Sequence[str] = ()) -> Path:
    """Make `folder` an environment with these extras, and return it. `beside` are packages installed with --no-deps."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (ours,) = (PathDistribution(path) for path in folder.glob("*.dist-info"))
    for name in sorted(_needed(ours, extras) | {*beside}):
        _link(distribution(name), folder)
    return folder


def run(environment: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the command with an interpreter that sees only that environment, in another folder."""
    code = "from tools.cli.main import main; main()"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "OMP_NUM_THREADS") if name in os.environ}
    return subprocess.run(
        [sys._base_executable, "-S", "-c", code, *map(str, words)],
        cwd=environment.parent,
        env={**kept, "PYTHONPATH": str(environment), "PYTHONNOUSERSITE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def _needed(ours: Distribution, extras: Sequence[str]) -> set[str]:
    """Return the names of all packages that pip would install."""
    found: dict[str, set[str]] = {}
    waiting = [(ours, extra) for extra in ("", *extras)]
    while waiting:
        of, extra = waiting.pop()
        for each in map(Requirement, of.requires or ()):
            if each.marker is not None and not each.marker.evaluate({"extra": extra}):
                continue
            if each.name == ours.name:
                waiting += [(ours, more) for more in each.extras]
                continue
            name = each.name.lower().replace("_", "-")
            new = {"", *each.extras} - found.setdefault(name, set())
            found[name] |= new
            waiting += [(distribution(name), more) for more in new]
    return {*found}


def _link(package: Distribution, folder: Path) -> None:
    """Link a package's modules. A folder that several packages share, such as google, becomes a folder of links."""
    source = Path(str(package.locate_file("")))
    for name in sorted({file.parts[0] for file in package.files or () if file.parts[0] != ".."}):
        _link_one(source / name, folder / name, {file.parts for file in package.files or ()})


def _link_one(source: Path, target: Path, files: set[tuple[str, ...]]) -> None:
    if source.is_dir() and not (source / "__init__.py").exists() and source.suffix != ".dist-info":
        target.mkdir(exist_ok=True)
        for each in source.iterdir():
            _link_one(each, target / each.name, files)
    elif source.exists() and not target.exists():
        target.symlink_to(source)
