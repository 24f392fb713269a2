"""The targets of `rvm-export for`, read from `targets.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from exporters import FORMATS
from exporters.spec import BakedSpec, ExportSpec, FixableSpec, Fixed

VARIANT, REFINER = "mobilenetv3", "deep_guided_filter"
"""The projects are written for this variant: OBS and ncnn's program have the channels of its states written down."""


@dataclass(frozen=True, kw_only=True)
class ProjectFile:
    """One file of a project: its name in the folder, its name in `examples`, and what it is."""

    name: str
    source: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Target:
    """One consumer. `targets.toml` says what each field is."""

    name: str
    title: str
    format: str
    files: tuple[ProjectFile, ...]
    steps: tuple[str, ...]
    proof: str
    profile: str = ""
    contract: str = ""
    portable: bool = False
    resolution: str = ""
    downsample_ratio: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def one_size(self) -> bool:
        """Return whether its file is for one size."""
        return bool(self.resolution)

    def spec(self, size: Fixed | None) -> ExportSpec:
        """Return the spec of its file. `size` is None if the file takes any."""
        description = FORMATS[self.format]
        precision = description.precisions[0]
        options = dict(self.options)
        if self.profile:
            options |= description.profiles[self.profile].options(self.profile, precision, {}, size)
        if issubclass(description.spec, FixableSpec):
            options["fixed"] = size
        if issubclass(description.spec, BakedSpec) and size is None:
            options["ratio"] = self.downsample_ratio
        return description.spec(variant=VARIANT, refiner=REFINER, precision=precision, **options)


def read_targets() -> dict[str, Target]:
    """Return all targets by name, in the order of the file."""
    tables = tomllib.loads(files("tools.targets").joinpath("targets.toml").read_text())
    return {name: _target(name, table) for name, table in tables.items()}


def _target(name: str, table: Mapping[str, Any]) -> Target:
    project = tuple(ProjectFile(**each) for each in table["files"])
    return Target(name=name, **{**table, "files": project, "steps": tuple(table["steps"])})
