"""Make a whole release: run a job for each missing file, then write manifest, cards, sums and report."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

from filelock import FileLock, Timeout

from exporters import FORMATS, check_installed
from exporters.support.licence import LICENCE, SOURCE, licence_text
from parity_tests.clips import Clip, load_clip
from parity_tests.reports.junit import to_junit
from parity_tests.reports.parity_report import Refusal
from rvm_model.errors import UserError
from rvm_model.files import sha256_of
from rvm_model.state import REFINERS
from rvm_model.weights.checkpoint import Checkpoint
from tools.companions import GOLDEN, card_of
from tools.companions.cards import to_card
from tools.jobs.cluster import dask_cluster
from tools.jobs.processes import THREADS, default_processes
from tools.jobs.runner import Job, run_jobs
from tools.jobs.seals import seal_key
from tools.release import golden
from tools.release import manifest as manifests
from tools.release.build import Built, Order, build, key_of, made_already, record_of
from tools.release.contents import Row, read_table
from tools.release.files import (
    FOLDER,
    JUNIT,
    LICENCE_TEXT,
    REPORT,
    SBOM,
    SIGNATURE,
    SUMS,
    summed,
)
from tools.release.manifest import Manifest, Weights
from tools.release.page import Failure, to_html
from tools.release.sbom import to_sbom
from tools.shared.console import stderr_console, working
from tools.shared.models import load_weights, resolve_source, with_refiner
from tools.shared.outputs import OutputError, write_text

STAGING = ".rvm-export-*"
"""Folders that a killed `publish` leaves in `FOLDER`."""

AGAIN = "again-"
"""Prefix of the folders in which a release is made a second time, to compare."""

MEMORY = 5_000_000_000
"""Bytes of memory to reserve for a job: the 3840x2160 file took 4.8e9, all others less than half of it."""

SECONDS = 3600.0
"""Timeout of a job: a job that takes longer hangs."""

ENVIRONMENT = {"PYTHONHASHSEED": "0", "TZ": "UTC", "TF_ENABLE_ONEDNN_OPTS": "0", **dict.fromkeys(THREADS, "1")}
"""The environment of every job.

Without it the files are the same, but the figures of parity are not: sums depend on how threads share them.
"""


class ReleaseError(UserError):
    """A release that cannot be made as asked. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A file to be in the release."""

    row: Row
    path: Path
    key: str
    checkpoint: Checkpoint


def make_release(
    order: Order,
    version: str,
    only: Sequence[str],
    light: bool,
    jobs: int | None,
    cluster: str | None,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> tuple[list[Path], list[Failure]]:
    """Make the missing files of a release, and describe all files.

    Args:
        order: The inputs of the files, and the folder; see `resolve_order`.
        version: The release's version, for the manifest.
        only: Formats to make; all if it is empty.
        light: Make the small set.
        jobs: Number of processes; None for as many as cores and memory allow.
        cluster: The address of a Dask scheduler; its workers see `order.out` at the same path.
        environment: The environment of the jobs' processes.

    Returns:
        The files in the table's order, and the failures.

    Raises:
        UserError: weights, a clip, a package or a folder that cannot be used, or nothing to make.
        ExportFailed: writing to the folder fails.
    """
    rows = [row for row in chosen(only, light) if row.spec.variant in order.checkpoints]
    if not rows:
        raise ReleaseError(f"no file that was asked for is made of {' and '.join(order.checkpoints)}")
    for name in dict.fromkeys(row.format for row in rows):
        check_installed(name)
    console = stderr_console()
    # Find every fault of the options before anything is written.
    clip = load_clip(order.clip, order.frames)
    deep = REFINERS[0]
    loaded = {each: load_weights(source, each, deep, order.trust) for each, source in order.checkpoints.items()}
    pieces = [_piece(row, order.out, loaded[row.spec.variant], clip) for row in rows]
    used = {row.spec.variant: loaded[row.spec.variant] for row in rows}
    vectors, vectors_key = order.out / GOLDEN, golden.key_of(used)
    if cluster:
        with dask_cluster(cluster):
            pass
    with release_lock(order.out, _names(pieces)):
        with working(console, "looking for what is made already"):
            wanted = [piece for piece in pieces if made_already(piece.path, piece.key) is None]
        remade = [each.path for each in wanted]
        wanted_jobs = [
            Job(
                name=each.path.name,
                function=build,
                arguments=(each.row, order, each.key, seal_key(each.key)),
                seconds=SECONDS,
            )
            for each in wanted
        ]
        if not golden.made_already(vectors, vectors_key):
            remade.append(vectors)
            arguments = (order, tuple(used), seal_key(vectors_key))
            wanted_jobs.append(Job(name=GOLDEN, function=golden.build, arguments=arguments, seconds=SECONDS))
        _make_way(order.out, remade)
        results = run_jobs(
            wanted_jobs,
            jobs or default_processes(max(1, len(wanted_jobs)), MEMORY),
            cluster,
            environment,
        )
        failures = [Failure(name=each.name, error=each.error) for each in results if each.outcome == "failed"]
        built = [known for each in pieces if (known := made_already(each.path, each.key)) is not None]
        here = {each.entry.file for each in built}
        here |= {GOLDEN} if golden.made_already(vectors, vectors_key) else set()
        failures += _lost([*(each.path.name for each in pieces), GOLDEN], here, failures)
        with working(console, "describing it"):
            _describe(order.out, version, {each.row.spec.variant: each.checkpoint for each in pieces}, built, failures)
        for stranger in _strangers(order.out, built):
            console.print(f"not of this release: {stranger}", soft_wrap=True)
    return [order.out / each.entry.file for each in built], failures


def resolve_order(order: Order) -> Order:
    """Return the order with absolute paths, and with `auto` resolved once, so that other machines make the same."""
    return replace(
        order,
        out=order.out.absolute(),
        clip=order.clip and order.clip.absolute(),
        checkpoints={
            variant: resolve_source(source, variant, order.trust) for variant, source in order.checkpoints.items()
        },
    )


def chosen(only: Sequence[str], light: bool) -> list[Row]:
    """Return the table's rows of these formats, or all rows. Raise ReleaseError for a format that is not in it."""
    for name in only:
        if name not in FORMATS:
            raise ReleaseError(f"--only {name}: give one of {', '.join(FORMATS)}")
    rows = [row for row in read_table() if (row.light or not light) and (not only or row.format in only)]
    if not rows:
        raise ReleaseError(
            f"no file of the release is of {' or '.join(only)}; leave --only out, or give another format"
        )
    return rows


def _piece(row: Row, out: Path, loaded: Checkpoint, clip: Clip) -> Piece:
    checkpoint = with_refiner(loaded, row.spec.refiner)
    path = out / row.file_name(checkpoint.seeded)
    return Piece(row=row, path=path, key=key_of(row, checkpoint, clip), checkpoint=checkpoint)


@contextmanager
def release_lock(out: Path, names: Collection[str] = ()) -> Iterator[None]:
    """Lock a release's folder, and remove the half-written files of a killed release.

    Args:
        out: The folder.
        names: Files that a release would write. They must not exist if the folder holds no release yet.

    `build` protects against a job that outlives its killed release for a moment.
    """
    lock = FileLock(out / FOLDER / "lock", timeout=0)
    if not (out / FOLDER).exists():
        _refuse_others(out, names)
    try:
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
        _refuse_links(out / FOLDER)
        lock.acquire()
    except Timeout as error:
        raise ReleaseError(
            f"another release is being written into {out}; wait until it has ended, or give another --output"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{out} is a file, or lies in one; give another --output") from error
    except OSError as error:
        raise OutputError(f"cannot write into {out}: {error.strerror or error}; give another --output") from error
    try:
        for folder in (*(out / FOLDER).glob(STAGING), *(out / FOLDER).glob(f"{AGAIN}*")):
            rmtree(folder, ignore_errors=True)  # a folder that its process still cleans up may vanish
        yield
    finally:
        lock.release()


def _refuse_links(records: Path) -> None:
    """Refuse a folder of records that leads elsewhere, by a link, or whose records are no regular files."""
    wrong = [records] * records.is_symlink() or [
        each for each in records.iterdir() if each.is_symlink() or (each.suffix == ".json" and not each.is_file())
    ]
    if wrong:
        raise OutputError(f"{wrong[0]} is a link, or no regular file; remove it, or give another --output")


def _make_way(out: Path, wanted: Sequence[Path]) -> None:
    """Mark the wanted files as the release's, and remove older files of other weights, another clip or other versions.

    A file that exists without a mark belongs to somebody else. A mark needs no seal: who can write one here can write
    the file too, and a user whose key is lost makes the files again.
    """
    _refuse_others(out, [path.name for path in wanted if not record_of(path).exists()])
    for path in wanted:
        write_text("", record_of(path), desk=out / FOLDER)  # beside, since the mark may be another file's hard link
        for each in (path, card_of(path)):
            each.unlink(missing_ok=True)
    if wanted:
        for name in (manifests.NAME, SUMS, SIGNATURE):  # until they are written again, they would describe other files
            (out / name).unlink(missing_ok=True)


def _names(pieces: Sequence[Piece]) -> list[str]:
    """Return the names of all files that a release writes."""
    return sorted({SUMS, SIGNATURE, *summed(piece.path.name for piece in pieces)})


def _refuse_others(out: Path, names: Collection[str]) -> None:
    for name in names:
        if (out / name).exists():
            raise OutputError(f"{out / name} is there, and of no release; move it away, or give another --output")


def _lost(names: Sequence[str], here: Collection[str], failures: Sequence[Failure]) -> list[Failure]:
    """Return a failure for each file that is missing although its job did not fail."""
    known = {*here, *(each.name for each in failures)}
    why = "its job ended well, but the file is not here; do all workers of the cluster see the folder at this place?"
    return [Failure(name=name, error=why) for name in names if name not in known]


def _describe(
    out: Path,
    version: str,
    checkpoints: Mapping[str, Checkpoint],
    built: Sequence[Built],
    failures: Sequence[Failure],
) -> None:
    """Write everything but the models. The sums come last, if nothing failed: with them the release is whole."""
    manifest = Manifest(
        manifest=manifests.VERSION,
        name="Robust Video Matting",
        version=version,
        licence=LICENCE,
        source=SOURCE,
        checkpoints={
            variant: Weights(origin=each.origin, sha256=each.sha256, weights_sha256=each.weights_sha256)
            for variant, each in checkpoints.items()
        },
        artifacts=tuple(each.entry for each in built),
    )
    reports = [report for each in built for report in each.reports]
    # Texts that are read elsewhere must not name a folder of this machine.
    failures = [replace(each, error=each.error.replace(f"{out}/", "")) for each in failures]
    refusals = [Refusal(artifact=Path(each.name), error=each.error) for each in failures]
    texts = {
        **{card_of(Path(each.entry.file)).name: to_card(each.entry, each.seeded) for each in built},
        JUNIT: to_junit([*reports, *refusals]),
        REPORT: to_html(manifest, built, failures),
        LICENCE_TEXT: licence_text(),
        SBOM: to_sbom(manifest),
        manifests.NAME: manifests.to_text(manifest),
    }
    for name in (SUMS, SIGNATURE):  # until they are written again, they would describe other texts
        (out / name).unlink(missing_ok=True)
    for name, text in texts.items():
        write_text(text, out / name, desk=out / FOLDER)
    if not failures:
        sums = {each.entry.file: each.entry.sha256 for each in built}
        sums |= {name: sha256_of(out / name) for name in (*texts, GOLDEN)}
        lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
        write_text("".join(lines), out / SUMS, desk=out / FOLDER)


def _strangers(out: Path, built: Sequence[Built]) -> list[str]:
    """Return the names of files that are not of this release, perhaps of an earlier and larger one."""
    ours = {SUMS, SIGNATURE, FOLDER, *summed(each.entry.file for each in built)}
    return sorted(path.name for path in out.iterdir() if path.name not in ours)
