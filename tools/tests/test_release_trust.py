"""A release that anyone can check: signatures, SBOM, golden vectors, scans, licence, and checks without PyTorch."""

import json
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from exporters.support.licence import licence_text
from rvm_model import load_checkpoint
from rvm_model.files import sha256_of
from tools.companions import GOLDEN, golden
from tools.jobs.seals import seal_key, sealed
from tools.release import check, make, manifest, sbom
from tools.release.build import record_of
from tools.release.files import LICENCE_TEXT, SBOM, SIGNATURE, SUMS
from tools.release.integrity import scan_faults
from tools.release.sign import GITHUB, Signer, Verifier, check_signature, sign_release
from tools.tests.kills import ROOT, hashes
from tools.tests.signers import Person, certificate, pem, person
from tools.tests.small_release import ROWS, VERSION, make_here, order_of

pytestmark = pytest.mark.timeout(900)

MODEL = ROWS[0].file_name(seeded=True)
MAKE = ("--checkpoint", "mobilenetv3=seeded", "--only", "onnx", "--frames", 16, "--version", VERSION, "--jobs", 1)
KEYLESS = Path(__file__).parent / "data" / "keyless.sig"
"""A real signature of two files by Sigstore, from the tests of github.com/sigstore/model-transparency (Apache-2.0)."""

SIGNER = {"identity": "stefanb@us.ibm.com", "issuer": "https://sigstore.verify.ibm.com/oauth2"}


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """Return a release of one file. Tests must not change it."""
    folder = tmp_path_factory.mktemp("good") / "release"
    make_here(folder, 1)
    return folder


@pytest.fixture
def copy(good, tmp_path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "release"))


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Person:
    return person(tmp_path_factory.mktemp("mine"), "me")


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Person:
    return person(tmp_path_factory.mktemp("others"), "somebody else")


def sign(folder, signer):
    sign_release(folder, Signer(key=signer.private, certificates=None))


@pytest.fixture
def again(run, monkeypatch):
    """Return a function that makes a release again, which finds all its files."""
    monkeypatch.setattr(make, "read_table", lambda: ROWS[:1])

    def command(folder, *words):
        result = run("release", "--out", folder, *MAKE, *words)
        assert result.code == 0, result.err
        return result

    return command


@pytest.fixture
def listed(run, monkeypatch):
    """Return a function that checks a release, and fails if a model is opened."""
    monkeypatch.setattr(check, "run_jobs", lambda *_: pytest.fail("no model must be opened"))

    def verify(folder, *words):
        return run("release", "verify", folder, *words, *([] if "--no-play" in words else ["--frames", 16]))

    return verify


def sum_again(folder):
    """Write sums that match, as an attacker would."""
    names = sorted({*hashes(folder)} - {SUMS, SIGNATURE})
    (folder / SUMS).write_text("".join(f"{hashes(folder)[name]}  {name}\n" for name in names))


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    sum_again(path.parent)


# Signatures.


def test_a_release_is_signed_and_the_signature_covers_every_file(copy, again, run, mine):
    before = hashes(copy)
    result = again(copy, "--sign", mine.private)
    assert f"signed: {copy / SIGNATURE}" in result.err
    assert hashes(copy).keys() - before.keys() == {SIGNATURE}
    assert SIGNATURE not in (copy / SUMS).read_text()
    result = run("release", "verify", copy, "--no-play", "--key", mine.public)
    assert (result.code, result.out) == (0, "")
    said = result.err.splitlines()
    assert said == [
        *("manifest: ok", "sums: ok", "signature: ok", "SBOM: ok", "scan: ok"),
        f"ok: {copy} is whole, and no model was opened",
    ]
    for name in before:
        (copy / name).rename(copy / "x")
        assert [*check_signature(copy, Verifier(key=mine.public))], name
        (copy / "x").rename(copy / name)
    assert [*check_signature(copy, Verifier(key=mine.public))] == []


def test_a_signature_by_a_certificate(copy, again, run, mine, others):
    again(copy, "--sign", mine.private, "--certificate", mine.chain)
    assert run("release", "verify", copy, "--no-play", "--certificate", mine.authority).code == 0
    result = run("release", "verify", copy, "--no-play", "--certificate", others.authority)
    assert result.code == 1
    assert f"{SIGNATURE} is no signature of this release by {others.authority}" in result.error


def test_a_signature_of_another_kind_says_which_option_demands_it(copy, mine):
    sign(copy, mine)
    assert [*check_signature(copy, Verifier(certificates=mine.authority))] == [
        f"{SIGNATURE} is a signature of another kind than --certificate demands; give --key"
    ]
    (fault,) = check_signature(copy, Verifier(**SIGNER))
    assert fault.endswith("than --identity demands; give --key")
    sign_release(copy, Signer(key=mine.private, certificates=mine.chain))
    (fault,) = check_signature(copy, Verifier(key=mine.public))
    assert fault.endswith("than --key demands; give --certificate")


@pytest.mark.parametrize("play", [[], ["--no-play"]], ids=["play", "no play"])
def test_a_signature_by_somebody_else_is_refused_before_a_model_is_opened(play, copy, listed, mine, others):
    sign(copy, others)
    result = listed(copy, *play, "--key", mine.public)
    assert result.code == 1
    assert f"{SIGNATURE} is no signature of this release by {mine.public}: " in result.error


def test_a_missing_signature_is_refused_where_one_is_demanded(good, listed, mine):
    result = listed(good, "--key", mine.public)
    assert result.code == 1
    assert f"{SIGNATURE} is not there; a signature by {mine.public} was demanded" in result.error


def test_a_changed_file_with_sums_that_match_is_found_by_the_signature(copy, listed, mine):
    sign(copy, mine)
    (copy / LICENCE_TEXT).write_text("do what you like")
    sum_again(copy)
    result = listed(copy, "--key", mine.public)
    assert result.code == 1
    assert f"it is of other files: {LICENCE_TEXT}, {SUMS}" in result.error
    assert "sums: ok" in result.err


def test_nobody_is_told_that_an_unchecked_signature_is_good(copy, run, mine, good):
    sign(copy, mine)
    result = run("release", "verify", copy, "--no-play")
    assert result.code == 0
    assert "signature: not checked; give --key, --certificate or --identity" in result.err
    assert "signature: none, and none demanded" in run("release", "verify", good, "--no-play").err


@pytest.mark.parametrize("words", [["--frames", 12], ["--trust"], ["--checkpoint", "seeded"]], ids=str)
def test_an_option_for_playing_is_refused_where_nothing_is_played(words, good, run):
    result = run("release", "verify", good, "--no-play", *words)
    assert result.code == 2
    assert f"{words[0]} is not for --no-play, which opens no model; leave it out" in result.error


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"verificationMaterial": {}}', b"\0" * 17_000_000],
    ids=["empty", "object", "list", "no text", "deep", "half", "large"],
)
def test_a_damaged_signature_is_one_line(content, good, listed, mine, tmp_path):
    folder = Path(shutil.copytree(good, tmp_path / "release"))
    (folder / SIGNATURE).write_bytes(content)
    result = listed(folder, "--key", mine.public)
    assert result.code == 1
    assert SIGNATURE in result.error


def test_a_signature_that_is_no_file_is_not_read(copy, listed, mine, tmp_path):
    (copy / SIGNATURE).symlink_to("/dev/zero")
    assert f"{SIGNATURE} is a link" in listed(copy, "--key", mine.public).error


def test_a_release_that_is_described_again_loses_its_signature(copy, again, mine):
    """It would be of other files."""
    sign(copy, mine)
    again(copy)
    assert not (copy / SIGNATURE).exists()


def test_a_release_that_failed_is_not_signed(copy, run, mine, monkeypatch):
    monkeypatch.setattr(make, "read_table", lambda: ROWS[:1])
    monkeypatch.setattr(make, "run_jobs", lambda jobs, *_: [])
    (copy / MODEL).unlink()
    assert run("release", "--out", copy, *MAKE, "--sign", mine.private).code == 1
    assert not (copy / SIGNATURE).exists()


def test_unusable_keys_are_one_line_and_nothing_is_made(run, mine, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "run_jobs", lambda *_: pytest.fail("nothing must run"))
    for number in ("GITHUB_ACTIONS", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL"):
        monkeypatch.delenv(number, raising=False)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(pem(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    odd = tmp_path / "odd.pem"
    odd.write_bytes(pem(ec.generate_private_key(ec.SECP256K1())))
    other = tmp_path / "rsa.pem"
    other.write_bytes(pem(rsa.generate_private_key(65537, 2048)))
    may_not_sign = tmp_path / "may_not_sign.pem"
    owner = serialization.load_pem_private_key(mine.private.read_bytes(), None)
    may_not_sign.write_bytes(certificate("me", owner, "me", owner).public_bytes(serialization.Encoding.PEM))
    out = tmp_path / "out"
    for words, said in (
        (["--sign", tmp_path / "none.pem"], "no such file: "),
        (["--sign", "/dev/zero"], "no such file: /dev/zero; give a private key"),
        (["--sign", mine.public], "give an unencrypted private key on the curve P-256"),
        (["--sign", locked], "give an unencrypted private key"),
        (["--sign", odd], "give an unencrypted private key on the curve P-256"),
        (["--sign", other], "give an unencrypted private key on the curve P-256, P-384 or P-521, as a PEM file"),
        (["--sign", mine.private, "--certificate", may_not_sign], "lacks the key usage digitalSignature"),
        (["--sign", mine.private, "--certificate", mine.public], "give the certificate of"),
        (["--sign", mine.private, "--certificate", mine.authority], "give the certificate of"),
        (["--sign", "keyless"], "this is no CI with an identity of its own; give a private key"),
        (["--certificate", mine.chain], "give the key's file as --sign too"),
    ):
        result = run("release", "--out", out, *MAKE, *words)
        assert result.code == 2, words
        assert said in result.error
        assert "object has no attribute" not in result.error
        assert not out.exists()
    for words, said in (
        (["--key", tmp_path / "none.pem"], "no such file: "),
        (["--key", mine.private], "give a public key on the curve P-256"),
        (["--key", mine.chain], "give a public key on the curve P-256"),
        (["--certificate", mine.public], "give the certificates of the authorities that you trust"),
        (["--certificate", mine.chain, "--key", mine.public], "--key and --certificate are different signers"),
        (["--issuer", "https://example.org"], "give --identity too"),
    ):
        result = run("release", "verify", tmp_path, *words)
        assert result.code == 2, words
        assert said in result.error


def test_a_keyless_signature_is_checked_without_the_network(tmp_path, monkeypatch):
    def connect(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", connect)
    for name in ("signme-1", "signme-2"):
        (tmp_path / name).write_text(name)
    shutil.copy(KEYLESS, tmp_path / SIGNATURE)
    assert [*check_signature(tmp_path, Verifier(**SIGNER))] == []
    for other in ({"identity": "me@example.org"}, {"issuer": GITHUB}):
        (fault,) = check_signature(tmp_path, Verifier(**SIGNER | other))
        assert "does not match" in fault or "do not match" in fault
    (tmp_path / "ignore-me").write_text("a path that this signature leaves out")
    assert [*check_signature(tmp_path, Verifier(**SIGNER))] == [f"{SIGNATURE} leaves out ignore-me"]
    (tmp_path / "ignore-me").unlink()
    (tmp_path / "signme-1").write_text("something else")
    (fault,) = check_signature(tmp_path, Verifier(**SIGNER))
    assert fault.endswith("it is of other files: signme-1")


def add_stranger(folder):
    with (folder / "stranger").open("wb") as file:
        file.truncate(300_000_000_000)


def enlarge_model(folder):
    """Make the model a sparse file of a size that the manifest claims."""
    with (folder / MODEL).open("r+b") as file:
        file.truncate(300_000_000_000)
    path = folder / manifest.NAME
    content = json.loads(path.read_text())
    content["artifacts"][0]["bytes"] = 300_000_000_000
    path.write_text(json.dumps(content))


def enlarge_text(folder):
    with (folder / LICENCE_TEXT).open("r+b") as file:
        file.truncate(300_000_000_000)


@pytest.mark.parametrize(
    ("enlarge", "said"),
    [
        (add_stranger, "stranger is not of this release"),
        (enlarge_model, "it has 300000000000 bytes, expected is one of at most 1000000000 bytes"),
        (enlarge_text, "it has 300000000000 bytes, expected is one of at most 100000000 bytes"),
    ],
)
def test_a_sparse_file_is_not_hashed_for_its_sum_or_its_signature(enlarge, said, copy, listed, mine):
    sign(copy, mine)
    enlarge(copy)
    before = time.process_time()
    result = listed(copy, "--key", mine.public)
    assert time.process_time() - before < 20
    assert result.code == 1
    assert said in result.err
    assert "signature: not checked: the files are not as listed" in result.err


# Manifest, SBOM, licence.


def test_a_manifest_of_a_newer_version_is_one_line(copy, listed):
    change(copy / manifest.NAME, lambda content: content.update(manifest=manifest.VERSION + 1, more={"deep": []}))
    result = listed(copy)
    assert result.code == 1
    assert result.error.endswith(
        f"{manifest.NAME} is of version {manifest.VERSION + 1}, this rvm-export reads version {manifest.VERSION}; "
        "install a newer rvm-export"
    )


def other_sum(content):
    next(each for each in content["components"] if each["name"] == MODEL)["hashes"][0]["content"] = "0" * 64


def other_licence(content):
    next(each for each in content["components"] if each["name"] == MODEL)["licenses"] = [{"expression": "MIT"}]


def hidden_part(content):
    next(each for each in content["components"] if each["name"] == MODEL)["components"] = [{"name": "x"}]


def other_figure(content):
    card = next(each for each in content["components"] if each["name"] == MODEL)["modelCard"]
    card["quantitativeAnalysis"]["performanceMetrics"][0]["value"] = "0.0"


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (other_sum, f"disagrees with the manifest: hashes of {MODEL}"),
        (other_licence, f"disagrees with the manifest: licenses of {MODEL}"),
        (other_figure, f"disagrees with the manifest: modelCard of {MODEL}"),
        (hidden_part, f"disagrees with the manifest: components of {MODEL}"),
        (lambda content: content["dependencies"].clear(), "disagrees with the manifest: dependencies"),
        (lambda content: content.update(vulnerabilities=[{}]), "disagrees with the manifest: vulnerabilities"),
        (lambda content: content["components"].clear(), "lacks"),
        (lambda content: content["components"].append({"name": "x", "type": "library"}), "lists x, which is not in"),
        (lambda content: content["components"].append(content["components"][0]), "is no CycloneDX bill of materials"),
        (lambda content: content.clear(), "is no CycloneDX bill of materials"),
        (lambda content: content.update(components=[1]), "is no CycloneDX bill of materials"),
    ],
    ids=["sum", "licence", "figure", "hidden", "links", "holes", "nothing", "more", "twice", "empty", "no component"],
)
def test_a_bill_of_materials_that_disagrees_is_found(edit, said, copy, listed):
    change(copy / SBOM, edit)
    result = listed(copy)
    assert result.code == 1
    errors = [line for line in result.err.splitlines() if "error: " in line]
    assert all(f"{SBOM} {said}" in line for line in errors), errors
    assert errors


def test_the_bill_of_materials_holds_the_schema_and_the_manifests_facts(good):
    text = (good / SBOM).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    told = manifest.read_manifest(good / manifest.NAME)
    assert sbom.to_sbom(told) == text
    content = json.loads(text)
    assert "serialNumber" not in content
    assert "timestamp" not in content["metadata"]
    components = {each["bom-ref"]: each for each in content["components"]}
    (entry,) = told.artifacts
    model, weights = components[f"file:{MODEL}"], components["weights:mobilenetv3"]
    assert (content["metadata"]["component"]["name"], content["metadata"]["component"]["version"]) == (
        told.name,
        VERSION,
    )
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": entry.sha256}]
    assert weights["hashes"] == [{"alg": "SHA-256", "content": told.checkpoints["mobilenetv3"].sha256}]
    assert model["licenses"] == weights["licenses"] == [{"expression": "GPL-3.0-or-later"}]
    assert {f"tool:{name}@{version}" for name, version in entry.tools.items()} <= components.keys()
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    figures = {each["type"]: float(each["value"]) for each in metrics}
    assert figures["largest absolute error of pha against PyTorch"] == entry.parity[0].outputs["pha"].max_abs
    depends = {each["ref"]: each.get("dependsOn", []) for each in content["dependencies"]}
    assert "weights:mobilenetv3" in depends[f"file:{MODEL}"]


def test_the_licence_is_in_the_release_and_each_card_says_what_it_asks(good):
    assert (good / LICENCE_TEXT).read_text() == licence_text()
    assert licence_text().lstrip().startswith("GNU GENERAL PUBLIC LICENSE")
    card = (good / f"{MODEL}.md").read_text()
    assert "`LICENSE`" in card
    assert "source" in card.partition("## Licence")[2]


# Checks without PyTorch.


def test_a_release_is_checked_without_importing_pytorch(copy, mine):
    sign(copy, mine)
    code = (
        "import sys; from tools.cli import main\n"
        "try: main.main()\n"
        "except SystemExit as stop: print(stop.code, *sorted({'torch', 'onnx', 'av', 'numpy'} & {*sys.modules}))"
    )
    words = ["release", "verify", str(copy), "--no-play", "--key", str(mine.public)]
    process = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert process.stdout.split() == ["0"], process.stderr


# Golden vectors.


@pytest.fixture(scope="module")
def arrays(good):
    with np.load(good / GOLDEN) as vectors:
        return dict(vectors)


def test_the_vectors_have_eight_moving_frames_at_two_sizes_and_fit_in_memory(good, arrays):
    assert (good / GOLDEN).stat().st_size < 3_000_000
    assert len(golden.SIZES) == 2
    for size in golden.SIZES:
        src = arrays[f"{size}/src"]
        assert (src.shape, src.dtype) == ((8, size.height, size.width, 3), np.uint8)
        assert all((before != after).mean() > 0.1 for before, after in pairwise(src))
        assert arrays[f"{size}/downsample_ratio"] == np.float32(size.ratio) == size.ratio
        for name in ("fgr", "pha", "r1o", "r2o", "r3o", "r4o"):
            assert arrays[f"mobilenetv3/{size}/{name}"].dtype == np.float32
    assert len(arrays) == 2 * (2 + 6)


def test_the_vectors_are_the_same_bytes_each_time_and_hold_no_date(good, tmp_path):
    golden.pack(golden.vectors([load_checkpoint("seeded")]), tmp_path / GOLDEN)
    assert (tmp_path / GOLDEN).read_bytes() == (good / GOLDEN).read_bytes()
    with zipfile.ZipFile(good / GOLDEN) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.parametrize(
    "seal", [None, str, lambda digest: sealed(digest, bytes(32)), lambda digest: sealed(digest, seal_key("other work"))]
)
def test_spoiled_vectors_are_made_again(seal, copy, monkeypatch):
    """Spoil them, without or with a forged record that says that these are the vectors that were made."""
    wanted = []
    monkeypatch.setattr(make, "read_table", lambda: ROWS[:1])
    monkeypatch.setattr(make, "run_jobs", lambda jobs, *_: wanted.extend(jobs) or [])
    content = (copy / GOLDEN).read_bytes()
    (copy / GOLDEN).write_bytes(content[:-1] + b"x")
    if seal is not None:
        record_of(copy / GOLDEN).write_text(seal(sha256_of(copy / GOLDEN)))
    _, failures = make.make_release(order_of(copy), VERSION, [], True, 1, None)
    assert [job.name for job in wanted] == [GOLDEN]
    assert [failure.name for failure in failures] == [GOLDEN]
    assert not (copy / SUMS).exists()


# Scans.


def test_a_file_with_pickles_foreign_data_or_custom_operations_is_told(copy, listed):
    def edit(content):
        scan = content["artifacts"][0]["scan"]
        scan |= {"pickles": ["data.pkl"], "external": ["/etc/passwd"], "custom": ["evil::Run"]}

    change(copy / manifest.NAME, edit)
    result = listed(copy)
    assert result.code == 1
    for said in (
        "holds pickles: data.pkl",
        "refers to data outside of it: /etc/passwd",
        "has custom operations: evil::Run",
    ):
        assert f"{MODEL} {said}" in result.err


def test_only_formats_that_are_code_may_hold_pickles(good):
    (entry,) = manifest.read_manifest(good / manifest.NAME).artifacts
    assert [*scan_faults(entry)] == []
    scan = entry.scan.model_copy(update={"pickles": ("data.pkl",)})
    told = {name: entry.model_copy(update={"scan": scan, "format": name}) for name in ("torchscript", "tensorflow")}
    assert [*scan_faults(told["torchscript"])] == []
    assert len([*scan_faults(told["tensorflow"])]) == 1
