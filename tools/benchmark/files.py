"""The files of a benchmark: plan them, make those that are missing, and prove each."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from exporters import FORMATS, check_installed, load_exporter, open_artifact
from exporters.artifact import OUTPUTS, Artifact, ArtifactError
from exporters.format import MissingPackage
from exporters.spec import ExportSpec, Fixed, SpecError
from parity_tests.clips import Clip
from rvm_model.errors import UserError
from rvm_model.weights.checkpoint import Checkpoint
from tools.benchmark.rows import Row
from tools.shared.outputs import ExportFailed, OutputError, bytes_of, publish
from tools.shared.prove import prove


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file to make, or an existing one to use."""

    format: str
    spec: ExportSpec
    path: Path


@dataclass(frozen=True, kw_only=True)
class Job:
    """The checkpoint, clip and size that all files share.

    `force` replaces existing files. `trust` opens existing files that are code.
    """

    checkpoint: Checkpoint
    clip: Clip
    size: Fixed
    force: bool
    trust: bool


def plan(formats: Sequence[str], folder: Path, job: Job) -> list[Wanted | Row]:
    """Return every format in every precision, in order. Where a file cannot be made here, return its row instead.

    Raises:
        UserError: an existing file holds other weights or is for another size.
    """
    planned = [_plan(name, each, folder, job) for name in formats for each in FORMATS[name].precisions]
    for each in planned:
        if isinstance(each, Wanted):
            _check_existing(each, job)
    return planned


def make_row(wanted: Wanted, job: Job, say: Callable[[str, str], object]) -> tuple[Row, Artifact | None]:
    """Make a file if it is missing, compare it with PyTorch, and return its row, and the file if it is good.

    A new file that fails is not kept.

    Args:
        wanted: The file.
        job: The checkpoint, clip and size.
        say: Called with the current stage and its progress.

    Raises:
        OutputError: the folder cannot be written to.
    """
    name = wanted.path.name
    row = Row(name=name, format=wanted.format, precision=wanted.spec.precision, status="ok")
    artifact: Artifact | None = None

    def write(staged: Path) -> None:
        say(f"exporting {name}", "")
        load_exporter(wanted.format).export(job.checkpoint, wanted.spec, staged)

    def check(path: Path, trust: bool = True) -> None:
        nonlocal row, artifact
        text = f"verifying {name}"
        say(text, "")
        proof = prove(
            open_artifact(path, trust=trust),
            job.checkpoint,
            job.clip,
            job.size.ratio,
            lambda t: say(text, f"frame {t + 1} of {len(job.clip)}"),
        )
        (report,) = proof.reports
        row = replace(row, bytes=bytes_of(path), report=report, picture=proof.picture)
        if not report.ok:
            raise ExportFailed("; ".join(report.comparison.failures))
        artifact = replace(proof.artifact, path=wanted.path)

    try:
        if wanted.path.exists() and not job.force:
            check(wanted.path, job.trust)
        else:
            publish(wanted.path, write, check, job.force)
    except OutputError:
        raise
    except MissingPackage as error:
        return replace(row, status="not installed", reason=str(error)), None
    except (UserError, ExportFailed) as error:
        return replace(row, status="failed", reason=str(error)), None
    return row, artifact


def _plan(name: str, precision: str, folder: Path, job: Job) -> Wanted | Row:
    description, checkpoint = FORMATS[name], job.checkpoint
    refused = Row(name=f"{description.title} {precision}", format=name, precision=precision, status="skipped")
    fixed = {"fixed": job.size} if description.one_size else {}
    try:
        spec = description.spec(variant=checkpoint.variant, refiner=checkpoint.refiner, precision=precision, **fixed)
        check_installed(name)
    except SpecError as error:
        return replace(refused, reason=str(error))
    except MissingPackage as error:
        return replace(refused, status="not installed", reason=str(error))
    path = folder / spec.file_name(spec.suffix(description.suffix), checkpoint.seeded)
    return Wanted(format=name, spec=spec, path=path)


def _check_existing(wanted: Wanted, job: Job) -> None:
    """Raise OutputError for an existing file that cannot be used or replaced."""
    path = wanted.path
    if not path.exists():
        return
    if path.is_dir() and not FORMATS[wanted.format].recognise(path):
        raise OutputError(f"{path} is a folder of something else, which is not replaced; give another --output")
    if job.force:
        return
    try:
        artifact = open_artifact(path, trust=job.trust)
    except ArtifactError as error:
        raise OutputError(f"{error}; use --force to replace it, or give another --output") from error
    fixed = job.size if FORMATS[wanted.format].one_size else None
    opset = asdict(wanted.spec).get("opset")
    facts: dict[str, tuple[object, object]] = {
        "another format": (artifact.format, wanted.format),
        "other weights": (artifact.metadata.get("weights_sha256"), job.checkpoint.weights_sha256),
        "another size": (artifact.fixed, fixed),
        "another precision": (artifact.precision, wanted.spec.precision),
        "another refiner": (artifact.refiner, wanted.spec.refiner),
        "another opset": (artifact.metadata.get("opset"), opset and str(opset)),
        "other outputs": ((artifact.mattes, artifact.gives_line), ({*OUTPUTS[:2]}, False)),
    }
    for what, (given, expected) in facts.items():
        if given != expected:
            raise OutputError(f"{path} is there, of {what}; use --force to replace it, or give another --output")
