"""Describe a format: its name, its packages, how to recognise its files. Imports nothing heavy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from exporters.spec import ExportSpec, Profile
from rvm_model.errors import UserError


@dataclass(frozen=True, kw_only=True)
class RuntimeInfo:
    """A runtime of a format's files: a module in the format's folder, options of its `load`, and the packages it needs.

    `extra` installs those packages, except those that the command `afterwards` installs. `is_device` is false for a
    runtime that computes as a device does, but at another speed.
    """

    module: str
    extra: str
    packages: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    is_device: bool = True
    afterwards: str = ""


@dataclass(frozen=True, kw_only=True)
class Format:
    """The description of a format, available before anything heavy is imported.

    * `packages`: modules that exporting needs. `extra` installs them, except those that the command `afterwards`
      installs.
    * `runtimes`: the modules that run its files, by the name that users give. The default is first.
    * `recognise`: returns True for the format's files or folders. It looks at the first bytes or the listing, never at
      the name, and never fails on another kind.
    * `spec`: the class of the format's options.
    * `one_size`: True if a file is made for one size, or for any at one ratio. Tests and benchmarks make one for each
      size.
    * `other_suffixes`: suffixes that its files may have besides `suffix`.
    * `call`: how a consumer calls a file, in the words of its language. `first_states`: the states before the first
      frame of a file that takes any size.
    * `is_code`: True if a file is a program that runs when it is loaded. It is not loaded unless the user trusts it.
    * `values`: the dtype between layers for each precision: `float32`, `float16`, or `uint8` in the quantised layers.
    * `not_run`: runtimes, by their names, devices and systems that its files are for, and that were never tried.
    * `ratio_dtype`: the dtype in which a file holds the downsample ratio, by which it samples the source.
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
    not_run: tuple[str, ...] = ()
    one_size: bool = False
    other_suffixes: tuple[str, ...] = ()
    is_code: bool = False
    call: str = "call it by the names of its inputs"
    first_states: str = "zeros of their own sizes"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Return all suffixes of the format's files, in lower case."""
        return (self.suffix, *self.other_suffixes)

    @property
    def default_runtime(self) -> str:
        return next(iter(self.runtimes))


class MissingPackage(UserError):
    """A package that a format or runtime needs is not installed. The message is one line and says what to install."""


class UnknownRuntime(UserError):
    """The format has no runtime of that name. The message is one line and lists the names."""
