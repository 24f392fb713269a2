"""System calls of commands: each is held against `hostile/allowed.py`, and a command that does anything else is found."""

import subprocess
import sys
from collections import defaultdict

import pytest

from tools.tests.hostile import allowed, strace
from tools.tests.hostile.home import Home

ROGUES = {
    "reads outside": ("open('/etc/shadow', 'rb')", "read: /etc/shadow"),
    "reads a secret": ("open(home.secret)", "read: {home}/outside/secret.bin"),
    "follows a link": ("open(home.files / 'link')", "read: {home}/outside/secret.bin"),
    "looks for a file": ("os.path.exists('/') and open('/home/nobody/x')", "read: /home/nobody/x"),
    "reads through C": ("ctypes.CDLL(None).open(bytes(home.secret), 0)", "read: {home}/outside/secret.bin"),
    "reads in a process": (
        "subprocess.run([sys.executable, '-S', '-c', f'open({str(home.secret)!r})'])",
        "read: {home}/outside/secret.bin",
    ),
    "reads in a thread": ("start(open, home.secret)", "read: {home}/outside/secret.bin"),
    "reads its environment": ("open('/proc/self/environ')", "read: /proc/self/environ"),
    "reads another process": ("open(f'/proc/{os.getppid()}/maps')", "read: /proc/"),
    "writes outside": ("open(home.escaped, 'w')", "written: {home}/escaped"),
    "writes through C": ("ctypes.CDLL(None).creat(bytes(home.escaped), 0o600)", "{home}/escaped"),
    "makes a folder": ("os.mkdir(home.root / 'folder')", "mkdir: {home}/folder"),
    "renames": ("os.rename(home.secret, home.outputs / 'x')", "rename: {home}/outside/secret.bin"),
    "links": ("os.link(home.files / 'a', home.outside / 'b')", "link: {home}/outside/b"),
    "deletes": ("os.remove(home.root / 'nothing')", "unlink: {home}/nothing"),
    "starts a program": ("subprocess.run(['true'])", "/true ['true']"),
    "starts one through C": ("ctypes.CDLL(None).system(b'true')", "started: /bin/sh"),
    "starts one of start-up": ("subprocess.run(['uname', '-p'], capture_output=True)", "uname ['uname', '-p']"),
    "starts one that is missing": ("subprocess.run(['/nowhere/gs'])", "started: /nowhere/gs"),
    "connects": ("connect(socket.SOCK_STREAM, '192.0.2.1')", "192.0.2.1"),
    "sends": ("socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))", "192.0.2.1"),
    "asks a service": ("socket.socket(socket.AF_UNIX).connect('/run/docker.sock')", "/run/docker.sock"),
    "changes its folder": ("os.chdir('/')", 'chdir: "/"'),
}
"""Commands that do harm: their code, and a part of the line that must name it."""

GOOD = {
    "reads its files": "open(home.good / 'x'); open(home.files / 'link2')",
    "writes its outputs": "[open(each / 'x', 'w').close() for each in home.writable]; os.mkdir(home.outputs / 'y')",
    "starts ours": "subprocess.run([sys.executable, '-c', 'import ssl, ctypes, tempfile'])",
    "reads the machine": "open('/proc/cpuinfo'); open('/proc/self/status'); open('/etc/localtime'); os.urandom(3)",
    "connects here": "connect(socket.SOCK_STREAM, '127.0.0.1')",
}

SCRIPT = """
import ctypes, os, socket, subprocess, sys, threading, time
from contextlib import suppress
from pathlib import Path
from tools.tests.hostile import trial
from tools.tests.hostile.home import Home

def start(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()

def connect(kind, host):
    with socket.socket(type=kind) as plug:
        plug.settimeout(0.2)
        plug.connect((host, 9))

home = Home(Path(sys.argv[1]))
trials = trial.Trials(home)
for name, code in {commands!r}.items():
    def command():
        with suppress(OSError):
            exec(code)
        sys.exit(0)
    trial.cli.main = command
    (home.files / "a").touch()
    trials.run({{"number": 0, "command": name}}, [], str)
    open(home.escaped, "w").close()  # the runner's own work
"""


@pytest.fixture
def watched(tmp_path, require):
    """Return a function that runs a script under strace, and returns the forbidden calls of each command."""
    require("strace", not strace.missing(), "strace is not installed")
    home = Home(tmp_path / "home")
    home.make()
    home.good.mkdir()
    (home.good / "x").touch()
    (home.files / "link").symlink_to(home.secret)
    (home.files / "link2").symlink_to(home.good / "x")

    def watch(commands):
        log = tmp_path / "log"
        command = [*strace.under(home, log), sys.executable, "-c", SCRIPT.format(commands=commands), str(home.root)]
        done = subprocess.run(command, cwd=allowed.ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        found = defaultdict(list)
        with log.open() as lines:
            for line in strace.forbidden(lines, home):
                command, _, what = line.partition(": ")
                found[command.removeprefix("0 ")].append(what)
        return home.root, found

    return watch


def test_what_a_command_must_not_do_is_found(watched):
    home, found = watched({name: code for name, (code, _) in ROGUES.items()})
    for name, (_, told) in ROGUES.items():
        assert any(told.format(home=home) in each for each in found[name]), (name, found[name])
    assert {*found} == {*ROGUES}, found


def test_what_a_command_may_do_is_not(watched):
    _, found = watched(GOOD)
    assert found == {}
