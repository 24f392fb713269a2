"""Check a release without opening a model: manifest, sums, signature, figures, SBOM and scan. Needs no PyTorch."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from exporters import FORMATS
from exporters.support.licence import LICENCE
from rvm_model.files import read_file, sha256_of
from tools.release import manifest as manifests
from tools.release.files import FOLDER, SBOM, SIGNATURE, SUMS, summed
from tools.release.manifest import Manifest, ManifestError, ReleasedFile, read_manifest
from tools.release.sbom import disagreements
from tools.release.sign import Verifier, check_signature

Say = Callable[[str, str], None]
"""Called with the name of a check and its result when it ends."""

_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9._-]*)")
_MOST_SUMS = 1_000_000
_MOST_BYTES = 100_000_000
"""The limit of a file that is no model."""


def check_integrity(folder: Path, verifier: Verifier | None, say: Say) -> tuple[Manifest | None, list[str]]:
    """Check all that needs no model to be opened.

    Args:
        folder: The release's folder.
        verifier: Says whose signature the release must have; None if it needs none.
        say: Called after each check.

    Returns:
        The manifest, or None if it cannot be read, and a sentence for each fault.
    """
    links = [path.name for path in sorted(folder.glob("*")) if path.is_symlink()]
    if links:
        say("links", "wrong")
        return None, [f"{name} is a link, and no release has one" for name in links]
    try:
        manifest = read_manifest(folder / manifests.NAME)
    except ManifestError as error:
        say("manifest", "wrong")
        return None, [str(error)]
    checks: dict[str, Callable[[], Iterable[str]]] = {
        "manifest": lambda: _check_whole(manifest),
        "sums": lambda: _check_sums(folder, manifest),
        "signature": lambda: check_signature(folder, verifier),
        "SBOM": lambda: disagreements(folder / SBOM, manifest),
        "scan": lambda: _check_scans(manifest),
    }
    faults: list[str] = []
    for name, check in checks.items():
        if name == "signature" and verifier is None:
            signed = (folder / SIGNATURE).exists()
            say(name, "not checked; give --key, --certificate or --identity" if signed else "none, and none demanded")
            continue
        found = [*check()]
        say(name, "wrong" if found else "ok")
        faults += found
    return manifest, faults


def read_sums(folder: Path) -> dict[str, str]:
    """Return the sums by file name. Raise ValueError for an invalid line, or a name outside the folder."""
    text = read_file(folder / SUMS, _MOST_SUMS).decode("utf-8")
    sums = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{line[:80]!r} is no sum and name")
        if match[2] in sums:
            raise ValueError(f"{match[2]} is there twice")
        sums[match[2]] = match[1]
    return sums


def scan_faults(entry: ReleasedFile) -> Iterator[str]:
    """Yield a sentence for each thing in a file that no file of its format should hold."""
    scan = entry.scan
    if scan.pickles and not FORMATS[entry.format].is_code:
        yield f"{entry.file} holds pickles: {', '.join(scan.pickles)}"
    if scan.external:
        yield f"{entry.file} refers to data outside of it: {', '.join(scan.external)}"
    if scan.custom:
        yield f"{entry.file} has custom operations: {', '.join(scan.custom)}"


def _check_whole(manifest: Manifest) -> Iterator[str]:
    """Yield a sentence for each contradiction in the manifest, and for each file whose parity exceeds its limits."""
    if manifest.licence != LICENCE:
        yield f"the manifest's licence is {manifest.licence}, not {LICENCE}"
    if not manifest.artifacts:
        yield "the manifest lists no file"
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


def _check_scans(manifest: Manifest) -> Iterator[str]:
    for entry in manifest.artifacts:
        if entry.format not in FORMATS:
            yield f"{entry.file}: its format {entry.format!r} is none of {', '.join(FORMATS)}"
        else:
            yield from scan_faults(entry)


def _check_sums(folder: Path, manifest: Manifest) -> Iterator[str]:
    try:
        sums = read_sums(folder)
    except (OSError, ValueError) as error:
        yield f"{SUMS} cannot be read: {error}"
        return
    sizes = {entry.file: entry.bytes for entry in manifest.artifacts}
    for name, digest in sums.items():
        yield from _check_sum(folder / name, digest, sizes.get(name))
    listed = summed(sizes)
    yield from (f"{name} is not in {SUMS}" for name in sorted(listed - {*sums}))
    yield from (f"{name} is in {SUMS}, but not in the manifest" for name in sorted({*sums} - listed))
    known = {*sums, SUMS, SIGNATURE, FOLDER}
    yield from (f"{path.name} is not of this release" for path in sorted(folder.iterdir()) if path.name not in known)


def _check_sum(path: Path, digest: str, size: int | None) -> Iterator[str]:
    """Yield a sentence if a file is not the one that was summed. `size` is a model's, according to the manifest."""
    if path.is_symlink() or not path.is_file():
        yield f"{path.name} is in {SUMS}, but is no file here"
        return
    found = path.stat().st_size
    if found != size if size is not None else found > _MOST_BYTES:
        expected = f"of {size} bytes" if size is not None else f"of at most {_MOST_BYTES} bytes"
        yield f"{path.name} is not the file that {SUMS} lists: it has {found} bytes, expected is one {expected}"
    elif sha256_of(path) != digest:
        yield f"{path.name} is not the file that {SUMS} lists"
