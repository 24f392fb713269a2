"""The names of a release's files. Nothing heavy is imported."""

from collections.abc import Iterable
from pathlib import Path

from tools.companions import GOLDEN, card_of
from tools.release import manifest

FOLDER = ".rvm-release"
"""The hidden folder of records, which no sum and no signature covers."""

JUNIT = "parity.xml"
REPORT = "report.html"
SBOM = "sbom.cdx.json"
LICENCE_TEXT = "LICENSE"
SUMS = "SHA256SUMS"
"""The sums of all files but itself and the signature."""

SIGNATURE = "model.sig"
"""The signature of all files but itself."""

DESCRIBING = (manifest.NAME, JUNIT, REPORT, SBOM, GOLDEN, LICENCE_TEXT)
"""The files of a whole release beside its models and their cards; all are in the sums."""


def summed(models: Iterable[str]) -> set[str]:
    """Return the names of all files in the sums of a release of these models."""
    files = [Path(name) for name in models]
    return {*DESCRIBING, *(each.name for path in files for each in (path, card_of(path)))}
