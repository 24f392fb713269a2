"""Check a release: sums, manifest, the files' metadata, and parity; or make it again and compare.

No file is opened before its sum, its format and its name agree with the manifest, and none without `SHA256SUMS`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from exporters import FORMATS, open_artifact, recognise
from exporters.artifact import ArtifactError, TensorInfo, Untrusted
from exporters.support.metadata import LICENCE
from parity_tests.clips import load_clip
from parity_tests.reports.parity_report import verdict
from rvm_model.errors import UserError
from rvm_model.files import read_file, sha256_of
from tools.jobs.processes import default_processes
from tools.jobs.runner import Job, run_jobs
from tools.release import manifest as manifests
from tools.release.build import FOLDER, Order
from tools.release.make import (
    AGAIN,
    ENVIRONMENT,
    JUNIT,
    MEMORY,
    REPORT,
    SECONDS,
    SUMS,
    card_of,
    make_release,
    release_lock,
)
from tools.release.manifest import Manifest, ManifestError, ReleasedFile, Tensor, read_manifest
from tools.shared.models import load_weights
from tools.shared.outputs import ExportFailed
from tools.shared.prove import prove

_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9._-]*)")
_MOST_BYTES = 1_000_000
OTHERWISE = {**ENVIRONMENT, "PYTHONHASHSEED": "4711", "TZ": "Asia/Kolkata"}
"""The environment of the second making."""


def check_release(order: Order, jobs: int | None, cluster: str | None) -> list[str]:
    """Return a sentence for each fault of a release; none if it is good.

    Args:
        order: Its folder, as `out`; the clip to play; the weights by variant, if they are not the seeded or the
            official ones that the manifest names; and whether files that are code may be run.
        jobs: Number of processes; None for as many as cores and memory allow.
        cluster: The address of a Dask scheduler.

    Raises:
        UserError: no such folder, or a clip or cluster that cannot be used.
    """
    if not order.out.is_dir():
        raise UserError(f"{order.out} is no folder; give that of a release")
    load_clip(order.clip, order.frames)
    try:
        manifest = read_manifest(order.out / manifests.NAME)
    except ManifestError as error:
        return [str(error)]
    doubts = [*_check_whole(manifest)]
    try:
        sums = _sums(order.out)
    except (OSError, ValueError) as error:
        return [*doubts, f"{SUMS} cannot be read, and without it no file is opened: {error}"]
    found = {name: _hash(order.out / name) for name in sums}
    doubts += _check_sums(order.out, sums, found, manifest)
    if not manifest.artifacts:
        doubts.append("the manifest lists no file")
    sound = []
    for entry in manifest.artifacts:
        if entry.file not in sums or found[entry.file] != sums[entry.file]:
            continue  # which is among the doubts
        faults = [*_check_unopened(order.out / entry.file, entry, sums[entry.file], order.trust)]
        doubts += [f"{entry.file}: {fault}" for fault in faults]
        if not faults:
            sound.append(entry)
    origins = {variant: each.origin for variant, each in manifest.checkpoints.items()}
    sources = {variant: "seeded" if origin == "seeded" else "official" for variant, origin in origins.items()}
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
    for result in results:
        faults = [result.error] if result.outcome == "failed" else result.value
        doubts += [f"{result.name}: {fault}" for fault in faults]
    return doubts


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
    }
    doubts = [
        f"its {key} is {ours}, and {theirs} in the manifest" for key, (ours, theirs) in told.items() if ours != theirs
    ]
    if doubts:
        return doubts
    source = sources.get(artifact.variant)
    if source is None:
        return [f"the manifest names no checkpoint of {artifact.variant}"]
    try:
        checkpoint = load_weights(source, artifact.variant, artifact.refiner, order.trust)
    except UserError as error:
        return [f"its parity was not looked at: give its weights as --checkpoint {artifact.variant}=PATH ({error})"]
    reports = prove(artifact, checkpoint, load_clip(order.clip, order.frames)).reports
    return [line for report in reports if not report.ok for line in verdict(report)]


def _made_with(entry: ReleasedFile) -> Iterable[tuple[str, str]]:
    """Yield the facts about a file's making that both its metadata and the manifest may have, by metadata key."""
    yield from ((f"{tool}_version", version) for tool, version in entry.tools.items())
    yield "opset", str(entry.spec.get("opset"))
    match entry.spec.get("fixed"):
        case {"ratio": ratio}:
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
        ours, theirs = ({**_sums(each), SUMS: sha256_of(each / SUMS)} for each in (order.out, again))
    other = sorted(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
    return [f"{name} is not reproducible: made again, it is other bytes" for name in other]


def _again(*arguments: Any) -> list[tuple[str, str]]:
    """Make the release, and return names and errors of the files that failed. Runs as a job."""
    _, failures = make_release(*arguments)
    return [(each.name, each.error) for each in failures]


def _check_whole(manifest: Manifest) -> Iterable[str]:
    """Yield a sentence for each contradiction in the manifest, and for each file whose parity exceeds its limits."""
    if manifest.licence != LICENCE:
        yield f"the manifest's licence is {manifest.licence}, not {LICENCE}"
    for entry in manifest.artifacts:
        weights = manifest.checkpoints.get(str(entry.spec.get("variant")))
        # Do not compare the weights' sum: with the fast guided filter, the deep one's weights are left out of it.
        if weights is None or weights.sha256 != entry.checkpoint_sha256:
            yield f"{entry.file}: its checkpoint is not the one that the manifest names for its variant"
        figures = [each for parity in entry.parity for each in parity.outputs.values()]
        within = all(
            each.max_abs <= each.limit_max_abs
            and each.mean_abs <= each.limit_mean_abs
            and each.high_abs <= each.limit_high_abs
            for each in figures
        )
        if not figures or not within:
            yield f"{entry.file}: the manifest has no figures of its parity within their limits"


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


def _check_sums(
    folder: Path, sums: Mapping[str, str], found: Mapping[str, str | None], manifest: Manifest
) -> Iterable[str]:
    for name, digest in sums.items():
        if found[name] is None:
            yield f"{name} is in {SUMS}, but is no file here"
        elif found[name] != digest:
            yield f"{name} is not the file that {SUMS} lists"
    files = [Path(entry.file) for entry in manifest.artifacts]
    listed = {manifests.NAME, JUNIT, REPORT, *(each.name for path in files for each in (path, card_of(path)))}
    yield from (f"{name} is not in {SUMS}" for name in sorted(listed - {*sums}))
    yield from (f"{name} is in {SUMS}, but not in the manifest" for name in sorted({*sums} - listed))
    known = {*sums, SUMS, FOLDER}
    yield from (f"{path.name} is not of this release" for path in sorted(folder.iterdir()) if path.name not in known)


def _hash(path: Path) -> str | None:
    """Return the sha256 of a regular file, or None if there is none, or a link."""
    return None if path.is_symlink() or not path.is_file() else sha256_of(path)


def _sums(folder: Path) -> dict[str, str]:
    """Return the sums by file name. Raise ValueError for an invalid line, or a name outside the folder."""
    text = read_file(folder / SUMS, _MOST_BYTES).decode("utf-8")
    sums = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{line[:80]!r} is no sum and name")
        if match[2] in sums:
            raise ValueError(f"{match[2]} is there twice")
        sums[match[2]] = match[1]
    return sums


def _tensors(tensors: Sequence[TensorInfo]) -> tuple[Tensor, ...]:
    return tuple(Tensor(name=each.name, dtype=each.dtype, shape=each.shape) for each in tensors)
