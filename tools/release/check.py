"""A release that exists, doubted in every way: sums, manifest, the files' own metadata, parity; and made once more."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from exporters import load_runtime, recognise
from exporters.spec import TensorInfo
from parity_tests.clips import load_clip
from parity_tests.report import verdict
from rvm_model.errors import UserError
from tools.jobs import Job, run_jobs
from tools.processes import default_processes
from tools.release import manifest as manifests
from tools.release.build import FOLDER, Order, sha256_of
from tools.release.manifest import Entry, Manifest, ManifestError, Tensor, read_manifest
from tools.release.prove import prove
from tools.release.release import AGAIN, ENVIRONMENT, MEMORY, SECONDS, SUMS, make_release
from tools.release.weights import load_weights

_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9._-]*)")
_MOST_BYTES = 1_000_000
OTHERWISE = {**ENVIRONMENT, "PYTHONHASHSEED": "4711", "TZ": "Asia/Kolkata"}
"""What the second making has otherwise."""


def check_release(order: Order, jobs: int | None, cluster: str | None) -> list[str]:
    """What is doubtful about a release, a sentence each; none if it is as it should be.

    Args:
        order: Its folder, as `out`; the clip to play; and weights by variant where they are not the seeded or the
            official ones that the manifest names.
        jobs: How many processes; None for as many as cores and memory allow.
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
    doubts = [*_check_sums(order.out, manifest)]
    present = [entry for entry in manifest.artifacts if (order.out / entry.file).is_file()]
    doubts += [f"{entry.file} is missing" for entry in manifest.artifacts if entry not in present]
    if not manifest.artifacts:
        doubts.append("the manifest lists no file")
    origins = {variant: each.origin for variant, each in manifest.checkpoints.items()}
    sources = {variant: "seeded" if origin == "seeded" else "official" for variant, origin in origins.items()}
    sources |= order.checkpoints
    results = run_jobs(
        [
            Job(name=each.file, function=doubts_about, arguments=(each, order, sources), seconds=SECONDS)
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


def doubts_about(entry: Entry, order: Order, sources: Mapping[str, str]) -> list[str]:
    """A job: what is doubtful about one file. Errors are doubts too."""
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
        checkpoint = load_weights(source, artifact.variant, artifact.refiner)
    except UserError as error:
        return [f"its parity was not looked at: give its weights as --checkpoint {artifact.variant}=PATH ({error})"]
    reports = prove(path, name, checkpoint, load_clip(order.clip, order.frames)).reports
    return [line for report in reports if not report.ok for line in verdict(report)]


def differences(
    order: Order, version: str, only: Sequence[str], light: bool, jobs: int | None, cluster: str | None
) -> list[str]:
    """Make a release again, elsewhere and in other processes, and name the files that are other bytes then.

    Arguments as those of `make_release`, by which it has been made.
    """
    with TemporaryDirectory(prefix=AGAIN, dir=order.out / FOLDER) as folder:
        again = Path(folder)
        make_release(replace(order, out=again), version, only, light, jobs, cluster, OTHERWISE)
        ours, theirs = ({**_sums(each), SUMS: sha256_of(each / SUMS)} for each in (order.out, again))
    return sorted(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))


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
    listed = {manifests.NAME, *(entry.file for entry in manifest.artifacts)}
    yield from (f"{name} is not in {SUMS}" for name in sorted(listed - {*sums}))
    known = {*sums, SUMS, FOLDER}
    yield from (f"{path.name} is not of this release" for path in sorted(folder.iterdir()) if path.name not in known)


def _sums(folder: Path) -> dict[str, str]:
    """By file name. Raises ValueError for a line that is none, or a name that leads out of the folder."""
    with (folder / SUMS).open("rb") as file:
        text = file.read(_MOST_BYTES).decode("utf-8")
    sums = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{line[:80]!r} is no sum and name")
        sums[match[2]] = match[1]
    return sums


def _tensors(tensors: Sequence[TensorInfo]) -> tuple[Tensor, ...]:
    return tuple(Tensor(name=each.name, dtype=each.dtype, shape=each.shape) for each in tensors)
