"""`rvm-export release` and `rvm-export release verify`, from their options to the exit code."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.format import MissingPackage
from rvm_model.errors import UserError
from rvm_model.state import VARIANTS
from tools.shared.console import say_error, stderr_console
from tools.shared.stdout import print_result

if TYPE_CHECKING:
    from tools.release.build import Order
    from tools.release.sign import Signer, Verifier

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_PACKAGES = ("cyclonedx", "filelock", "jinja2", "matplotlib", "pydantic")
_SIGNING = ("model_signing", "OpenSSL")


@dataclass(frozen=True, kw_only=True)
class ReleaseOptions:
    """The options that making a release and checking one share.

    `out` is the release's folder. `checkpoints` are its weights, in the form of `parse_checkpoints`. `trust` opens
    those that are code. `clip` is an image folder or a video; None is the built-in clip. `frames` is the number of
    frames; None means 24, or 12 large ones. `jobs` is the number of files to work on at a time; None means as many as
    cores and memory allow. `cluster` is the address of a Dask scheduler, or None.
    """

    out: Path
    checkpoints: Sequence[str]
    trust: bool
    clip: Path | None
    frames: int | None
    jobs: int | None
    cluster: str | None


@dataclass(frozen=True, kw_only=True)
class SigningOptions:
    """The options that name a signer: of a release to make, or of one to check.

    `sign` is a private key's file or `keyless`. `key` is a public key. `certificates` are the signer's own with
    `sign`, else those of the authorities to trust. `identity` and `issuer` are those of a keyless signature.
    """

    sign: str | None = None
    key: Path | None = None
    certificates: Path | None = None
    identity: str | None = None
    issuer: str | None = None


def release(
    options: ReleaseOptions,
    signing: SigningOptions,
    *,
    only: Sequence[str],
    light: bool,
    version: str,
    check_reproducible: bool,
) -> int:
    """Make a release, print the paths of its files, and return the exit code: 1 if one is missing or not reproducible.

    A release is signed if `signing` names a key, and if nothing failed before.

    Raises:
        UserError: see `make_release`, and a key that cannot be used.
        ExportFailed: it could not be signed.
    """
    _require(_PACKAGES)
    signer = _signer(signing)
    from tools.release.check import differences
    from tools.release.files import REPORT
    from tools.release.make import chosen, make_release, resolve_order
    from tools.release.sign import sign_release
    from tools.shared.models import parse_checkpoints

    if not _VERSION.fullmatch(version):
        raise UserError(f"--version {version!r}: give letters, digits and . + - _, such as 1.1.0")
    variants = [*dict.fromkeys(row.spec.variant for row in chosen(only, light))]
    sources = parse_checkpoints(options.checkpoints or ["auto"], variants, options.trust)
    order = resolve_order(_order(options, sources))
    paths, failures = make_release(order, version, only, light, options.jobs, options.cluster)
    for path in paths:
        print_result(path)
    console = stderr_console()
    console.print(f"the report: {order.out / REPORT}", soft_wrap=True)
    for failure in failures:
        say_error(f"{failure.name} is not there: {failure.error}", 1)
    if failures:
        return 1
    if check_reproducible:
        console.print("making it again, to compare")
        other = differences(order, version, only, light, options.jobs, options.cluster)
        for difference in other:
            say_error(difference, 1)
        if other:
            return 1
        console.print(
            "reproducible: made again in other processes and another folder, every file is the same bytes",
            soft_wrap=True,
        )
    if signer is not None:
        console.print(f"signed: {sign_release(order.out, signer)}", soft_wrap=True)
    return 0


def verify(options: ReleaseOptions, signing: SigningOptions, *, play: bool) -> int:
    """Check a release, and return the exit code: 1 if anything differs. Without `play` no model is opened.

    Raises:
        UserError: no such folder, a key that cannot be used, or see `check_release`.
    """
    _require(_PACKAGES)
    verifier = _verifier(signing)
    if not options.out.is_dir():
        raise UserError(f"{options.out} is no folder; give that of a release")
    doubts = _check_played(options, verifier) if play else _check_listed(options.out, verifier)
    for doubt in doubts:
        say_error(doubt, 1)
    if doubts:
        return 1
    proved = "each file computes what PyTorch computes" if play else "no model was opened"
    stderr_console().print(f"ok: {options.out} is whole, and {proved}", soft_wrap=True)
    return 0


def _check_listed(folder: Path, verifier: "Verifier | None") -> list[str]:
    from tools.release.integrity import check_integrity

    return check_integrity(folder, verifier, _say)[1]


def _check_played(options: ReleaseOptions, verifier: "Verifier | None") -> list[str]:
    from tools.release.check import check_release
    from tools.release.make import resolve_order
    from tools.shared.models import parse_checkpoints

    sources = parse_checkpoints(options.checkpoints, VARIANTS, options.trust)
    if "auto" in sources.values():
        raise UserError("--checkpoint auto could be other weights than the release's; give a path, official or seeded")
    order = resolve_order(_order(options, sources))
    return check_release(order, options.jobs, options.cluster, verifier, _say)


def _say(check: str, result: str) -> None:
    stderr_console().print(f"{check}: {result}", soft_wrap=True)


def _signer(options: SigningOptions) -> "Signer | None":
    """Return who signs the release, and None if nobody does. Raises UserError for a key that cannot be used."""
    if options.sign is None:
        if options.certificates is not None:
            raise UserError("--certificate is the one of a key; give the key's file as --sign too")
        return None
    _require(_SIGNING, "to sign a release")
    from tools.release.sign import KEYLESS, Signer, check_signer

    key = None if options.sign == KEYLESS else Path(options.sign)
    signer = Signer(key=key, certificates=options.certificates)
    check_signer(signer)
    return signer


def _verifier(options: SigningOptions) -> "Verifier | None":
    """Return whose signature is demanded, and None if none is. Raises UserError for a key that cannot be used."""
    given = {"--key": options.key, "--certificate": options.certificates, "--identity": options.identity}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise UserError(f"{' and '.join(names)} are different signers; give one of them")
    if options.issuer is not None and options.identity is None:
        raise UserError("--issuer is the one of an identity; give --identity too")
    if not names:
        return None
    _require(_SIGNING, "to check a signature")
    from tools.release.sign import GITHUB, Verifier, check_verifier

    verifier = Verifier(
        key=options.key,
        certificates=options.certificates,
        identity=options.identity,
        issuer=options.issuer or GITHUB,
    )
    check_verifier(verifier)
    return verifier


def _order(options: ReleaseOptions, sources: dict[str, str]) -> "Order":
    from tools.release.build import Order

    return Order(out=options.out, checkpoints=sources, clip=options.clip, frames=options.frames, trust=options.trust)


def _require(packages: Sequence[str], what: str = "a release") -> None:
    for package in packages:
        if find_spec(package) is None:
            raise MissingPackage(f"{what} needs {package}; run: pip install 'rvm-export[release]'")
