"""Exporters, one folder per format. This names the formats, and is the only door to their heavy imports."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from exporters.spec import ArtifactError, Format, MissingPackage, UnknownRuntime

if TYPE_CHECKING:
    from exporters.layers import Opener
    from exporters.recovery.dataflow import Reader
    from exporters.runtime import Exporter, Runtime

NAMES = ("coreml", "onnx", "tensorflow", "tfjs", "torchscript")
"""The formats, each the name of a folder beside this file."""

FORMATS: dict[str, Format] = {name: import_module(f"exporters.{name}").FORMAT for name in NAMES}


def load_exporter(name: str) -> "Exporter":
    """The export module of a format, imported now. Raises MissingPackage."""
    _require(name, FORMATS[name].packages, FORMATS[name].extra, FORMATS[name].afterwards)
    return cast("Exporter", import_module(f"exporters.{name}.export"))


def load_runtime(name: str, runtime: str | None = None) -> "Runtime":
    """A runtime module of a format, imported now; its first without a name. Raises UnknownRuntime, MissingPackage."""
    description = FORMATS[name]
    runtime = runtime or description.default_runtime
    if runtime not in description.runtimes:
        names = ", ".join(description.runtimes)
        raise UnknownRuntime(f"{description.title} files do not run in {runtime!r}; give as --runtime one of: {names}")
    info = description.runtimes[runtime]
    _require(f"{name} in {runtime}", info.packages, info.extra)
    return cast("Runtime", import_module(f"exporters.{name}.{info.module}"))


def check_installed(name: str) -> None:
    """Raises MissingPackage for what making a format's files and judging them needs. Nothing is imported."""
    description = FORMATS[name]
    _require(name, description.packages, description.extra, description.afterwards)
    judge = description.runtimes[description.default_runtime]
    _require(name, judge.packages, judge.extra)


def load_layers(name: str) -> "Opener":
    """The layers module of a format that has one, imported now. Raises MissingPackage."""
    info = FORMATS[name].runtimes[FORMATS[name].default_runtime]
    _require(name, info.packages, info.extra)
    return cast("Opener", import_module(f"exporters.{name}.layers"))


def load_reader(name: str) -> "Reader":
    """The module of a format that writes its graphs down for `match.py`, imported now. Raises MissingPackage."""
    info = FORMATS[name].runtimes[FORMATS[name].default_runtime]
    _require(name, info.packages, info.extra)
    return cast("Reader", import_module(f"exporters.{name}.recovery"))


def recognise(path: Path) -> str:
    """The name of a file's or folder's format, told from its content.

    Raises:
        ArtifactError: no such file or folder, a pipe or device, or no format that we know.
    """
    try:
        path.stat()
        if not (path.is_file() or path.is_dir()):
            raise ArtifactError(f"{path} is no regular file; write what it gives into one first")
        for name, description in FORMATS.items():
            if description.recognise(path):
                return name
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    titles = ", ".join(description.title for description in FORMATS.values())
    raise ArtifactError(f"{path} is none of the formats known here ({titles}), or is damaged")


def _require(what: str, packages: tuple[str, ...], extra: str, afterwards: str = "") -> None:
    """Only what is declared may be missing: any other failing import is our own mistake, and must look like one."""
    command = " && ".join([f"pip install 'rvm-export[{extra}]'", *([afterwards] if afterwards else [])])
    for package in packages:
        if find_spec(package) is None:
            raise MissingPackage(f"{what} needs {package}; run: {command}")
