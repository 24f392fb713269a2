"""Scan a released file for what it should not hold: pickles, data outside of it, custom operations. Nothing runs."""

from pathlib import Path

from exporters import load_scan
from exporters.support.contents import members_of
from tools.release.manifest import Scan


def scan_file(path: Path, format_name: str) -> Scan:
    """Return what a file holds. Raises ArtifactError if it is damaged."""
    contents = load_scan(format_name)(path)
    members, pickles = members_of(path)
    return Scan(
        members=members,
        pickles=tuple(pickles),
        external=tuple(sorted(contents.external)),
        custom=tuple(sorted(contents.custom)),
        operations=dict(sorted(contents.operations.items())),
    )
