"""`manifest.json`: the files of a release, their origin, and their parity with PyTorch.

Its JSON Schema is `docs/manifest.schema.json`, made from the classes here: `python -m tools.release.manifest`.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from rvm_model.errors import UserError
from rvm_model.files import read_file

NAME = "manifest.json"
VERSION: Literal[2] = 2
"""The version of the schema. Raise it whenever a key is added, removed or means something else."""

_MOST_BYTES = 1_000_000
"""The largest manifest. One of 26 files has 200,000. A megabyte of nonsense takes 0.7 GB to say what is wrong."""

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=200)]
"""The name of a file in the release's own folder: no folders, nothing hidden."""

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class ManifestError(UserError):
    """An invalid manifest. The message is one line for the user."""


class Strict(BaseModel):
    """A model that refuses unknown keys, numbers in quotes, and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class OutputErrors(Strict):
    """Absolute error of one output over the clip against float64 PyTorch, and its limits.

    `high` is the 99.9 % quantile; `yardsticks` how many times PyTorch's own rounding the worst of the three is.
    """

    max_abs: float
    mean_abs: float
    high_abs: float
    limit_max_abs: float
    limit_mean_abs: float
    limit_high_abs: float
    yardsticks: float


class Alpha(Strict):
    """Error of the alpha against PyTorch's, in [0, 1] units."""

    mad: float
    mse: float
    dtssd: float


class MatteErrors(Strict):
    """Error of an alpha against the clip's true one, in [0, 1] units; `grad` and `conn` are sums over a frame."""

    mad: float
    mse: float
    grad: float
    conn: float
    dtssd: float


class Truth(Strict):
    """Errors of PyTorch's and of the file's mattes against the truth."""

    pytorch: MatteErrors
    file: MatteErrors


class Parity(Strict):
    """One comparison of the file with PyTorch; `function` is empty if the file holds the network once."""

    function: str
    runtime: str
    clip: str
    frames: Count
    width: Count
    height: Count
    downsample_ratio: float
    outputs: dict[str, OutputErrors]
    alpha: Alpha
    truth: Truth | None


class Tensor(Strict):
    """An input or output; an axis is a length, or a name if any length is allowed."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


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


class ReleasedFile(Strict):
    """One file. `tools` are the programs and packages that made and judged it, with their versions."""

    file: FileName
    bytes: Count
    sha256: Sha256
    format: str
    spec: dict[str, JsonValue]
    checkpoint_sha256: Sha256
    weights_sha256: Sha256
    licence: str
    tools: dict[str, str]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parity: tuple[Parity, ...]
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
