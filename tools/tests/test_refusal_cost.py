"""Refusing a file of up to 20 MB takes at most 1.5 GB of memory and 20 seconds of a processor, whatever is in it."""

import random
import subprocess
import sys
import zipfile

import pytest

from exporters.coreml import MANIFEST

pytestmark = pytest.mark.timeout(300)

MOST_FILE = 20_000_000
MOST_MEMORY = 1_500_000_000
MOST_SECONDS = 20
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024), used.ru_utime + used.ru_stime)
"""
"""A process of its own between this one and the command, whose figure would else begin with the memory of this one."""

RUN = "import sys; from tools.cli.main import main; sys.argv[0] = 'rvm-export'; main()"


def field(number, content):
    """Return a field of a protobuf message that holds bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    content = b""
    while value >= 0x80:
        content += bytes([value & 0x7F | 0x80])
        value >>= 7
    return content + bytes([value])


def empty_nodes(folder):
    path = folder / "nodes.onnx"
    path.write_bytes(b"\x08\x07" + field(7, b"\x0a\x00" * 9_999_900))
    return "info", path


def long_name(folder):
    path = folder / "name.onnx"
    path.write_bytes(b"\x08\x07" + field(7, field(2, b"a" * 19_999_900)))
    return "info", path


def tiny_fields(folder):
    path = folder / "fields.mlmodel"
    path.write_bytes(b"\x08\x01" * 10_000_000)
    return "info", path


def small_objects(folder):
    (folder / "model.json").write_bytes(b"[" + b'{"a":0},' * 1_999_000 + b"0]")
    return "info", folder


def filled_package(folder):
    """Write a specification that is as large as its zip file allows."""
    specification = field(100, field(100, random.Random(0).randbytes(19_000_000) + bytes(170_000_000)))
    path = folder / "filled.mlpackage"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/Data/model", b"\x08\x07" + specification + field(502, b""))
        archive.writestr(f"m/{MANIFEST}", '{"itemInfoEntries": {"x": {"path": "model"}}, "rootModelIdentifier": "x"}')
    return "info", path


def filled_checkpoint(folder):
    path = folder / "filled.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}.")
        archive.writestr("m/version", "3\n")
        archive.writestr("m/data/0", random.Random(0).randbytes(19_000_000) + bytes(170_000_000))
    return "onnx", "--output", folder, "--checkpoint", path


def many_entries(folder):
    path = folder / "entries.zip"
    entry = b"PK\1\2" + bytes(24) + b"\1" + bytes(17) + b"a"
    path.write_bytes(entry * 420_000 + b"PK\5\6" + bytes(16) + b"\0\0")
    return "info", path


def many_tensors(folder):
    path = folder / "tensors.safetensors"
    entries = b",".join(b'"%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % k for k in range(340_000))
    path.write_bytes((len(entries) + 2).to_bytes(8, "little") + b"{" + entries + b"}")
    return "onnx", "--output", folder, "--checkpoint", path


def wrong_entries(folder):
    (folder / "manifest.json").write_bytes(b'{"manifest": 2, "artifacts": [' + b"0," * 9_999_900 + b"0]}")
    return "release", "verify", folder


ATTACKS = [
    empty_nodes,
    long_name,
    tiny_fields,
    small_objects,
    filled_package,
    filled_checkpoint,
    many_entries,
    many_tensors,
    wrong_entries,
]


@pytest.mark.parametrize(
    "attack",
    [pytest.param(attack, marks=[pytest.mark.long] if k % 2 else []) for k, attack in enumerate(ATTACKS)],
    ids=lambda attack: attack.__name__,
)
def test_a_hostile_file_is_refused_cheaply(attack, tmp_path):
    command = attack(tmp_path)
    assert all(file.stat().st_size <= MOST_FILE for file in tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, sys.executable, "-c", RUN, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=280,
    )
    code, memory, seconds = map(float, done.stdout.splitlines()[-1].split())
    lines = done.stderr.splitlines()
    assert code in (1, 2), lines
    assert len(lines) < 5, lines
    assert "Traceback" not in done.stderr
    assert memory < MOST_MEMORY, f"{memory / 1e9:.2f} GB"
    assert seconds < MOST_SECONDS
