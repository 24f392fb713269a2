"""Fixtures: the command, run in this process, and artifacts to run it on."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporters import FORMATS
from exporters.spec import Fixed
from tools.cli import main
from tools.tests.hostile import good_files
from tools.tests.hostile.home import Home
from tools.tests.jobs_here import call_here

_SIZE = Fixed(width=160, height=96, ratio=0.5)
ONE_SIZE = {
    "coreml": {"fixed": _SIZE, "zip": True},
    "executorch": {"fixed": _SIZE},
    "litert": {"fixed": _SIZE},
    "ncnn": {"fixed": _SIZE, "zip": True},
    "openvino": {"zip": True},
    "pt2": {"fixed": _SIZE},
}
"""Options that a format's files require. Folders are written as zip files, since most tests take a file."""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Return the one error line of a failed command. Check that there is exactly one, and no traceback."""
        assert "Traceback" not in self.err
        (line,) = [line for line in self.err.splitlines() if line.startswith("rvm-export: error: ")]
        return line


@pytest.fixture
def run(monkeypatch, capfd) -> Callable[..., Result]:
    def command(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["rvm-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main.main()
        out, err = capfd.readouterr()
        assert isinstance(caught.value.code, int)
        assert "rvm-export: internal error" not in err, err
        return Result(caught.value.code, out, err)

    return command


@pytest.fixture
def jobs_here(monkeypatch) -> None:
    """Run jobs in this process, for tests of what they do rather than of their processes."""
    monkeypatch.setattr("tools.jobs.runner.in_process", call_here)


@pytest.fixture(scope="session")
def seeded_artifacts(exported) -> dict[str, Path]:
    """Return one fp32 file of seeded MobileNetV3 weights for each format. Tests must not change them.

    Processes begin at both ends, so that they do not wait for each other's exports.
    """
    is_odd = os.environ.get("PYTEST_XDIST_WORKER", "gw0")[-1] in "13579"
    files = {name: exported(name, **ONE_SIZE.get(name, {})) for name in sorted(FORMATS, reverse=is_odd)}
    return {name: files[name] for name in FORMATS}


@pytest.fixture(scope="session")
def hostile_home(tmp_path_factory, common_folder, seeded_artifacts, exported, node, require) -> Home:
    """Return a home of hostile files with good files of every kind, see `tools/tests/hostile`. Linux only."""
    require("linux", sys.platform == "linux", "memory limits and watches of files are Linux's here")
    models = {name: seeded_artifacts[format_name] for name, (format_name, _) in good_files.ANY_SIZE.items()}
    # In eight bits, whose weights are one shard, as constructions expect.
    models["tfjs.zip"] = exported("tfjs", precision="int8")
    models |= {name: exported(format_name, **options) for name, (format_name, options) in good_files.ONE_SIZE.items()}
    with common_folder("hostile") as folder:
        if not (folder / "home").exists():
            good_files.write_good_files(Home(folder / "unfinished"), models)
            (folder / "unfinished").rename(folder / "home")
        home = Home(tmp_path_factory.mktemp("hostile") / "home")
        shutil.copytree(folder / "home", home.root)
    home.make()
    return home


@pytest.fixture(params=FORMATS)
def artifact(request, seeded_artifacts, tmp_path) -> Path:
    """Return a copy of one of the seeded artifacts."""
    return Path(shutil.copy(seeded_artifacts[request.param], tmp_path))
