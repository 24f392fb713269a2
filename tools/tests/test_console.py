"""The progress of a command: a spinner on a terminal, a line for each stage on a pipe."""

import os
import pty
import re
import subprocess
import sys
from threading import Thread

COMMAND = [sys.executable, "-c", "from tools.cli.main import main; main()"]

STAGES = """
import time
from tools.shared.console import stderr_console, working

with working(stderr_console(), "reading [bold]a.onnx") as stage:
    time.sleep(0.3)
    for k in range(3):
        stage.update("playing\\nthe reference", f"frame {k + 1} of 3")
        time.sleep(0.3)
    stage.update("comparing")
    time.sleep(0.3)
print("a path")
"""


def on_a_terminal(command, **environment):
    """Run a command whose stderr is a terminal of 80 columns. Return its exit code, its stdout and all that it drew."""
    ours, theirs = pty.openpty()
    drawn = bytearray()

    def read():
        while part := read_part(ours):
            drawn.extend(part)

    reader = Thread(target=read)
    reader.start()
    settings = {"TERM": "xterm", "COLUMNS": "80", **environment}
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=theirs, env=os.environ | settings, text=True, timeout=120
        )
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return done.returncode, done.stdout, drawn.decode()


def read_part(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: the other end is closed
        return b""


def test_a_pipe_gets_a_line_for_each_stage():
    command = [sys.executable, "-c", STAGES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "a path\n"
    assert done.stderr.splitlines() == [
        "rvm-export: reading [bold]a.onnx",
        "rvm-export: playing the reference",
        "rvm-export: comparing",
    ]


def test_a_terminal_shows_the_stage_its_detail_and_the_elapsed_time():
    code, out, drawn = on_a_terminal([sys.executable, "-c", STAGES])
    assert (code, out) == (0, "a path\n")
    assert "rvm-export: " not in drawn
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn)
    for text in (
        "reading [bold]a.onnx",
        *(f"playing the reference, frame {k + 1} of 3" for k in range(3)),
        "comparing",
    ):
        assert re.search(rf"0:00:0\d {re.escape(text)} ", plain), plain
    assert drawn.rindex("\x1b[2K") > drawn.rindex("comparing"), "it is cleared at the end"


def test_a_terminal_that_cannot_draw_gets_lines():
    _, _, drawn = on_a_terminal([sys.executable, "-c", STAGES], TERM="dumb")
    assert drawn.splitlines()[-1] == "rvm-export: comparing"
    assert "\x1b" not in drawn


def test_a_long_name_keeps_to_one_line():
    code = f"from tools.shared.console import *\nwith working(stderr_console(), 'exporting {'x' * 300}.onnx'): pass"
    _, _, drawn = on_a_terminal([sys.executable, "-c", code])
    assert "0:00:0" in drawn
    assert "x" * 80 not in drawn


def test_an_export_says_its_stages_on_a_pipe(run, tmp_path):
    name = "rvm_mobilenetv3_fp32_seeded.onnx"
    result = run("onnx", "--checkpoint", "seeded", "--output", tmp_path)
    assert result.out == f"{tmp_path / name}\n"
    stages = [line for line in result.err.splitlines() if line.startswith("rvm-export: ")]
    assert stages[:2] == [f"rvm-export: exporting {name}", f"rvm-export: verifying {name}"]


def test_an_export_shows_its_stages_on_a_terminal(tmp_path):
    command = [*COMMAND, "onnx", "--checkpoint", "seeded", "--output", str(tmp_path)]
    code, out, drawn = on_a_terminal(command)
    assert (code, out) == (0, f"{tmp_path}/rvm_mobilenetv3_fp32_seeded.onnx\n"), drawn
    for text in ("exporting rvm_mobilenetv3", "verifying rvm_mobilenetv3", "0:00:0"):
        assert text in drawn
    assert "rvm-export: " not in drawn


def test_a_file_of_weights_is_a_stage(seeded_artifacts, run, tmp_path):
    result = run("onnx", "--checkpoint", tmp_path / "none.pth")
    assert f"rvm-export: loading {tmp_path / 'none.pth'}\n" in result.err
    (tmp_path / "spoiled.onnx").write_bytes(seeded_artifacts["onnx"].read_bytes()[:1000])
    result = run("recover", tmp_path / "spoiled.onnx", "--output", tmp_path)
    assert result.err.startswith(f"rvm-export: reading {tmp_path / 'spoiled.onnx'}\n")
    result = run("recover", tmp_path / "spoiled.onnx", "--output", tmp_path / "nowhere.pt")
    assert "nowhere.pt does not end in .safetensors" in result.error, "before anything is read"
    assert "reading" not in result.err
