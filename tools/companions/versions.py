"""The tools that made and judged a file, for its key and the manifest: package versions, and our own source."""

import hashlib
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import rvm_model
from exporters import FORMATS
from exporters.support.metadata import release
from rvm_model import __version__

ALWAYS = ("torch", "numpy", "PIL")
_OURS = ("rvm_model", "exporters", "parity_tests", "tools/shared", "tools/companions", "tools/release")
"""Folders of the code that makes files, proves them, or records what was proved."""
_SUFFIXES = {".py", ".js", ".mjs", ".json", ".html", ".toml", ".png"}


def tools_of(format_name: str) -> dict[str, str]:
    """Return the versions, by name, of Python, this package, and the packages that make and judge such a file."""
    description = FORMATS[format_name]
    judging = description.runtimes[description.default_runtime].packages
    modules = dict.fromkeys((*ALWAYS, *description.packages, *judging))
    distributions = {name for module in modules for name in _distributions().get(module, ())}
    versions = {name: release(version(name)) for name in sorted(distributions)}
    if description.default_runtime == "node":
        versions["node"] = _node()
    return {"python": platform.python_version(), "rvm-export": __version__, **versions}


@cache
def source_sha256() -> str:
    """Return a hash of the source that makes, judges and shows files: if it changes, files are made again."""
    digest = hashlib.sha256()
    ours = Path(next(iter(rvm_model.__path__))).parent
    for folder in _OURS:
        root = ours / folder
        for file in sorted(root.rglob("*")):
            parts = file.relative_to(root).parts
            if file.suffix in _SUFFIXES and not {"tests", "node_modules"} & {*parts} and file.is_file():
                digest.update(f"{folder}/{'/'.join(parts)} ".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@cache
def _node() -> str:
    """Return Node's version, or "none": an error about missing Node comes when it is needed."""
    node = shutil.which("node")
    if node is None:
        return "none"
    return subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


@cache
def _distributions() -> dict[str, list[str]]:
    return {module: [*names] for module, names in packages_distributions().items()}
