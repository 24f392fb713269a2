"""Fixtures: the command, run in this process, and artifacts to run it on."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from exporters import FORMATS, load_exporter
from exporters.spec import Fixed
from rvm_model import load_checkpoint
from tools.cli import main
from tools.tests.hostile import good_files
from tools.tests.hostile.home import Home

_SIZE = Fixed(width=160, height=96, ratio=0.5)
ONE_SIZE = {
    "coreml": {"fixed": _SIZE, "zip": True},
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


@contextmanager
def shared_folder(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """Yield a folder that all processes of a test run share, to one of them at a time."""
    place = factory.getbasetemp()
    folder = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / name
    with FileLock(f"{folder}.lock"):
        folder.mkdir(exist_ok=True)
        yield folder


@pytest.fixture(scope="session")
def seeded_artifacts(tmp_path_factory) -> dict[str, Path]:
    """Return one fp32 file of seeded MobileNetV3 weights for each format. Tests must not change them."""
    checkpoint, paths = load_checkpoint("seeded"), {}
    with shared_folder(tmp_path_factory, "seeded") as folder:
        for name, description in FORMATS.items():
            spec = description.spec(
                variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", **ONE_SIZE.get(name, {})
            )
            paths[name] = folder / spec.file_name(spec.suffix(description.suffix), seeded=True)
            if not paths[name].exists():
                load_exporter(name).export(checkpoint, spec, paths[name])
    return paths


@pytest.fixture(scope="session")
def hostile_home(tmp_path_factory, seeded_artifacts, node, require) -> Home:
    """Return a home of hostile files with good files of every kind, see `tools/tests/hostile`. Linux only."""
    require("linux", sys.platform == "linux", "memory limits and watches of files are Linux's here")
    made = {name: seeded_artifacts[format_name] for name, (format_name, _) in good_files.ANY_SIZE.items()}
    # In eight bits, whose weights are one shard, as constructions expect.
    fresh = {**good_files.ONE_SIZE, "tfjs.zip": good_files.ANY_SIZE["tfjs.zip"]}
    with shared_folder(tmp_path_factory, "hostile") as folder:
        if not (folder / "home").exists():
            models = good_files.make_models(folder, fresh)
            good_files.write_good_files(Home(folder / "unfinished"), {**made, **models})
            (folder / "unfinished").rename(folder / "home")
        home = Home(tmp_path_factory.mktemp("hostile") / "home")
        shutil.copytree(folder / "home", home.root)
    home.make()
    return home


@pytest.fixture(params=FORMATS)
def artifact(request, seeded_artifacts, tmp_path) -> Path:
    """Return a copy of one of the seeded artifacts."""
    return Path(shutil.copy(seeded_artifacts[request.param], tmp_path))
