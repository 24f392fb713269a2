"""Sign a release, and check whose signature it has: OpenSSF Model Signing over the whole folder.

The signature covers every file but itself, the sums among them. Keyless signing is for a CI that vouches for itself.
"""

import base64
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rvm_model.errors import UserError, first_line
from rvm_model.files import open_file, read_file, sha256_of
from tools.release.files import FOLDER, SIGNATURE
from tools.shared.outputs import ExportFailed, publish

KEYLESS = "keyless"
"""The value of `--sign` that signs as the CI's own identity, by Sigstore."""

GITHUB = "https://token.actions.githubusercontent.com"
"""The issuer of the identities of GitHub's workflows."""

_OTHER_FILES = "Signature mismatch"
"""The beginning of the library's error if a signature is good, but not of these files."""

_KINDS = {"publicKey": "--key", "x509CertificateChain": "--certificate", "certificate": "--identity"}
"""The option that demands each kind of signature, by its name in the signature."""

_MOST_BYTES = 16_000_000
"""The limit of a signature: it lists a few hundred files at most."""


class SigningError(UserError):
    """A key or certificate that cannot be used. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True)
class Signer:
    """The signer of a release. `key` None means keyless; `certificates` is a chain file, the key's own first."""

    key: Path | None
    certificates: Path | None


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """The signer that a release must have: one of a public key, certificates of authorities, or an identity."""

    key: Path | None = None
    certificates: Path | None = None
    identity: str | None = None
    issuer: str = GITHUB

    @property
    def option(self) -> str:
        """The option that names this signer."""
        return "--key" if self.key else "--certificate" if self.certificates else "--identity"

    def __str__(self) -> str:
        if self.identity is not None:
            return f"{self.identity} of {self.issuer}"
        return str(self.key or self.certificates)


def check_signer(signer: Signer) -> None:
    """Raise SigningError if the signer's key, certificates or CI identity cannot be used."""
    if signer.key is None:
        if signer.certificates is not None:
            raise SigningError(f"--certificate is the one of a key; leave it out with --sign {KEYLESS}")
        _ambient_identity()
    else:
        _signing(signer)


def sign_release(folder: Path, signer: Signer) -> Path:
    """Sign a whole release, and return the path of the signature.

    Raises:
        SigningError: a key, certificate or CI identity that cannot be used.
        ExportFailed: Sigstore cannot be reached, or the signature cannot be written.
    """
    config = _signing(signer)
    path = folder / SIGNATURE
    path.unlink(missing_ok=True)

    def write(staged: Path) -> None:
        try:
            config.sign(folder, staged)
        # Sigstore raises its own errors, those of requests, and those of its trust root.
        except Exception as error:
            raise ExportFailed(f"{folder} is not signed: {first_line(error)}") from error

    publish(path, write, check=lambda _: None, force=True, desk=folder / FOLDER)
    return path


def check_verifier(verifier: Verifier) -> None:
    """Raise SigningError if the key or the certificates cannot be used."""
    _verifying(verifier)


def check_signature(folder: Path, verifier: Verifier | None) -> Iterator[str]:
    """Yield a sentence if a release has no signature of this signer over all its files. Nothing goes over the network.

    Raises:
        SigningError: the key or the certificates cannot be used.
    """
    if verifier is None:
        return
    path = folder / SIGNATURE
    if path.is_symlink() or not path.is_file():
        yield f"{SIGNATURE} is not there; a signature by {verifier} was demanded"
        return
    if path.stat().st_size > _MOST_BYTES:
        yield f"{SIGNATURE} is larger than any signature"
        return
    config = _verifying(verifier)
    kind = _kind(path)
    if kind is None:
        yield f"{SIGNATURE} is no signature, or is damaged"
        return
    if kind != verifier.option:
        yield f"{SIGNATURE} is a signature of another kind than {verifier.option} demands; give {kind}"
        return
    try:
        with redirect_stdout(sys.stderr):  # the library prints warnings
            config.verify(folder, path)
        signed = _signed(path)
    # The library raises nearly anything for a signature that is damaged or somebody else's.
    except Exception as error:
        yield f"{SIGNATURE} is no signature of this release by {verifier}: {_why(error, path, folder)}"
        return
    # A signature names the paths that it leaves out; none but itself may be.
    if left_out := sorted({each.name for each in _files(folder)} - {*signed}):
        yield f"{SIGNATURE} leaves out {', '.join(left_out)}"


def _hashing() -> Any:
    from model_signing import hashing

    # Not even files of git are left out.
    return hashing.Config().set_ignored_paths(paths=[SIGNATURE, FOLDER], ignore_git_paths=False)


def _signing(signer: Signer) -> Any:
    from model_signing import signing

    config = signing.Config().set_hashing_config(_hashing())
    if signer.key is None:
        identity = _ambient_identity()
        try:
            return config.use_sigstore_signer(identity_token=identity)
        except Exception as error:  # Sigstore's trust root comes over the network
            raise ExportFailed(f"Sigstore cannot be used: {first_line(error)}") from error
    key = _readable(signer.key, "a private key")
    if signer.certificates is None:
        return _usable(
            lambda: config.use_elliptic_key_signer(private_key=key),
            f"--sign {key}: give an unencrypted private key on the curve P-256, P-384 or P-521, as a PEM file",
        )
    chain = _readable(signer.certificates, "certificates")

    def use() -> Any:
        _check_usage(chain)
        return config.use_certificate_signer(private_key=key, signing_certificate=chain, certificate_chain=[chain])

    return _usable(
        use,
        f"--certificate {chain}: give the certificate of {key} as a PEM file, and behind it those of its issuers",
    )


def _verifying(verifier: Verifier) -> Any:
    from model_signing import verifying

    config = verifying.Config().set_hashing_config(_hashing())
    if verifier.key is not None:
        key = _readable(verifier.key, "a public key")
        return _usable(
            lambda: config.use_elliptic_key_verifier(public_key=key),
            f"--key {key}: give a public key on the curve P-256, P-384 or P-521, as a PEM file",
        )
    if verifier.certificates is not None:
        authorities = _readable(verifier.certificates, "certificates")
        return _usable(
            lambda: config.use_certificate_verifier(certificate_chain=[authorities]),
            f"--certificate {authorities}: give the certificates of the authorities that you trust, as a PEM file",
        )
    if verifier.identity is None:
        raise SigningError("nobody's signature is demanded; give a key, certificates or an identity")
    identity = verifier.identity
    with TemporaryDirectory(prefix="rvm-export-") as desk:
        trust = Path(desk) / "trust.json"

        def use() -> Any:
            trust.write_text(_trust_root())
            return config.use_sigstore_verifier(identity=identity, oidc_issuer=verifier.issuer, trust_config=trust)

        return _usable(use, f"--identity {identity}: Sigstore's keys cannot be read on this machine")


def _trust_root() -> str:
    """Return Sigstore's trusted keys as this machine has them: those of the package, or a later update."""
    from sigstore.models import ClientTrustConfig

    logging.getLogger("sigstore").setLevel(logging.ERROR)  # it warns that it is offline, which is intended
    text: str = ClientTrustConfig.production(offline=True)._inner.to_json()
    return text


def _ambient_identity() -> str:
    """Return the token of the CI that this process runs in. Raise SigningError elsewhere."""
    from sigstore.oidc import detect_credential

    try:
        token: str | None = detect_credential()
    except Exception as error:  # a workflow without the permission, among others
        raise SigningError(f"--sign {KEYLESS}: the CI gives no identity ({first_line(error)})") from error
    if token is None:
        raise SigningError(f"--sign {KEYLESS}: this is no CI with an identity of its own; give a private key")
    return token


def _readable(path: Path, what: str) -> Path:
    try:
        if not path.is_file():
            raise SigningError(f"no such file: {path}; give {what}")
        with open_file(path):
            return path
    except OSError as error:
        raise SigningError(f"cannot read {path}: {error.strerror}; give {what}") from error


def _usable(use: Callable[[], Any], fault: str) -> Any:
    """Return the configuration with a key or certificates. Raise SigningError if they cannot be used."""
    try:
        return use()
    except ValueError as error:
        raise SigningError(f"{fault} ({first_line(error)})") from error
    except Exception as error:  # cryptography raises TypeError, AttributeError and its own, whose texts help nobody
        raise SigningError(fault) from error


def _check_usage(chain: Path) -> None:
    """Raise ValueError if the first certificate may not sign: the library signs with it, and verifies nothing of it."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    extensions = x509.load_pem_x509_certificates(read_file(chain, _MOST_BYTES))[0].extensions
    usages = {type(each.value): each.value for each in extensions}
    usage, extended = usages.get(x509.KeyUsage), usages.get(x509.ExtendedKeyUsage, ())
    if not (usage is not None and usage.digital_signature) and ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        raise ValueError("the first one lacks the key usage digitalSignature")


def _kind(path: Path) -> str | None:
    """Return the option that demands signatures of this kind, or None if the file is no signature."""
    try:
        (kind,) = json.loads(read_file(path, _MOST_BYTES))["verificationMaterial"].keys() & _KINDS.keys()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return _KINDS[kind]


def _signed(path: Path) -> dict[str, str]:
    """Return the sha256 of each file that a verified signature covers."""
    envelope = json.loads(read_file(path, _MOST_BYTES))["dsseEnvelope"]
    resources = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["resources"]
    return {each["name"]: each["digest"] for each in resources}


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.name not in (SIGNATURE, FOLDER))


def _why(error: Exception, path: Path, folder: Path) -> str:
    if str(error).startswith(_OTHER_FILES):
        signed = _signed(path)
        here = {each.name: sha256_of(each) if each.is_file() else "" for each in _files(folder)}
        other = sorted(name for name in {**signed, **here} if signed.get(name) != here.get(name))
        return f"it is of other files: {', '.join(other)}"
    # An InvalidSignature has no text.
    return first_line(error) if str(error) else "it is altered, or made with another key"
