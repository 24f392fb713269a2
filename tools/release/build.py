"""Make and prove one row of the table: a job in its own process.

A hidden folder beside a release holds a record for each file, sealed with a key of this user. A file is reused if its
record says that it was made from the same, and its content is unchanged. Names and dates never count, and nor does a
record from elsewhere.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from exporters import load_exporter, open_artifact
from exporters.artifact import ArtifactError
from parity_tests.clips import Clip, load_clip
from parity_tests.reports.parity_report import verdict
from parity_tests.verify import ParityReport
from rvm_model.errors import UserError
from rvm_model.files import read_file, sha256_of
from rvm_model.weights.checkpoint import Checkpoint
from tools.companions.describe import describe_file
from tools.companions.entry import Sha256
from tools.companions.versions import source_sha256, tools_of
from tools.jobs.seals import seal_key, sealed, unsealed
from tools.release.contents import Row
from tools.release.files import FOLDER
from tools.release.integrity import scan_faults
from tools.release.manifest import ReleasedFile
from tools.release.scan import scan_file
from tools.shared.models import load_weights
from tools.shared.outputs import ExportFailed, publish, write_text
from tools.shared.pictures import Picture
from tools.shared.prove import Proof, prove

_MOST_BYTES = 10_000_000
"""The largest record, which holds a picture."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """The inputs that all files of a release share, as plain values that can go to another process or machine.

    `checkpoints` are sources of `load_weights`, by variant. `clip` None is the built-in clip. `trust` lets a checkpoint
    be code.
    """

    out: Path
    checkpoints: dict[str, str]
    clip: Path | None = None
    frames: int | None = None
    trust: bool = False


class Built(BaseModel):
    """The record of a file that was made. `key` is a hash of what it was made from, see `key_of`."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    key: Sha256
    entry: ReleasedFile
    reports: tuple[ParityReport, ...]
    picture: Picture

    @property
    def seeded(self) -> bool:
        """Return whether the file's weights are seeded."""
        return any(report.weights == "seeded" for report in self.reports)


def build(row: Row, order: Order, key: str, seal: bytes) -> None:
    """Make a row's file and prove it. Then give it its name, and write its record.

    Args:
        row: The file to make.
        order: Its inputs, and the release's folder.
        key: The result of `key_of` on the machine that started the release.
        seal: The result of `seal_key(key)` there.

    Raises:
        UserError: weights, a clip or a package that cannot be used, or this machine would make a different file.
        ExportFailed: the file does not compute what PyTorch computes, or could not be written.
    """
    exporter = load_exporter(row.format)
    checkpoint = load_weights(order.checkpoints[row.spec.variant], row.spec.variant, row.spec.refiner, order.trust)
    clip = load_clip(order.clip, order.frames)
    if key_of(row, checkpoint, clip) != key:
        versions = ", ".join(f"{name} {version}" for name, version in tools_of(row.format).items())
        raise UserError(
            f"what would make {row.format} files here ({versions}), its source, weights or clip are not the same as "
            "where the release was asked for; install the same there"
        )
    path = order.out / row.file_name(checkpoint.seeded)

    def write(staged: Path) -> None:
        try:
            exporter.export(checkpoint, row.spec, staged)
        except ArtifactError as error:
            raise ExportFailed(f"it could not be made: {error}") from error

    known: list[Built] = []

    def check(staged: Path) -> None:
        try:
            proof = prove(open_artifact(staged, trust=True), checkpoint, clip)  # which this job has just written
        except ArtifactError as error:
            raise ExportFailed(f"the export is not usable, and was not kept: {error}") from error
        failures = [line for report in proof.reports if not report.ok for line in verdict(report)]
        if failures:
            raise ExportFailed("; ".join(failures))
        entry = _entry(row, checkpoint, staged, proof)
        if faults := [*scan_faults(entry)]:
            raise ExportFailed("; ".join(faults))
        known.append(Built(key=key, entry=entry, reports=proof.reports, picture=proof.picture))

    # A job of a killed release may still run for a moment, perhaps with other weights. The lock makes this job write
    # last.
    with FileLock(record_of(path).with_suffix(".lock")):
        publish(path, write, check, force=True, desk=order.out / FOLDER)
        write_text(sealed(known[0].model_dump_json(), seal), record_of(path))


def key_of(row: Row, checkpoint: Checkpoint, clip: Clip) -> str:
    """Return a hash of all that a file and its figures depend on: options, weights, clip, versions, our own source."""
    facts = (
        row.format,
        asdict(row.spec),
        (checkpoint.origin, checkpoint.sha256, checkpoint.weights_sha256),
        (clip.name, clip.digest),
        tools_of(row.format),
        source_sha256(),
    )
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def made_already(path: Path, key: str) -> Built | None:
    """Return a file's record if this user made the file from the inputs of `key`, and it is unchanged; else None."""
    try:
        built = Built.model_validate_json(unsealed(read_file(record_of(path), _MOST_BYTES), seal_key(key)))
        if built.key == key and built.entry.file == path.name and sha256_of(path) == built.entry.sha256:
            return built
    except (OSError, ValueError):  # of which pydantic's ValidationError is one
        pass
    return None


def record_of(path: Path) -> Path:
    return path.parent / FOLDER / f"{path.name}.json"


def _entry(row: Row, checkpoint: Checkpoint, path: Path, proof: Proof) -> ReleasedFile:
    described = describe_file(path, row.format, row.spec, checkpoint, proof.artifact, proof.reports)
    return ReleasedFile(**dict(described), scan=scan_file(path, row.format))
