"""ONNX files through onnxruntime-web: its WebAssembly build, as browsers run it, in Node."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporters.onnx.artifact import inspect
from exporters.onnx.process import running
from exporters.onnx.step import make_step, to_numpy
from exporters.runtime import Device, Step
from exporters.spec import Artifact, MissingPackage
from rvm_model.device import DeviceError

__all__ = ["inspect", "load", "to_numpy"]

NAME = "onnxruntime-web"
OLDEST_NODE = 20
FOLDER = Path(__file__).parent / "web"


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:
    """Ready to play. See `exporters.runtime.Runtime`."""
    if device != "cpu":
        raise DeviceError(f"{NAME} runs on the CPU here, not on {device}; use --device cpu")
    with running([find_node(), FOLDER / "main.mjs"], artifact, NAME) as run:
        yield make_step(artifact, ratio, run)


def find_node() -> str:
    """The path of Node, where it is new enough and has its packages. Raises MissingPackage."""
    node = shutil.which("node")
    if node is None:
        raise MissingPackage(f"{NAME} needs Node {OLDEST_NODE} or newer, and no node is on the PATH; install it")
    try:
        asked = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPackage(f"{NAME} needs Node {OLDEST_NODE} or newer, and {node} does not run: {error}") from error
    version = asked.stdout.strip()
    major = re.match(r"v(\d+)\.", version)
    if major is None or int(major[1]) < OLDEST_NODE:
        raise MissingPackage(
            f"{NAME} needs Node {OLDEST_NODE} or newer, and {node} is {version or 'none'}; install one"
        )
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"][NAME]
    try:
        found = json.loads((FOLDER / "node_modules" / NAME / "package.json").read_text())["version"]
    except (FileNotFoundError, ValueError, KeyError):  # not there, or cut short
        found = "none"
    if found != wanted:
        raise MissingPackage(f"{NAME} {wanted} is needed, and {found} is installed; run: npm ci --prefix {FOLDER}")
    return node
