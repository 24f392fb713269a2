"""Check a release: sums, manifest, the files' metadata, and parity; or make it again and compare."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from exporters import load_runtime, recognise
from exporters.artifact import TensorInfo
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
        order: Its folder, as `out`; the clip to play; and the weights by variant, if they are not the seeded or the
            official ones that the manifest names.
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
    doubts = [*_check_sums(order.out, manifest), *_check_whole(manifest)]
    present = [entry for entry in manifest.artifacts if (order.out / entry.file).is_file()]
    doubts += [f"{entry.file} is missing" for entry in manifest.artifacts if entry not in present]
    if not manifest.artifacts:
        doubts.append("the manifest lists no file")
    origins = {variant: each.origin for variant, each in manifest.checkpoints.items()}
    sources = {variant: "seeded" if origin == "seeded" else "official" for variant, origin in origins.items()}
    sources |= order.checkpoints
    results = run_jobs(
        [
            Job(name=each.file, function=disagreements, arguments=(each, order, sources), seconds=SECONDS)
            for each in present
        ],
        jobs or default_processes(max(1, len(present)), MEMORY),
        cluster,
        ENVIRONMENT,
    )
    for result in results:
        found = [result.error] if result.outcome == "failed" else result.value
        doubts += [f"{result.name}: {doubt}" for doubt in found]
    return doubts


def disagreements(entry: ReleasedFile, order: Order, sources: Mapping[str, str]) -> list[str]:
    """Return the faults of one file. Runs as a job, whose error counts as a fault."""
    path = order.out / entry.file
    digest = sha256_of(path)
    if digest != entry.sha256 or path.stat().st_size != entry.bytes:
        return [f"it is not the file that the manifest lists (sha256 {digest[:12]}..., not {entry.sha256[:12]}...)"]
    name = recognise(path)
    artifact = load_runtime(name).inspect(path)
    told = {
        "format": (name, entry.format),
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
    reports = prove(path, name, checkpoint, load_clip(order.clip, order.frames)).reports
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


def _check_sums(folder: Path, manifest: Manifest) -> Iterable[str]:
    try:
        sums = _sums(folder)
    except (OSError, ValueError) as error:
        yield f"{SUMS} cannot be read: {error}"
        return
    for name, digest in sums.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            yield f"{name} is in {SUMS}, but is no file here"
        elif sha256_of(path) != digest:
            yield f"{name} is not the file that {SUMS} lists"
    files = [Path(entry.file) for entry in manifest.artifacts]
    listed = {manifests.NAME, JUNIT, REPORT, *(each.name for path in files for each in (path, card_of(path)))}
    yield from (f"{name} is not in {SUMS}" for name in sorted(listed - {*sums}))
    yield from (f"{name} is in {SUMS}, but not in the manifest" for name in sorted({*sums} - listed))
    known = {*sums, SUMS, FOLDER}
    yield from (f"{path.name} is not of this release" for path in sorted(folder.iterdir()) if path.name not in known)


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
