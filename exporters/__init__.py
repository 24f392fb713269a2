"""The exporters, one folder per format. This module lists the formats; it alone imports their heavy packages.

It is also the only door from a path to an `Artifact`: `describe` reads a file, `open_artifact` makes it playable.
"""

import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from exporters.artifact import Artifact, ArtifactError, UnknownFormat, Untrusted
from exporters.format import Format, MissingPackage, UnknownRuntime
from rvm_model.files import sha256_of

if TYPE_CHECKING:
    from exporters.layers import Opener
    from exporters.recovery.dataflow import RecoveryModule
    from exporters.runtime import Exporter, Runtime
    from exporters.support.contents import Scanner

# onnxruntime 1.32 reports each session to its makers over the network, unless this is set before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

NAMES = ("coreml", "executorch", "litert", "ncnn", "onnx", "openvino", "pt2", "tensorflow", "tfjs", "torchscript")
"""The formats, each the name of a folder beside this file."""

FORMATS: dict[str, Format] = {name: import_module(f"exporters.{name}").FORMAT for name in NAMES}


def load_exporter(name: str) -> "Exporter":
    """Import a format's export module and return it. Raises MissingPackage."""
    require_packages(name, FORMATS[name].packages, FORMATS[name].extra, FORMATS[name].afterwards)
    return cast("Exporter", import_module(f"exporters.{name}.export"))


def load_runtime(name: str, runtime: str | None = None) -> "Runtime":
    """Import a runtime of a format and return its module, with the runtime's options applied to `load`.

    Without a name it loads the format's default runtime. Raises UnknownRuntime, MissingPackage.
    """
    description = FORMATS[name]
    runtime = runtime or description.default_runtime
    if runtime not in description.runtimes:
        names = ", ".join(description.runtimes)
        raise UnknownRuntime(f"{description.title} files do not run in {runtime!r}; give as --runtime one of: {names}")
    info = description.runtimes[runtime]
    require_packages(f"{name} in {runtime}", info.packages, info.extra, info.afterwards)
    module = import_module(f"exporters.{name}.{info.module}")
    if not info.options:
        return cast("Runtime", module)
    load = partial(module.load, **info.options)
    return cast("Runtime", SimpleNamespace(inspect=module.inspect, load=load, to_numpy=module.to_numpy))


def check_installed(name: str) -> None:
    """Check that the packages for exporting a format and for its default runtime are installed. Imports nothing.

    Raises MissingPackage.
    """
    description = FORMATS[name]
    require_packages(name, description.packages, description.extra, description.afterwards)
    judge = description.runtimes[description.default_runtime]
    require_packages(name, judge.packages, judge.extra, judge.afterwards)


def load_layers(name: str) -> "Opener":
    """Import the layers module of a format that has one, and return it. Raises MissingPackage."""
    info = FORMATS[name].runtimes[FORMATS[name].default_runtime]
    require_packages(name, info.packages, info.extra, info.afterwards)
    return cast("Opener", import_module(f"exporters.{name}.layers"))


def load_recovery(name: str) -> "RecoveryModule":
    """Import the module that reads a format's graphs for `match.py`, and return it. Raises MissingPackage."""
    info = FORMATS[name].runtimes[FORMATS[name].default_runtime]
    require_packages(name, info.packages, info.extra, info.afterwards)
    return cast("RecoveryModule", import_module(f"exporters.{name}.recovery"))


def load_scan(name: str) -> "Scanner":
    """Import the function that says what a format's file holds, without running it. Raises MissingPackage."""
    info = FORMATS[name].runtimes[FORMATS[name].default_runtime]
    require_packages(name, info.packages, info.extra, info.afterwards)
    return cast("Scanner", import_module(f"exporters.{name}.scan").scan)


def recognise(path: Path) -> str:
    """Return the name of a file's or folder's format, judged by its content.

    Raises:
        ArtifactError: the path does not exist, is a pipe or device, or its suffix is another format's.
        UnknownFormat: it is none of the formats.
    """
    try:
        path.stat()
        if not (path.is_file() or path.is_dir()):
            raise ArtifactError(f"{path} is no regular file; write what it gives into one first")
        name = _format_of(path)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    if name is None:
        titles = ", ".join(description.title for description in FORMATS.values())
        raise UnknownFormat(f"{path} is none of the formats known here ({titles}), or is damaged{_advice(path)}")
    _refuse_lie(path, name)
    return name


def _format_of(path: Path) -> str | None:
    return next((name for name, description in FORMATS.items() if description.recognise(path)), None)


def _advice(path: Path) -> str:
    """Return what to do with a file or folder that is often given for an exported one."""
    if path.is_dir():
        return "; give the files in this folder themselves"
    with suppress(OSError):
        if _format_of(path.parent):
            return f"; the model is the folder: give {path.parent}"
    suffix = path.suffix.lower()
    if suffix in (".pth", ".pt", ".safetensors"):
        return "; a checkpoint has no graph: export it first, or give it as --checkpoint"
    if suffix in (".mp4", ".mkv", ".mov", ".webm", ".avi", ".png", ".jpg", ".jpeg"):
        return "; a video or a picture is no model: give it as the clip or the input"
    return ""


def describe(path: Path, runtime: str | None = None) -> Artifact:
    """Describe an exported file or folder, for a runtime or the format's default one. Runs none of it.

    A file that is code cannot be played from this description. See `open_artifact`.

    Raises:
        ArtifactError: as `recognise`, or the file is damaged or no matting network.
        UnknownRuntime, MissingPackage: see `load_runtime`.
    """
    return load_runtime(recognise(path), runtime).inspect(path)


def open_artifact(path: Path, *, trust: bool, runtime: str | None = None) -> Artifact:
    """Open an exported file or folder to play it. No other function gives an artifact that may be run as code.

    Args:
        path: The file or folder.
        trust: Whether a file that is code may be run: the user trusts it, or this command has just written it.
        runtime: The runtime to describe it for; None for the format's default one.

    Raises:
        Untrusted: the file is code, and is not trusted.
        ArtifactError, UnknownRuntime, MissingPackage: as `describe`.
    """
    artifact = describe(path, runtime)
    description = FORMATS[artifact.format]
    if not description.is_code:
        return artifact
    if not trust:
        raise Untrusted.of(path, description.title)
    return replace(artifact, trusted_sha256=sha256_of(path))


def _refuse_lie(path: Path, name: str) -> None:
    """Raise ArtifactError if a file's suffix says that it is of another format than its content is."""
    suffix = path.suffix.lower()
    others = [each.title for each in FORMATS.values() if suffix in each.suffixes]
    if others and FORMATS[name].title not in others:
        title = FORMATS[name].title
        raise ArtifactError(
            f"{path} is {title} by its content, and {' or '.join(others)} by its name; give the right file, or a name "
            f"that ends in {FORMATS[name].suffix}"
        )


def require_packages(what: str, packages: tuple[str, ...], extra: str, afterwards: str = "") -> None:
    """Raise MissingPackage if a package that `what` needs is not installed. Imports nothing.

    Any other import that fails is a bug of ours, and must not be reported as a missing package.
    """
    command = " && ".join([f"pip install 'rvm-export[{extra}]'", *([afterwards] if afterwards else [])])
    for package in packages:
        if find_spec(package) is None:
            raise MissingPackage(f"{what} needs {package}; run: {command}")
