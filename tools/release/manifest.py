"""`manifest.json`: the files of a release, their origin, and their parity with PyTorch.

Its JSON Schema is `docs/manifest.schema.json`, made from the classes here: `python -m tools.release.manifest`.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, StringConstraints, ValidationError

from rvm_model.errors import UserError
from rvm_model.files import read_file
from tools.companions.entry import Count, DescribedFile, Sha256, Strict

NAME = "manifest.json"
VERSION: Literal[2] = 2
"""The version of the schema. Raise it whenever a key is added, removed or means something else."""

_MOST_BYTES = 1_000_000
"""The largest manifest. One of 26 files has 200,000. A megabyte of nonsense takes 0.7 GB to say what is wrong."""

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=200)]
"""The name of a file in the release's own folder: no folders, nothing hidden."""


class ManifestError(UserError):
    """An invalid manifest. The message is one line for the user."""


class Weights(Strict):
    """The weights of a variant's files: `sha256` of the checkpoint file, `weights_sha256` of its content."""

    origin: Literal["file", "official", "seeded"]
    sha256: Sha256
    weights_sha256: Sha256


class Scan(Strict):
    """The contents of a file, read from its bytes without running it; `tools/release/scan.py` says what is looked for.

    `members` is the number of files in it, itself if it is no archive. `pickles` are the members that are pickles.
    `external` are the references to data outside of it. `custom` are the operations that no runtime of the format
    brings along. `operations` are the kinds of operations with their number.
    """

    members: Count
    pickles: tuple[str, ...]
    external: tuple[str, ...]
    custom: tuple[str, ...]
    operations: dict[str, Count]


class ReleasedFile(DescribedFile):
    """One file. `tools` are the programs and packages that made and judged it, with their versions."""

    file: FileName
    scan: Scan


class _Version(BaseModel):
    """The version of a manifest, whatever else is in it."""

    manifest: int


class Manifest(Strict):
    """The whole release. `manifest` is the version of this schema."""

    manifest: Literal[2]
    name: str
    version: str
    licence: str
    source: str
    checkpoints: dict[str, Weights]
    artifacts: tuple[ReleasedFile, ...]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}


def to_text(model: BaseModel) -> str:
    """Return a model as JSON text, its keys in the order of the classes."""
    return json.dumps(model.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: no such file, one of another version, or one that does not match the schema.
    """
    try:
        text = read_file(path, _MOST_BYTES)
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}; give the folder of a release") from error
    _refuse_other_version(path, text)
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ManifestError(
            f"{path} is no manifest of a release: {where}: {first['msg']}; make the release again"
        ) from error
    names = [entry.file for entry in manifest.artifacts]
    if len({*names}) < len(names):
        raise ManifestError(f"{path} lists a file twice; make the release again")
    return manifest


def _refuse_other_version(path: Path, text: bytes) -> None:
    """Raise ManifestError for a manifest of another version, which other keys would only confuse."""
    try:
        version = _Version.model_validate_json(text).manifest
    except ValidationError:
        return  # the caller says what is wrong
    if version > VERSION:
        raise ManifestError(
            f"{path} is of version {version}, this rvm-export reads version {VERSION}; install a newer rvm-export"
        )
    if version < VERSION:
        raise ManifestError(
            f"{path} is of version {version}, this rvm-export reads version {VERSION}; make the release again"
        )


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))  # noqa: T201
