"""Node and the packages that a program of ours needs in it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from exporters.spec import MissingPackage

OLDEST_NODE = 20


def find_node(runtime: str, folder: Path) -> str:
    """The path of Node, where it is new enough and has what the package in `folder` needs.

    Args:
        runtime: Who needs it, for messages.
        folder: With a `package.json` whose dependencies are exact versions.

    Raises:
        MissingPackage: no Node or an old one, or a package that is not installed in its version.
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
    """Raises MissingPackage if what the package in `folder` needs is not installed there in its version."""
    for package, wanted in json.loads((folder / "package.json").read_text())["dependencies"].items():
        try:
            found = json.loads((folder / "node_modules" / package / "package.json").read_text())["version"]
        except (FileNotFoundError, ValueError, KeyError):  # not there, or cut short
            found = "none"
        if found != wanted:
            raise MissingPackage(
                f"{package} {wanted} is needed, and {found} is installed; run: npm ci --prefix {folder}"
            )
