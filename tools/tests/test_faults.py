"""Faults around a command: a full or closed stdout, a second signal, an error that nobody expected, odd names."""

import ast
import errno
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import tools
from tools.companions.content import size_and_sha256
from tools.jobs.records import fingerprint
from tools.shared.outputs import STDOUT, ExportFailed, OutputError, publish, write_text
from tools.tests.children import started

pytestmark = pytest.mark.timeout(300)

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
COMMAND = [sys.executable, "-c", "from tools.cli.main import main; main()"]
NOT_UTF8 = "caf\udce9.txt"


def shell(line: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell, in which `"$@"` is the command with its words."""
    return subprocess.run(
        ["bash", "-c", line, "bash", *COMMAND, *map(str, words)], capture_output=True, env=ENVIRONMENT, timeout=120
    )


def script(code: str, *words: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command after some code, such as one that replaces what the command does."""
    program = f"{code}\nfrom tools.cli.main import main\nmain()"
    return subprocess.run(
        ["bash", "-c", f'{before} exec "$@"', "bash", sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=120,
    )


# ---- stdout


@pytest.mark.parametrize("words", [["--version"], ["info", "--help"]])
@pytest.mark.parametrize(
    ("line", "why"), [('"$@" > /dev/full', b"No space left on device"), ('"$@" >&-', b"Bad file descriptor")]
)
def test_a_full_or_closed_stdout_is_an_error_in_one_line(line, why, words):
    done = shell(line, *words)
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith(b"rvm-export: error: " + why)


def test_a_reader_that_has_ended_is_quiet():
    done = shell('"$@" | exit 0; exit ${PIPESTATUS[0]}', "--version")
    assert (done.returncode, done.stderr) in [(1, b""), (0, b"")], "0 if the pipe was still open then"
    done = shell('exec 3> >(exec <&- >/dev/null 2>&1; sleep 60); sleep 1; "$@" >&3', "--version")
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_full_stderr_leaves_the_exit_code():
    assert shell('"$@" 2> /dev/full', "info", "nowhere.onnx").returncode == 2


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    """Check that messages of native code do not end in a file that is written: it would have their descriptor."""
    code = f"""
import tools.commands.info as info
def show(path, as_json):
    import os
    with open({str(tmp_path / "file")!r}, "w") as file:
        assert file.fileno() > 2, file.fileno()
        os.write(2, b"a message of a library")
info.show = show
"""
    assert script(code, "info", "x", before="exec <&- >&- 2>&-;").returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_all_that_goes_to_stdout_goes_through_one_door():
    for path in Path(tools.__file__).parent.rglob("*.py"):
        if {"tests", "measure", "examples"} & {*path.parts} or path.name in ("stdout.py", "manifest.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.echo", "typer.secho", "print"):
                assert any(each.arg == "err" for each in node.keywords), f"{path}:{node.lineno} writes to stdout"


# ---- Errors that nobody expected

BOOM = """
import tools.commands.info as info
def show(path, as_json):
    raise {error}
info.show = show
"""


def test_an_unexpected_error_is_one_line():
    done = script(BOOM.format(error="ZeroDivisionError('a\\nb\\x1b]52;c;x\\x07')"), "info", "x")
    assert done.returncode == 1
    assert done.stderr == (
        "rvm-export: internal error: ZeroDivisionError: a b\\x1b]52;c;x\\x07; "
        "run again with --debug for the traceback: rvm-export --debug ...\n"
    )


def test_debug_shows_the_traceback_of_an_unexpected_error():
    done = script(BOOM.format(error="ZeroDivisionError('a\\x1bb')"), "--debug", "info", "x")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert "in show\n" in done.stderr
    assert done.stderr.endswith(
        "rvm-export: internal error: ZeroDivisionError: a\\x1bb; report it with the traceback above\n"
    )
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("MemoryError", "rvm-export: error: memory ran out; "),
        (
            "RuntimeError('DefaultCPUAllocator: can\\'t allocate memory: you tried')",
            "rvm-export: error: memory ran out; ",
        ),
        ("ImportError('libtorch_cpu.so: failed to map segment from x')", "rvm-export: error: memory ran out; "),
        ("RecursionError('deep')", "rvm-export: internal error: RecursionError: deep; "),
        ("EOFError('end')", "rvm-export: internal error: EOFError: end; "),
        (f"OSError({errno.EMFILE}, 'Too many open files', 'x')", "rvm-export: error: Too many open files: x"),
        ("OSError('without a number')", "rvm-export: error: without a number"),
    ],
)
def test_each_kind_of_error_is_one_line(error, said):
    done = script(BOOM.format(error=error), "info", "x")
    assert done.returncode == 1
    assert done.stderr.strip().startswith(said)
    assert "Traceback" not in done.stderr


# ---- Signals

SLOW = """
import sys, tempfile, time
from pathlib import Path
import tools.commands.info as info
from tools.shared.outputs import publish

def write(staged):
    staged.write_text("half")
    Path("began").touch()
    time.sleep(60)

tidy = tempfile.TemporaryDirectory.cleanup
def cleanup(self):
    Path("tidying").touch()
    time.sleep(1)
    tidy(self)
tempfile.TemporaryDirectory.cleanup = cleanup
tempfile.TemporaryDirectory.__exit__ = lambda self, *_: self.cleanup()
info.show = lambda path, as_json: publish(Path("final"), write, lambda _: None, False)
sys.argv[1:] = ["info", "x"]
from tools.cli.main import main
main()
"""


def appears(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"it ended before {path.name}")


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_interrupt_the_tidying(second, tmp_path):
    command = [sys.executable, "-c", SLOW]
    with started(command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE) as process:
        appears(tmp_path / "began", process)
        process.send_signal(signal.SIGINT)
        appears(tmp_path / "tidying", process)
        for _ in range(3):
            process.send_signal(second)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "rvm-export: error: interrupted; nothing was left half-written\n")
    assert {path.name for path in tmp_path.iterdir()} == {"began", "tidying"}


# ---- Names that are no UTF-8


def test_names_that_are_no_utf8_are_bytes(tmp_path):
    (tmp_path / "folder").mkdir()
    try:
        (tmp_path / "folder" / NOT_UTF8).write_text("content")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    size, sha256 = size_and_sha256(tmp_path / "folder")
    asked = subprocess.run(
        "sha256sum * | sha256sum", shell=True, cwd=tmp_path / "folder", capture_output=True, timeout=60
    )
    assert (size, sha256) == (7, asked.stdout.split()[0].decode())
    assert fingerprint([tmp_path / "folder"], {"name": NOT_UTF8})


def test_a_report_with_such_a_name_is_written_with_its_bytes(tmp_path, capfdbinary):
    write_text(f"{NOT_UTF8}\n", tmp_path / "report.csv")
    write_text(f"{NOT_UTF8}\n", STDOUT)
    assert (tmp_path / "report.csv").read_bytes() == capfdbinary.readouterr().out == b"caf\xe9.txt\n"


# ---- A limit for the size of files


def test_recover_under_a_limit_for_files_is_one_line_and_leaves_nothing(tmp_path):
    code = """
import tools.commands.recover as recover
from exporters.recover import Recovered
from rvm_model import load_checkpoint
seeded = Recovered(checkpoint=load_checkpoint("seeded"), remarks=(), artifacts=(), quirks={}, weights={})
recover.open_artifact = lambda path, trust: path
recover.recover = lambda artifacts: seeded
"""
    done = script(code, "recover", "x.onnx", "--no-verify", "--output", tmp_path, before="ulimit -f 1000;")
    assert done.returncode == 1
    name = "rvm_mobilenetv3_recovered_seeded.safetensors"
    assert done.stderr.splitlines()[-1] == f"rvm-export: error: cannot write {tmp_path / name}: File too large"
    assert "Traceback" not in done.stderr
    assert [*tmp_path.iterdir()] == []


# ---- file descriptors


@pytest.fixture
def take_all():
    """Return a function that opens files until none can be opened, and returns their descriptors."""
    limits, taken = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, limits[0]), limits[1]))

    def take() -> list[int]:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        return taken

    yield take
    for each in taken:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_folder_is_removed_where_all_descriptors_are_taken(take_all, tmp_path):
    def write(path: Path) -> None:
        weights = path / "Data" / "com.apple.CoreML" / "weights"
        weights.mkdir(parents=True)
        (weights / "weight.bin").write_bytes(b"half")
        take_all()
        (weights / "more.bin").write_bytes(b"the other half")

    with pytest.raises(ExportFailed, match="Too many open files"):
        publish(tmp_path / "model.mlpackage", write, lambda _: None, force=False)
    assert [*tmp_path.iterdir()] == []


def test_without_descriptors_to_tidy_up_with_no_folder_is_made(take_all, tmp_path):
    taken = take_all()
    os.close(taken.pop())
    os.close(taken.pop())
    with pytest.raises(OutputError, match=r"cannot write into .*: Too many open files"):
        write_text("x", tmp_path / "a.txt")
    assert [*tmp_path.iterdir()] == []
