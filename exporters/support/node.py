"""Find Node and check the npm packages of a program of ours."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from exporters.format import MissingPackage

OLDEST_NODE = 20


def find_node(runtime: str, folder: Path) -> str:
    """Return the path of Node if it is new enough and the package in `folder` has its dependencies installed.

    Args:
        runtime: The name of the runtime that needs Node, for messages.
        folder: A folder with a `package.json` whose dependencies are exact versions.

    Raises:
        MissingPackage: Node is missing or too old, or a package is not installed in its exact version.
    """
    node = shutil.which("node")
    if node is None:
        raise MissingPackage(f"{runtime} needs Node {OLDEST_NODE} or newer, and no node is on the PATH; install it")
    try:
        asked = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPackage(
            f"{runtime} needs Node {OLDEST_NODE} or newer, and {node} does not run: {error}"
        ) from error
    version = asked.stdout.strip()
    major = re.match(r"v(\d+)\.", version)
    if major is None or int(major[1]) < OLDEST_NODE:
        raise MissingPackage(
            f"{runtime} needs Node {OLDEST_NODE} or newer, and {node} is {version or 'none'}; install one"
        )
    require_packages(folder)
    return node


def require_packages(folder: Path) -> None:
    """Raise MissingPackage if a dependency of the package in `folder` is not installed there in its exact version."""
    for package, wanted in json.loads((folder / "package.json").read_text())["dependencies"].items():
        try:
            found = json.loads((folder / "node_modules" / package / "package.json").read_text())["version"]
        except (FileNotFoundError, ValueError, KeyError):  # missing or truncated
            found = "none"
        if found != wanted:
            raise MissingPackage(
                f"{package} {wanted} is needed, and {found} is installed; run: npm ci --prefix {folder}"
            )
