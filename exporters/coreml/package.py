"""Read and write a CoreML file: a package (manifest, specification and weights), a zipped one, or one `.mlmodel`.

When reading, nothing in it is trusted: no file outside the package is ever opened.

When writing, the same model gives the same bytes. Apple's library gives the items random identifiers; here they follow
from the items' names. The manifest has the form in which that library leaves it after opening a package, so that
opening one changes nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from google.protobuf.message import DecodeError

from exporters.artifact import ArtifactError
from exporters.coreml import MANIFEST
from exporters.coreml.blobs import Blob, read_blobs
from exporters.coreml.protobufs import protobuf_module
from exporters.support.archive import member, read_member, unpacked
from exporters.support.protobuf import parse
from rvm_model.files import MOST_BYTES, open_file, read_file

DIGEST = "graph_sha256"
"""The key of the user-defined metadata that holds the expected `digest` of the file."""

MOST_JSON = 1_000_000
MOST_FILES = 100

_DATA = "Data"
_AUTHOR = "com.apple.CoreML"
_ITEMS = {"model.mlmodel": "CoreML Model Specification", "weights": "CoreML Model Weights"}
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """The content of a file. `weights` are by file name, relative to the specification's folder."""

    path: Path
    model: Any
    weights: Mapping[str, Mapping[int, Blob]]

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self.model.description.metadata.userDefined)


def read_package(path: Path) -> Stored:
    """Read the whole file, once.

    Args:
        path: An `.mlpackage`, a zipped one, or an `.mlmodel`. Its content decides, not its name.

    Raises:
        ArtifactError: no CoreML file, truncated, damaged, edited since it was written, with a manifest that points
            outside the package, or with weights that do not match their headers.
    """
    try:
        if not path.exists():
            raise ArtifactError(f"cannot read {path}: no such file or package")
        if path.is_dir() or _starts_with_zip(path):
            with unpacked(path, MANIFEST) as folder:
                content, files = _package(folder, path)
        else:
            content, files = read_file(path), {}
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        model = parse(protobuf_module("Model").Model, content, path)
    except DecodeError as error:
        raise ArtifactError(f"{path} is truncated or damaged: its specification is no CoreML model") from error
    if model.WhichOneof("Type") is None:
        raise ArtifactError(f"{path} is damaged, or no CoreML model: its specification holds none")
    weights = {name: read_blobs(each, f"{path}: {name}") for name, each in files.items()}
    claimed = model.description.metadata.userDefined.get(DIGEST)
    if claimed is not None and claimed != digest(model, files):
        raise ArtifactError(
            f"{path} has changed since rvm-export wrote it: damaged, or edited; for an edited file remove its metadata "
            f"entry {DIGEST}"
        )
    return Stored(path=path, model=model, weights=weights)


def digest(model: Any, files: Mapping[str, bytes]) -> str:
    """Return the sha256 of a specification without its metadata, and of its weights. It detects a damaged file.

    Args:
        model: The specification, a `Model` message.
        files: Contents of the weights' files by name, as in `Stored.weights`: usually `weights/weight.bin` alone.
    """
    bare = type(model)()
    bare.CopyFrom(model)
    bare.description.ClearField("metadata")
    # Each part is hashed separately, so that no byte can move from one to the next.
    parts = [bare.SerializeToString(deterministic=True)]
    for name in sorted(files):
        parts += [name.encode(), files[name]]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _starts_with_zip(path: Path) -> bool:
    with open_file(path) as file:
        return file.read(len(_ZIP)) == _ZIP


def _package(folder: Path, path: Path) -> tuple[bytes, dict[str, bytes]]:
    """Return the specification and the weights that the manifest lists."""
    root, others = _items(folder, path)
    model = member(folder, root, path)
    files: dict[str, bytes] = {}
    budget = MOST_BYTES
    for item in others:
        place = member(folder, item, path)
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            name = file.relative_to(folder.resolve()).as_posix()
            file = member(folder, name, path)  # resolve links again
            if file.is_dir() or not file.is_relative_to(model.parent):
                continue
            if len(files) == MOST_FILES:
                raise ArtifactError(f"{path} is refused: it lists more than {MOST_FILES} files")
            content = read_member(folder, name, path, budget)
            budget -= len(content)
            files[file.relative_to(model.parent).as_posix()] = content
    return read_member(folder, root, path), files


def _items(folder: Path, path: Path) -> tuple[str, list[str]]:
    """Return paths relative to the package: the specification's, and those of the manifest's other items."""
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"{path} is a folder without a {MANIFEST}; give a CoreML package (.mlpackage)")
    try:
        manifest = json.loads(read_member(folder, MANIFEST, path, MOST_JSON))
        entries, root = manifest["itemInfoEntries"], manifest["rootModelIdentifier"]
        places = {key: f"{_DATA}/{entry['path']}" for key, entry in entries.items()}
        return places[root], [place for key, place in places.items() if key != root]
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} has a {MANIFEST} that is truncated, or no JSON") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} has a {MANIFEST} that is not as CoreML packages have it: no {error}") from error


def write_package(model: Path, folder: Path) -> None:
    """Move `model.mlmodel` and `weights` from a folder into a package, which must not exist."""
    data = folder / _DATA / _AUTHOR
    data.mkdir(parents=True)
    entries = {}
    for name, description in _ITEMS.items():
        (model / name).rename(data / name)
        entries[_identifier(name)] = {
            "author": _AUTHOR,
            "description": description,
            "name": name,
            "path": f"{_AUTHOR}/{name}",
        }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": _identifier("model.mlmodel"),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n")


def _identifier(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{_AUTHOR}/{name}")).upper()
