"""Releases whose manifest, sums, reports or records lie."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.release.build import FOLDER
from tools.tests.hostile.constructions.construction import (
    ESC,
    Build,
    Construction,
    changed_json,
    model_of,
    released,
    sha256,
)
from tools.tests.hostile.good_files import RELEASE
from tools.tests.hostile.home import SECRET, Home


def _manifest(change: Callable[[Any], object]) -> Build:
    return lambda home: released(home, lambda folder: changed_json(folder / "manifest.json", change))


def _manifest_text(text: str) -> Build:
    return lambda home: released(home, lambda folder: (folder / "manifest.json").write_text(text))


def _sums(change: Callable[[str], str | bytes]) -> Build:
    def build(home: Home) -> Construction:
        folder = released(home, lambda _: None).path
        text = change((folder / "SHA256SUMS").read_text())
        (folder / "SHA256SUMS").write_bytes(text if isinstance(text, bytes) else text.encode())
        return Construction("release", folder)

    return build


def _first(change: dict[str, Any]) -> Build:
    return _manifest(lambda manifest: manifest["artifacts"][0].update(change))


def file_outside(home: Home) -> Construction:
    """List a file outside of the release."""

    def change(folder: Path) -> None:
        shutil.copy(model_of(folder), home.secret)
        changed_json(folder / "manifest.json", lambda each: each["artifacts"][0].update(file=f"../../outside/{SECRET}"))

    return released(home, change)


def _every_text(value: Any) -> Any:
    """Add what terminals and pages act on to every text of a document that has a space in it, or is a name."""
    if isinstance(value, dict):
        return {key: _every_text(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_every_text(each) for each in value]
    return f"{value}{ESC}<script>alert(1)</script>" if isinstance(value, str) else value


def texts_that_terminals_act_on(home: Home) -> Construction:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(_every_text(json.loads(path.read_text()))))

    return released(home, change)


def strange_names(home: Home) -> Construction:
    """Put files into a release that its lists do not name, with names that terminals act on and that are no text."""

    def change(folder: Path) -> None:
        (folder / f"x{ESC}").touch()
        (folder / "x\udcff").touch()

    return released(home, change)


def damaged_file_with_sums(home: Home) -> Construction:
    """Damage the model, and make manifest and sums right again."""

    def change(folder: Path) -> None:
        path = model_of(folder)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x40
        path.write_bytes(content)
        changed_json(folder / "manifest.json", lambda each: each["artifacts"][0].update(sha256=sha256(path)))

    return released(home, change)


def forged_record(home: Home) -> Construction:
    """Leave a record that says that a damaged file is the one that was made; making the release again must not."""
    folder = home.outputs / RELEASE
    shutil.copytree(home.good / RELEASE, folder)
    path = model_of(folder)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    digest = sha256(path)
    changed_json(
        folder / FOLDER / f"{path.name}.json",
        lambda sealed: sealed.update(record=sealed["record"].replace(hashlib.sha256(good).hexdigest(), digest)),
    )
    sums = folder / "SHA256SUMS"
    sums.unlink()
    return Construction(
        "unfinished release",
        folder,
        check=lambda: "" if not sums.exists() or path.read_bytes() == good else "the damaged file was taken as made",
    )


def _record(write: Callable[[Path], object], what: str) -> Build:
    """Leave something that is no record, where the record of a file was."""

    def build(home: Home) -> Construction:
        folder = home.outputs / RELEASE
        shutil.copytree(home.good / RELEASE, folder)
        record = folder / FOLDER / f"{model_of(folder).name}.json"
        record.unlink()
        write(record)
        return Construction("unfinished release", folder)

    build.__name__ = what
    return build


def linked_records(home: Home) -> Construction:
    """Let the folder of records be a link to one outside."""
    folder = home.outputs / RELEASE
    shutil.copytree(home.good / RELEASE, folder)
    elsewhere = home.outside / "records"
    shutil.copytree(folder / FOLDER, elsewhere, dirs_exist_ok=True)
    record = elsewhere / f"{model_of(folder).name}.json"
    record.write_bytes(b"")
    shutil.rmtree(folder / FOLDER)
    (folder / FOLDER).symlink_to(elsewhere)
    return Construction(
        "unfinished release", folder, check=lambda: "a record outside was written" if record.read_bytes() else ""
    )


RELEASES: dict[str, Build] = {
    "a manifest nested deeply": _manifest_text("[" * 200_000),
    "a manifest with a number of 100,000 digits": _manifest_text('{"manifest": ' + "9" * 100_000 + "}"),
    "a manifest of 50 MB": _manifest_text('{"name": "' + "x" * 50_000_000 + '"}'),
    "a manifest in bytes that are no text": lambda home: released(
        home, lambda folder: (folder / "manifest.json").write_bytes(b'{"name": "\xff\xfe"}')
    ),
    "a manifest of a newer version": _manifest(lambda manifest: manifest.update(manifest=99)),
    "a manifest with a file outside": file_outside,
    "a manifest with an absolute file": _first({"file": "/etc/passwd"}),
    "a manifest with a hidden file": _first({"file": ".rvm-release/lock"}),
    "a manifest with a file of no name": _first({"file": ""}),
    "a manifest with another format": _first({"format": "torchscript"}),
    "a manifest with a format that is none": _first({"format": "os"}),
    "a manifest with a size that is none": _first({"bytes": -1}),
    "a manifest with weights that are none": _manifest(lambda manifest: manifest["checkpoints"].clear()),
    "a manifest with figures that are not numbers": _manifest(
        lambda manifest: manifest["artifacts"][0]["parity"][0]["outputs"]["pha"].update(max_abs=float("nan"))
    ),
    "a manifest with a thousand times the same file": _manifest(
        lambda manifest: manifest.update(artifacts=manifest["artifacts"] * 1000)
    ),
    "a manifest with a tool of the release's name": _manifest(
        lambda manifest: manifest["artifacts"][0]["tools"].update({manifest["name"]: manifest["version"]})
    ),
    "a manifest with a size of 4,000 digits": _first({"bytes": 10**4000}),
    "a manifest that terminals and pages act on": texts_that_terminals_act_on,
    "sums with a name outside": _sums(lambda text: f"{64 * '0'}  ../../outside/{SECRET}\n{text}"),
    "sums with a name that terminals act on": _sums(lambda text: f"{64 * '0'}  {ESC}\n{text}"),
    "sums in bytes that are no text": _sums(lambda text: b"\xff\xfe\n" + text.encode()),
    "sums of 100 MB": _sums(lambda text: text * 200_000),
    "sums with a name twice": _sums(lambda text: text * 2),
    "a release with strange names": strange_names,
    "a damaged file with right sums": damaged_file_with_sums,
    "a forged record beside a damaged file": forged_record,
    "a record nested deeply": _record(lambda path: path.write_text("[" * 200_000), "nested"),
    "a record that is a folder": _record(lambda path: path.mkdir(), "folder"),
    "a record that is a link": lambda home: _record(lambda path: path.symlink_to(home.secret), "link")(home),
    "a record that is a pipe": _record(os.mkfifo, "pipe"),
    "records that lie outside": linked_records,
}
