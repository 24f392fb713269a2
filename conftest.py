"""Fixtures of all packages, and the one rule on skipping.

A test that needs something this machine lacks is skipped with the reason. RVM_REQUIRE, a comma-separated list of such
things, turns the skip into a failure; CI names all that it has.
"""

import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from exporters import FORMATS, load_exporter
from exporters.format import MissingPackage
from exporters.onnx.runtimes import onnxruntime_web
from exporters.spec import Fixed
from exporters.support.node import find_node
from exporters.tfjs.chromium import find_chromium
from exporters.tfjs.step import FOLDER as TFJS_FOLDER
from parity_tests.cases import case_checkpoint, shared_folder


def require(what: str, present: bool, reason: str) -> None:
    """Skip unless `present`. Fail instead if RVM_REQUIRE names `what`."""
    if present:
        return
    if what in os.environ.get("RVM_REQUIRE", "").split(","):
        pytest.fail(f"RVM_REQUIRE names {what}: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Let SIGINT interrupt this process and those that tests start.

    A shell makes its background jobs ignore SIGINT, and so does `nohup make test &`. Children inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the key of `tools/jobs/seals.py` out of the home of whoever runs the tests."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], AbstractContextManager[Path]]:
    """Return a function that yields the folder of a name, common to all processes of a test run, to one at a time."""
    place = tmp_path_factory.getbasetemp()
    common = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place

    @contextmanager
    def locked(name: str) -> Iterator[Path]:
        with FileLock(f"{common / name}.lock"):
            (common / name).mkdir(exist_ok=True)
            yield common / name

    return locked


@pytest.fixture(scope="session")
def exported(common_folder: Callable[[str], AbstractContextManager[Path]]) -> Callable[..., Path]:
    """Return a function that exports a file once for all processes of a test run. Tests must not change the file.

    Its arguments are the format's name and the options of its spec. `weights` is one of `parity_tests.cases.Case`.
    """

    def export(name: str, weights: str = "seeded", **options: object) -> Path:
        usual = {"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "fp32"}
        spec = FORMATS[name].spec(**usual | options)
        digest = hashlib.sha256(f"{weights} {spec}".encode()).hexdigest()[:8]
        with common_folder(f"{name}-{digest}") as folder:
            path = folder / spec.file_name(spec.suffix(FORMATS[name].suffix), seeded=weights == "seeded")
            if not path.exists():  # an export that fails leaves nothing that looks finished
                (folder / "unfinished").mkdir(exist_ok=True)
                staged = folder / "unfinished" / path.name
                load_exporter(name).export(case_checkpoint(weights, spec.variant, spec.refiner), spec, staged)
                staged.rename(path)
        return path

    return export


@pytest.fixture(scope="session")
def litert_files(
    exported: Callable[..., Path], common_folder: Callable[..., AbstractContextManager[Path]]
) -> dict[str, Path]:
    """Return LiteRT files of one size in all ways to store weights. One process makes all, from one conversion."""
    fixed = Fixed(width=160, height=96, ratio=0.5)
    ways = {
        "fp32": {"precision": "fp32"},
        "fp16": {"precision": "fp16"},
        "int8": {"precision": "int8"},
        "int8 weights": {"precision": "int8", "int8": "weights"},
    }
    with common_folder("litert"):
        return {way: exported("litert", fixed=fixed, **options) for way, options in ways.items()}


@pytest.fixture(name="require", scope="session")
def require_fixture() -> Callable[[str, bool, str], None]:
    return require


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with trained weights and the real clip."""
    folder = shared_folder()
    require("shared", folder is not None, "no ../shared beside the project, and RVM_SHARED names none")
    assert folder is not None
    return folder


@pytest.fixture(scope="session")
def cuda() -> None:
    require("cuda", torch.cuda.is_available(), "no CUDA GPU on this machine")


@pytest.fixture(scope="session")
def node() -> str:
    """Return the path of a Node that can run onnxruntime-web and TensorFlow.js."""
    try:
        find_node("TensorFlow.js", TFJS_FOLDER)
        return find_node(onnxruntime_web.NAME, onnxruntime_web.FOLDER)
    except MissingPackage as error:
        require("node", False, str(error))
        raise


@pytest.fixture(scope="session")
def chromium(node: str) -> str:
    """Return the path of a Chromium that can run TensorFlow.js."""
    try:
        return find_chromium("the test")
    except MissingPackage as error:
        require("chromium", False, str(error))
        raise


@pytest.fixture(scope="session")
def openvino() -> None:
    require("openvino", find_spec("openvino") is not None, "openvino is not installed")


@pytest.fixture(scope="session")
def macos() -> None:
    require("macos", sys.platform == "darwin", "CoreML runs on macOS only")


@pytest.fixture(params=["onnxruntime-web", "openvino"])
def other_runtime(request) -> str:
    """Return a runtime of ONNX files other than the default, or skip if this machine lacks it."""
    request.getfixturevalue({"onnxruntime-web": "node"}.get(request.param, request.param))
    return str(request.param)
