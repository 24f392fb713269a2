"""Read the records of a .pt2 file: its program, its tensors and its metadata. Runs and unpickles nothing.

torch.export.load trusts what it reads: it unpickles constants and example inputs, loads compiled code, and makes Python
of the program. So an archive passes only if it has no records but plain ones, and if its program has the form in
`program.py`.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import ArtifactError
from exporters.pt2 import BEFORE_2_9, program
from exporters.pt2.grammar import Pattern, misfit, parse
from exporters.support.identify import identify
from rvm_model.weights.checkpoint import expected_shapes
from rvm_model.zip_files import ZipError, open_zip

PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
EXTRA = "extra/"

_NEEDED = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little", SAMPLE_INPUTS: b""}
_RECORD = re.compile(
    r"\.data/(version|serialization_id)|data/weights/weight_\d+|data/constants/tensor_\d+|extra/[\w.-]+", re.ASCII
)
_PICKLED = ("/data/weights/model.pt", "/data/constants/model.pt")
"""The records of all tensors in archives of torch 2.8."""

_MOST_TEXT = 4_000_000
"""The limit of a record that is no tensor. The program of ResNet50 has 600,000 bytes."""

_DIGESTS = {"graph_sha256": (PROGRAM,), "tensors_sha256": (WEIGHTS, CONSTANTS, "data/weights/", "data/constants/")}
"""The records of each hash in the metadata: their names, or how these begin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Archive:
    """The content of a file. `weights` are all that the network has, under its own names, in the file's dtype."""

    variant: str
    refiner: str
    records: Mapping[str, bytes]
    program: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, str]


def read_archive(path: Path, form: Pattern = program.PROGRAM) -> Archive:
    """Read a file whose program has a form of `program.py`.

    Raises ArtifactError if it is damaged, changed after its export, or holds what no exported network does.
    """
    records = _records(path)
    graph = _json(path, records, PROGRAM, form)
    weights = _tensors(path, records, WEIGHTS, "data/weights/")
    _tensors(path, records, CONSTANTS, "data/constants/")
    shapes = {key: array.shape for key, array in weights.items()}
    found = identify({*shapes.values()})
    if found is None or shapes != expected_shapes(*found):
        raise ArtifactError(f"{path} is a torch.export program, but not of a matting network's weights and their names")
    extra = {name.removeprefix(EXTRA): content for name, content in records.items() if name.startswith(EXTRA)}
    metadata = {name: content.decode(errors="replace") for name, content in sorted(extra.items())}
    if metadata:
        for key, expected in digests(records).items():
            if metadata.get(key) != expected:
                raise ArtifactError(
                    f"{path} was changed after its export: its {key.partition('_')[0]} does not match the hash in its "
                    "metadata; export it again"
                )
    variant, refiner = found
    return Archive(
        variant=variant,
        refiner=refiner,
        records=records,
        program=graph,
        weights=weights,
        metadata=metadata,
    )


def digests(records: Mapping[str, bytes]) -> dict[str, str]:
    """Return the hashes of the program and of the tensors, as the metadata has them."""
    return {
        key: hashlib.sha256(
            b"".join(
                f"{name} {hashlib.sha256(records[name]).hexdigest()}\n".encode()
                for name in sorted(records)
                if name.startswith(names)
            )
        ).hexdigest()
        for key, names in _DIGESTS.items()
    }


def _records(path: Path) -> dict[str, bytes]:
    """Return all records by their names in the top folder. Raises ArtifactError for any that is not plain."""
    records: dict[str, bytes] = {}
    try:
        with open_zip(path) as archive:
            entries = archive.infolist()
            if any(entry.filename == BEFORE_2_9 or entry.filename.endswith(_PICKLED) for entry in entries):
                raise ArtifactError(
                    f"{path} is a torch.export archive of torch 2.8 or earlier, whose weights are pickles; export it "
                    "again with torch 2.9 or later"
                )
            root = entries[0].orig_filename.partition("/")[0] if entries else ""
            for entry in entries:
                top, _, name = entry.orig_filename.partition("/")
                known = name in (*_NEEDED, PROGRAM, WEIGHTS, CONSTANTS) or _RECORD.fullmatch(name)
                if top != root or not known or name in records:
                    _refuse(path, entry.orig_filename, twice=top == root and name in records)
                if not name.startswith("data/") and entry.file_size > _MOST_TEXT:
                    raise ArtifactError(f"{path} is refused: its {name} has {entry.file_size} bytes")
                records[name] = archive.read(entry)
    except ZipError as error:
        raise ArtifactError(f"{path} {error}") from error
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    missing = {*_NEEDED, PROGRAM, WEIGHTS, CONSTANTS} - records.keys()
    if missing:
        raise ArtifactError(f"{path} is damaged: it lacks {min(missing)}")
    for name, expected in _NEEDED.items():
        if records[name] != expected:
            what = "holds example inputs, which are a pickle" if name == SAMPLE_INPUTS else f"has another {name}"
            raise ArtifactError(f"{path} is refused: it {what}; give a file of rvm-export")
    return records


def _refuse(path: Path, name: str, *, twice: bool) -> None:
    if twice:
        raise ArtifactError(f"{path} is refused: it holds {name[:100]!r} twice")
    what = "compiled code" if "/aotinductor/" in name else "neither a graph, nor a tensor, nor metadata"
    raise ArtifactError(f"{path} is refused: its record {name[:100]!r} is {what}; give a file of rvm-export")


def _json(path: Path, records: Mapping[str, bytes], name: str, pattern: Pattern) -> Any:
    """Return the value of a record of JSON. Raises ArtifactError if it has another form."""
    if len(records[name]) > _MOST_TEXT:
        raise ArtifactError(f"{path} is refused: its {name} has {len(records[name])} bytes")
    try:
        value = parse(records[name])
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: its {name} is no JSON ({error})") from error
    place = misfit(value, pattern)
    if place is not None:
        raise ArtifactError(
            f"{path} is refused: its {name} holds what no exported matting network does, at {place[1:200] or 'its top'}"
        )
    return value


def _tensors(path: Path, records: Mapping[str, bytes], config: str, folder: str) -> dict[str, NDArray[Any]]:
    """Return the tensors that a table names. Raises ArtifactError if their numbers do not fill them exactly."""
    tensors = {}
    for key, payload in _json(path, records, config, program.TENSORS)["config"].items():
        meta = payload["tensor_meta"]
        shape = [size.get("as_int", -1) for size in meta["sizes"]]
        strides = [stride.get("as_int", -1) for stride in meta["strides"]]
        content = records.get(f"{folder}{payload['path_name']}", b"")
        dtype = np.dtype(program.DTYPES[meta["dtype"]]).newbyteorder("<")
        if (
            any(length < 1 for length in shape)
            or strides != [math.prod(shape[k + 1 :]) for k in range(len(shape))]
            or meta["storage_offset"]["as_int"] != 0
            or len(content) != math.prod(shape) * dtype.itemsize
        ):
            raise ArtifactError(f"{path} is damaged: the numbers of its {key[:100]} do not fill its shape")
        tensors[key] = np.frombuffer(content, dtype).reshape(shape)
    return tensors
