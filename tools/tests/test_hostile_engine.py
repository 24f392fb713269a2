"""The engine of hostile files finds what it looks for: each watch is shown what it must see."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.tests.hostile.allowed import is_ours
from tools.tests.hostile.judgement import MOST_MEMORY_TO_REFUSE, wrong_with
from tools.tests.hostile.mutants import draw
from tools.tests.hostile.patience import STACK
from tools.tests.hostile.watch import watched

ROOT = Path(__file__).resolve().parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory limits and watches of files are Linux's here")
GOOD = {
    "number": 0,
    "file": "x.onnx",
    "kind": "flip_bits",
    "command": "info",
    "names": "x.onnx",
    "code": 2,
    "out": "",
    "err": "rvm-export: error: x.onnx is damaged; give another\n",
    "files": [],
    "processes": [],
    "connections": [],
    "left": [],
    "written": [],
    "fault": "",
    "seconds": 1.0,
    "cpu_seconds": 1.0,
    "memory": 0,
}


def test_a_good_outcome_passes():
    assert wrong_with(GOOD) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"killed": "Timeout"},
        {"code": "KeyError: 'x'"},
        {"code": 139},
        {"code": None},
        {"err": GOOD["err"] + "Traceback (most recent call last)\n"},
        {"err": GOOD["err"] + "rvm-export: internal error: KeyError: 'x'\n"},
        {"err": "", "names": ""},
        {"err": GOOD["err"] * 2},
        {"err": "rvm-export: error: it is damaged\n"},
        {"err": GOOD["err"].replace("damaged", "\x1b[2Jdamaged")},
        {"err": GOOD["err"].replace("damaged", "damaged" * 1000)},
        {"out": "{}"},
        {"files": ["read: /etc/x"]},
        {"processes": ["subprocess.Popen: ['gs', '--version']"]},
        {"connections": ["socket.connect: ('192.0.2.1', 80)"]},
        {"left": ["escaped"]},
        {"written": ["a.onnx"]},
        {"code": 0, "written": [".a-1234.onnx"]},
        {"cpu_seconds": 21.0},
        {"memory": MOST_MEMORY_TO_REFUSE + 1},
        {"fault": "the damaged file was taken as made"},
    ],
    ids=str,
)
def test_each_fault_is_found(changed):
    assert len(wrong_with(GOOD | changed)) == 1


def test_an_accepted_file_may_take_time_and_memory():
    assert wrong_with(GOOD | {"code": 0, "err": "", "cpu_seconds": 50, "memory": 1 << 31, "written": ["a.png"]}) == []


WATCHED = """
import os, socket, subprocess, sys
from pathlib import Path
from tools.tests.hostile.home import Home
from tools.tests.hostile.patience import STACK
from tools.tests.hostile.watch import Watch
home = Home(Path(sys.argv[1]))
home.make()
with Watch(home).watching() as seen:
    {}
print([seen.files, seen.processes, seen.connections].count([]), seen.files + seen.processes + seen.connections)
"""


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("open(home.escaped, 'w')", "written: {home}/escaped"),
        ("open(home.secret)", "read: {home}/outside/secret.bin"),
        ("os.open(home.escaped, os.O_RDWR | os.O_CREAT)", "written: {home}/escaped"),
        ("open('/etc/passwd')", "read: /etc/passwd"),
        ("open('/proc/self/mem', 'rb')", "read: /proc/self/mem"),
        ("os.mkdir(home.escaped)", "os.mkdir: {home}/escaped"),
        ("os.rename(home.secret, home.escaped)", "os.rename: {home}/outside/secret.bin"),
        ("os.remove(home.secret)", "os.remove: {home}/outside/secret.bin"),
        ("os.symlink('x', home.escaped)", "os.symlink: {home}/escaped"),
        ("os.system('true')", "os.system: b'true'"),
        ("subprocess.run(['true'])", "subprocess.Popen: ['true']"),
        ("subprocess.run('true', shell=True)", "subprocess.Popen: ['/bin/sh', '-c', 'true']"),
        ("os.posix_spawn('/bin/true', ['true'], {{}})", "os.posix_spawn: ['true']"),
        ("sys.audit('socket.connect', None, ('192.0.2.1', 9))", "socket.connect: ('192.0.2.1', 9)"),
        ("open(home.unpacking / 'x', 'w'); open(home.outputs / 'x', 'w'); os.makedirs(home.user / '.cache/x')", ""),
        ("subprocess.run([sys.executable, '-c', '']); sys.audit('socket.connect', None, ('127.0.0.1', 9))", ""),
        ("open('/dev/null', 'w'); open(os.__file__); open('/proc/self/status')", ""),
    ],
)
@LINUX
def test_what_python_does_outside_is_seen(code, found, tmp_path):
    home = tmp_path / "home"
    script = WATCHED.format(code.format())
    done = subprocess.run([sys.executable, "-c", script, home], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    count, _, seen = done.stdout.strip().partition(" ")
    assert (int(count), found.format(home=home) in seen) == (2 if found else 3, True), seen


@LINUX
def test_what_native_code_opens_is_seen(tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"x")
    with watched(tmp_path) as opened:
        pass
    assert opened == []
    with watched(tmp_path) as opened:
        subprocess.run(["cat", tmp_path / "secret.bin"], check=True, capture_output=True, timeout=60)
    assert {*opened} == {f"opened: {tmp_path / 'secret.bin'}"}


def test_only_python_and_node_are_ours(node):
    assert is_ours([sys.executable, "-c", ""])
    assert is_ours([node, "x.mjs"])
    for other in (["gs"], ["/bin/sh", "-c", ""], "python3", [], None, b"true"):
        assert not is_ours(other)


HANGING = """
import os, sys
from tools.tests.hostile import patience
patience.PATIENCE, patience._IDLE_SECONDS = 2, 1
with patience.patience(sys.stderr):
    {}
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("open(sys.argv[1])", "It waited for"),
        pytest.param("while True: pass", "Timeout", marks=pytest.mark.long),
        ("[*map(abs, iter(int, 1))]", "Timeout"),
    ],
)
@LINUX
def test_a_hang_is_ended_with_its_stack(code, said, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    script = HANGING.format(code)
    command = [sys.executable, "-c", script, tmp_path / "pipe"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert said in done.stderr
    assert STACK in done.stderr


def test_names_that_are_no_text_come_through_as_json(hostile_home):
    """Check what the runner relies on, since constructions have such names."""
    assert json.loads(json.dumps({"file": os.fsdecode(b"\xff")}))["file"] == "\udcff"
    assert draw(0, hostile_home).name


@LINUX
def test_a_child_is_as_large_as_its_own_program():
    script = (
        "import subprocess, sys; from tools.tests.hostile import trial; held = b'x' * 700_000_000\n"
        "for mb in (1, 900):\n"
        "    subprocess.run([sys.executable, '-c', f'held = b\"x\" * {mb}_000_000'], check=True, timeout=60)\n"
        "    print(trial._grown(0) // 1_000_000)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    small, large = map(int, told.split())
    assert small == 0
    assert 900 <= large < 1000
