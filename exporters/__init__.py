"""Exporters, one folder per format. The folders are the registry, and this is the only door to their heavy imports."""

import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from exporters.spec import ArtifactError, Format, MissingPackage

if TYPE_CHECKING:
    from exporters.runtime import Exporter, Runtime

FORMATS: dict[str, Format] = {
    module.name: import_module(f"exporters.{module.name}").FORMAT
    for module in pkgutil.iter_modules(__path__)
    if module.ispkg
}


def load_exporter(name: str) -> "Exporter":
    """The export module of a format, imported now. Raises MissingPackage."""
    return cast("Exporter", _load(name, "export"))


def load_runtime(name: str) -> "Runtime":
    """The runtime module of a format, imported now. Raises MissingPackage."""
    return cast("Runtime", _load(name, "runtime"))


def recognise(path: Path) -> str:
    """The name of a file's format, told from its content.

    Raises:
        ArtifactError: no such file, a folder, a pipe or device, or no format that we know.
    """
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():
            raise ArtifactError(f"{path} is no regular file; write what it gives into one first")
        for name, description in FORMATS.items():
            if description.recognise(path):
                return name
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    titles = ", ".join(description.title for description in FORMATS.values())
    raise ArtifactError(f"{path} is none of the formats known here ({titles}), or is damaged")


def _load(name: str, module: str) -> ModuleType:
    try:
        return import_module(f"exporters.{name}.{module}")
    except ModuleNotFoundError as error:
        # Anything but a package that the format declares is our own mistake, and must look like one.
        package = (error.name or "").partition(".")[0]
        if package not in FORMATS[name].packages:
            raise
        extra = FORMATS[name].extra
        raise MissingPackage(f"{name} needs {package}; run: pip install 'rvm-export[{extra}]'") from error
