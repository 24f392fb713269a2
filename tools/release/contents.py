"""The contents of a release, read from `contents.toml`: each row is the spec of one file."""

import tomllib
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from exporters import FORMATS
from exporters.spec import ExportSpec, Fixed
from tools.shared.sizes import parse_resolution


@dataclass(frozen=True, kw_only=True)
class Row:
    """A file of the release. `light` means that the small release has it too."""

    format: str
    spec: ExportSpec
    light: bool

    def file_name(self, seeded: bool) -> str:
        return self.spec.file_name(self.spec.suffix(FORMATS[self.format].suffix), seeded)

    def facts(self) -> dict[str, Any]:
        """Return all options with their values, as plain data."""
        return asdict(self.spec)


def read_table() -> tuple[Row, ...]:
    """Return all rows, in the table's order."""
    text = files("tools.release").joinpath("contents.toml").read_text()
    return tuple(map(_row, tomllib.loads(text)["artifact"]))


def _row(given: dict[str, Any]) -> Row:
    options = dict(given)
    name, light = options.pop("format"), options.pop("light", False)
    options.setdefault("refiner", "deep_guided_filter")
    if "resolution" in options:
        width, height = parse_resolution("resolution", options.pop("resolution"))
        options["fixed"] = Fixed(width=width, height=height, ratio=options.pop("downsample_ratio"))
    elif "downsample_ratio" in options:  # of a file for any size
        options["ratio"] = options.pop("downsample_ratio")
    return Row(format=name, spec=FORMATS[name].spec(**options), light=light)
