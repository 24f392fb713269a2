"""System calls of commands are held against `hostile/allowed.py`, and commands that do anything else are found."""

import subprocess
import sys
from collections import defaultdict

import pytest

from tools.tests.hostile import allowed, strace
from tools.tests.hostile.home import Home
from tools.tests.hostile.judgement import wrong_with
from tools.tests.hostile.play import ENVIRONMENT, variables

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
    "reads it as a thread": ("open(f'/proc/self/task/{os.getpid()}/environ')", "read: /proc/self/environ"),
    "reads another process": ("open(f'/proc/{os.getppid()}/maps')", "read: /proc/"),
    "writes outside": ("open(home.escaped, 'w')", "written: {home}/escaped"),
    "writes through C": ("ctypes.CDLL(None).creat(bytes(home.escaped), 0o600)", "{home}/escaped"),
    "writes into the home folder": ("open(home.user / '.bashrc', 'w')", "written: {home}/user/.bashrc"),
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
    "writes its outputs": "[open(each / 'x', 'w') for each in (home.outputs, home.unpacking)]",
    "writes its cache": "os.makedirs(home.user / '.cache/y'); open(home.user / '.cache/y/z', 'w')",
    "names a thread": "open(f'/proc/self/task/{os.getpid()}/comm', 'w')",
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
from tools.tests.hostile.judgement import wrong_with
from tools.tests.hostile.play import ENVIRONMENT, variables

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
real = trial.cli.main
for name, code in {commands!r}.items():
    def command():
        with suppress(OSError):
            exec(code)
        sys.exit(0)
    trial.cli.main = real if isinstance(code, list) else command
    (home.files / "a").touch()
    trials.run({{"number": 0, "command": name}}, code, str)
    open(home.escaped, "w").close()  # the runner's own work
"""


@pytest.fixture
def watched(tmp_path, require):
    """Return a function that runs commands under strace, and returns the forbidden calls of each.

    A command is a list of words, or Python code.
    """
    require("strace", not strace.missing(), "strace is not installed, or may not trace")
    home = Home(tmp_path / "home")
    home.make()
    home.good.mkdir()
    (home.good / "x").touch()
    (home.files / "link").symlink_to(home.secret)
    (home.files / "link2").symlink_to(home.good / "x")

    def watch(commands):
        environment = ENVIRONMENT | variables(home)
        log, script = tmp_path / "log", SCRIPT.format(commands=commands)
        command = [*strace.under(log), sys.executable, "-c", script, str(home.root)]
        done = subprocess.run(command, cwd=allowed.ROOT, env=environment, capture_output=True, text=True, timeout=300)
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


def test_info_does_no_more_on_good_and_bad_files(watched, exported, tmp_path):
    good, files = exported("onnx"), tmp_path / "home" / "files"
    commands = {
        "a good file": ["info", str(files / "good.onnx")],
        "a cut file": ["info", str(files / "cut.onnx")],
        "a device": ["info", str(files / "device.onnx")],
    }
    (files / "good.onnx").write_bytes(good.read_bytes())
    (files / "cut.onnx").write_bytes(good.read_bytes()[:-9])
    (files / "device.onnx").symlink_to("/dev/zero")
    _, found = watched(commands)
    assert found == {}


@pytest.mark.soak
@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("suite", "numbers"), [("mutants", range(0, 60, 4)), ("constructions", range(0, 245, 16))])
def test_system_calls_of_a_few_files_are_all_allowed(suite, numbers, hostile_home, require):
    require("strace", not strace.missing(), "strace is not installed, or may not trace")
    outcomes, calls, forbidden = strace.trace(suite, hostile_home, [*numbers])
    assert {each["number"] for each in outcomes} == {*numbers}
    assert [line for each in outcomes for line in wrong_with(each)] == []
    assert calls > 5_000
    assert forbidden == []


# The log's lines that no command here writes.


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (['7 openat(AT_FDCWD</x>, "/home/x", O_RDONLY) = 3</home/x>'], ["read: /home/x"]),
        (['7 openat(AT_FDCWD</x>, "/usr/x", O_RDONLY) = 3</home/x>'], ["read: /home/x"]),
        (['7 openat(AT_FDCWD</x>, "/usr/../home/x", O_RDONLY) = -1 ENOENT (No such file)'], ["read: /home/x"]),
        (['7 openat(4</home>, "x", O_WRONLY) = 3</home/x>(deleted)'], ["written: /home/x"]),
        (['7 openat(AT_FDCWD</x>, "/home/\\303\\244", O_RDONLY) = -1 EACCES (Denied)'], ["read: /home/ä"]),
        (
            [
                '7 openat(AT_FDCWD</x>, "/home/x", O_RDONLY <unfinished ...>',
                '8 openat(AT_FDCWD</x>, "/home/y", O_RDONLY <unfinished ...>',
                "7 <... openat resumed>)             = 18</home/x>",
                "8 <... openat resumed>, 0666) = 19</home/y>",
            ],
            ["read: /home/x", "read: /home/y"],
        ),
        (['7 symlink("/home/x", "/home/y") = 0'], ["symlink: /home/y"]),
        (['7 linkat(AT_FDCWD</x>, "/home/x", 3</home>, "y", 0) = 0'], ["linkat: /home/x", "linkat: /home/y"]),
        (['7 openat(AT_FDCWD</x>, "/proc/7/maps", O_RDONLY) = 3</proc/7/maps>'], []),
        (['7 openat(AT_FDCWD</x>, "/proc/8/maps", O_RDONLY) = 3</proc/8/maps>'], ["read: /proc/8/maps"]),
        (['7 open("/proc/self/environ", O_RDONLY) = 3</proc/7/environ>'], []),
        (['7 openat(AT_FDCWD</x>, "/proc/self/environ", O_RDONLY) = 3</proc/7/environ>'], ["read: /proc/self/environ"]),
        (["7 +++ exited with 0 +++"], []),
    ],
)
def test_lines_of_a_log(lines, found, tmp_path):
    assert [*strace.forbidden(lines, Home(tmp_path))] == [f"start: {each}" for each in found]


def test_a_line_that_nothing_reads_is_an_error(tmp_path):
    with pytest.raises(AssertionError, match="cannot read"):
        [*strace.forbidden(["7 openat(AT_FDCWD"], Home(tmp_path))]


def test_start_up_is_not_excused_later(tmp_path):
    home = Home(tmp_path)
    own = ['7 openat(AT_FDCWD</x>, "/etc/fonts/x", O_RDONLY) = 3</etc/fonts/x>']
    own.append('7 execve("/usr/bin/uname", ["uname", "-p"], 0x1 /* 3 vars */) = 0')
    marked = ['7 rmdir("/dev/null/rvm-trial/0 info") = -1 ENOTDIR (Not a directory)', *own]
    assert [*strace.forbidden(own, home)] == []
    assert [*strace.forbidden(marked, home)] == [
        "0 info: read: /etc/fonts/x",
        "0 info: started: /usr/bin/uname ['uname', '-p']",
    ]
