"""Help texts: they need no heavy import, and contain the warnings."""

import subprocess
import sys

import pytest

from exporters import FORMATS

HEAVY = {"torch", "numpy", "onnx", "onnxruntime", "openvino", "coremltools", "PIL", "av", "requests"}


def test_help_imports_nothing_heavy():
    commands = ["", *FORMATS, "verify", "bench", "benchmark", "bisect", "compare", "demo", "info", "matte", "release"]
    code = (
        "import sys\n"
        "from tools.cli.main import main\n"
        "for command in sys.argv[1:]:\n"
        "    sys.argv = ['rvm-export', *command.split(), '--help']\n"
        "    try: main()\n"
        "    except SystemExit as stop: assert stop.code == 0, command\n"
        f"    assert not {HEAVY!r} & sys.modules.keys(), command\n"
    )
    process = subprocess.run([sys.executable, "-c", code, *commands], capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.count("Usage: rvm-export") == len(commands)


@pytest.mark.parametrize("command", ["verify", "matte", "compare", "bench"])
def test_it_says_that_torchscript_is_code(command, run):
    assert "A TorchScript file is code, and is run only with --trust" in " ".join(run(command, "--help").out.split())


def test_version(run):
    assert run("--version").out.startswith("rvm-export 0.")


def test_bisect_says_whose_states_are_used(run):
    assert "Both sides get the reference's states" in " ".join(run("bisect", "--help").out.split())
