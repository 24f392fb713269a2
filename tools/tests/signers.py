"""Keys and certificates for tests, made anew each time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, kw_only=True)
class Person:
    """A signer's files: a private key, its public key, a certificate chain, and the authority that issued it."""

    private: Path
    public: Path
    chain: Path
    authority: Path


def person(folder: Path, name: str) -> Person:
    """Make a person's key, and a certificate of the person's own authority."""
    key, authority = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate(f"authority of {name}", authority, f"authority of {name}", authority)
    own = certificate(name, key, f"authority of {name}", authority)
    files = Person(**{each: folder / f"{name}.{each}.pem" for each in ("private", "public", "chain", "authority")})
    files.private.write_bytes(pem(key))
    files.public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    files.chain.write_bytes(own.public_bytes(serialization.Encoding.PEM))
    files.authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    return files


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuers_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    authority = subject == issuer
    today = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"),
            "decipher_only",
        ),
        False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuers_key.public_key()), critical=False)
        .sign(issuers_key, hashes.SHA256())
    )
