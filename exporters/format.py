"""Describe a format: what it is called, what it needs, how its files are recognised. Nothing heavy is imported."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from exporters.spec import ExportSpec, Profile
from rvm_model.errors import UserError


@dataclass(frozen=True, kw_only=True)
class RuntimeInfo:
    """What runs a format's files: a module in its folder, options of its `load`, and packages, which `extra` installs.

    `is_device` is false for one that computes as a device does, but not in its time.
    """

    module: str
    extra: str
    packages: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    is_device: bool = True


@dataclass(frozen=True, kw_only=True)
class Format:
    """What a format's folder says of itself, before anything heavy is imported.

    `packages` are the modules that exporting needs and its extra installs, but for what the command `afterwards` does,
    which no extra can; `runtimes` are what plays its files, by the name that people give, the default first;
    `recognise` tells the format's files, or folders, by their first bytes or their listing, whatever they are called,
    and never fails on another kind; `spec` holds the format's options; `one_size` says that no file takes any size;
    `is_code` that a file is a program, which is not opened for its weights unless it is trusted; `values` says for each
    precision what a file keeps between its layers, `float32`, `float16`, or `uint8` in those that it quantises;
    `ratio_dtype` is how exactly a file holds the downsample ratio, by which it samples the source.
    """

    title: str
    help: str
    suffix: str
    precisions: tuple[str, ...]
    extra: str
    packages: tuple[str, ...]
    runtimes: Mapping[str, RuntimeInfo]
    recognise: Callable[[Path], bool]
    spec: type[ExportSpec]
    values: Mapping[str, str]
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    ratio_dtype: Literal["float32", "float64"] = "float32"
    afterwards: str = ""
    one_size: bool = False
    is_code: bool = False

    @property
    def default_runtime(self) -> str:
        return next(iter(self.runtimes))


class MissingPackage(UserError):
    """What a format or runtime needs is not installed. The message is one line and says what to install."""


class UnknownRuntime(UserError):
    """Nothing of that name runs the format's files. The message is one line with the names there are."""
