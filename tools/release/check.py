"""Check a release: sums, manifest, the files' metadata, and parity; or make it again and compare.

No file is opened before its sum, its format and its name agree with the manifest, and none without `SHA256SUMS`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from exporters import FORMATS, open_artifact, recognise
from exporters.artifact import ArtifactError, TensorInfo, Untrusted
from parity_tests.clips import load_clip
from parity_tests.reports.parity_report import verdict
from rvm_model.errors import UserError
from rvm_model.files import sha256_of
from rvm_model.weights.checkpoint import RELEASED
from tools.companions.entry import Tensor
from tools.jobs.processes import default_processes
from tools.jobs.runner import Job, run_jobs
from tools.release.build import Order
from tools.release.files import FOLDER, SUMS
from tools.release.integrity import Say, check_integrity, read_sums
from tools.release.make import AGAIN, ENVIRONMENT, MEMORY, SECONDS, make_release, release_lock
from tools.release.manifest import ReleasedFile
from tools.release.scan import scan_file
from tools.release.sign import Verifier
from tools.shared.models import load_weights
from tools.shared.outputs import ExportFailed
from tools.shared.prove import prove

OTHERWISE = {**ENVIRONMENT, "PYTHONHASHSEED": "4711", "TZ": "Asia/Kolkata"}
"""The environment of the second making."""

_OFFICIAL = {sha256 for _, sha256, _ in RELEASED.values()}


def check_release(
    order: Order, jobs: int | None, cluster: str | None, verifier: Verifier | None, say: Say
) -> list[str]:
    """Return a sentence for each fault of a release; none if it is good.

    Models are opened only if all else is right: manifest, sums, signature and SBOM.

    Args:
        order: Its folder, as `out`; the clip to play; the weights by variant, if they are not the seeded or the
            official ones, which the manifest names; and whether files that are code may be run.
        jobs: Number of processes; None for as many as cores and memory allow.
        cluster: The address of a Dask scheduler.
        verifier: Says whose signature the release must have; None if it needs none.
        say: Called after each check.

    Raises:
        UserError: a clip or cluster that cannot be used.
    """
    load_clip(order.clip, order.frames)
    manifest, doubts = check_integrity(order.out, verifier, say)
    if manifest is None or doubts:
        say("formats, metadata and parity", "not checked: no model is opened that is not as listed")
        return doubts
    sums = read_sums(order.out)
    unopened = {
        each.file: [*_check_unopened(order.out / each.file, each, sums[each.file], order.trust)]
        for each in manifest.artifacts
    }
    doubts = [f"{name}: {fault}" for name, faults in unopened.items() for fault in faults]
    say("formats", "wrong" if doubts else "ok")
    sound = [each for each in manifest.artifacts if not unopened[each.file]]
    sources = {
        variant: "seeded" if each.origin == "seeded" else "official"
        for variant, each in manifest.checkpoints.items()
        if each.origin != "file" or each.sha256 in _OFFICIAL
    }
    sources |= order.checkpoints
    results = run_jobs(
        [
            Job(name=each.file, function=disagreements, arguments=(each, order, sources), seconds=SECONDS)
            for each in sound
        ],
        jobs or default_processes(max(1, len(sound)), MEMORY),
        cluster,
        ENVIRONMENT,
    )
    found = [
        f"{result.name}: {doubt}"
        for result in results
        for doubt in ([result.error] if result.outcome == "failed" else result.value)
    ]
    say("metadata and parity", "wrong" if found else "ok")
    return [*doubts, *found]


def disagreements(entry: ReleasedFile, order: Order, sources: Mapping[str, str]) -> list[str]:
    """Return the faults of one file. Runs as a job, whose error counts as a fault.

    Its sum, format and name agree with the manifest.
    """
    artifact = open_artifact(order.out / entry.file, trust=order.trust)
    if artifact.trusted_sha256 not in ("", entry.sha256):
        return ["it was changed while the release was checked"]
    told = {
        **{key: (getattr(artifact, key), entry.spec.get(key)) for key in ("variant", "refiner", "precision")},
        **{
            key: (artifact.metadata.get(key), value)
            for key, value in (
                ("checkpoint_sha256", entry.checkpoint_sha256),
                ("weights_sha256", entry.weights_sha256),
                ("licence", entry.licence),
            )
        },
        **{key: (artifact.metadata[key], value) for key, value in _made_with(entry) if key in artifact.metadata},
        "inputs": (_tensors(artifact.inputs), entry.inputs),
        "outputs": (_tensors(artifact.outputs), entry.outputs),
        "scan": (scan_file(artifact.path, artifact.format), entry.scan),
    }
    doubts = [
        f"its {key} is {ours}, and {theirs} in the manifest" for key, (ours, theirs) in told.items() if ours != theirs
    ]
    if doubts:
        return doubts
    missing = f"its parity was not looked at: give its weights as --checkpoint {artifact.variant}=PATH"
    source = sources.get(artifact.variant)
    if source is None:
        return [f"{missing} (sha256 {entry.checkpoint_sha256})"]
    try:
        checkpoint = load_weights(source, artifact.variant, artifact.refiner, order.trust)
    except UserError as error:
        return [f"{missing} ({error})"]
    reports = prove(artifact, checkpoint, load_clip(order.clip, order.frames)).reports
    return [line for report in reports if not report.ok for line in verdict(report)]


def _made_with(entry: ReleasedFile) -> Iterable[tuple[str, str]]:
    """Yield the facts about a file's making that both its metadata and the manifest may have, by metadata key."""
    yield from ((f"{tool}_version", version) for tool, version in entry.tools.items())
    yield "opset", str(entry.spec.get("opset"))
    match (entry.spec.get("fixed"), entry.spec.get("ratio")):
        case ({"ratio": ratio}, _) | (None, float(ratio)):
            yield "downsample_ratio", repr(ratio)


def differences(
    order: Order, version: str, only: Sequence[str], light: bool, jobs: int | None, cluster: str | None
) -> list[str]:
    """Make a release again, in another folder and another process, and return a sentence for each difference.

    The arguments are those of the `make_release` call that made it.

    Raises:
        UserError: another process makes a release there.
        ExportFailed: the second release could not be made.
    """
    with release_lock(order.out), TemporaryDirectory(prefix=AGAIN, dir=order.out / FOLDER) as folder:
        again = Path(folder)
        arguments = (replace(order, out=again), version, only, light, jobs, cluster, OTHERWISE)
        job = Job(name="the release again", function=_again, arguments=arguments)
        (result,) = run_jobs([job], 1, environment=OTHERWISE)
        if result.outcome == "failed":
            raise ExportFailed(f"it was not made again: {result.error}")
        if result.value:
            return [f"{name} was not made again: {error}" for name, error in result.value]
        ours, theirs = ({**read_sums(each), SUMS: sha256_of(each / SUMS)} for each in (order.out, again))
    other = sorted(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
    return [f"{name} is not reproducible: made again, it is other bytes" for name in other]


def _again(*arguments: Any) -> list[tuple[str, str]]:
    """Make the release, and return names and errors of the files that failed. Runs as a job."""
    _, failures = make_release(*arguments)
    return [(each.name, each.error) for each in failures]


def _check_unopened(path: Path, entry: ReleasedFile, digest: str, trust: bool) -> Iterable[str]:
    """Yield what is wrong with a file, judged by its hash, its size, its first bytes and its name."""
    if digest != entry.sha256 or path.stat().st_size != entry.bytes:
        yield f"it is not the file that the manifest lists (sha256 {digest[:12]}..., not {entry.sha256[:12]}...)"
        return
    try:
        name = recognise(path)
    except ArtifactError as error:
        yield str(error)
        return
    description = FORMATS[name]
    if name != entry.format:
        yield f"its format is {name}, and {entry.format} in the manifest"
    elif path.suffix not in description.suffixes:
        yield f"its name ends in none of {', '.join(description.suffixes)}, as {description.title} files do"
    elif description.is_code and not trust:
        yield str(Untrusted.of(path, description.title))


def _tensors(tensors: Sequence[TensorInfo]) -> tuple[Tensor, ...]:
    return tuple(Tensor(name=each.name, dtype=each.dtype, shape=each.shape) for each in tensors)
