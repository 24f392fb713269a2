"""Every test has a timeout, and so has every wait for a process."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for package in ("rvm_model", "exporters", "parity_tests", "tools")
    for path in (ROOT / package).rglob("*.py")
    if path.name.startswith("test_") or "tests" in path.parts
)


def unlimited(code):
    """Yield the lines of a module that wait for a process without a timeout."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        runs = ast.unparse(node.func) in {
            f"subprocess.{each}" for each in ("run", "call", "check_call", "check_output")
        }
        waits = node.func.attr in ("wait", "communicate") and not node.args
        if (runs or waits) and "timeout" not in {keyword.arg for keyword in node.keywords}:
            yield node.lineno


def test_every_wait_for_a_process_has_a_timeout():
    assert len(FILES) > 50
    found = [f"{path.relative_to(ROOT)}:{line}" for path in FILES for line in unlimited(path.read_text())]
    assert found == []


def test_a_wait_without_one_is_found():
    assert [*unlimited("subprocess.run(a)\nprocess.wait()\np.communicate()\nsubprocess.run(a, timeout=1)")] == [1, 2, 3]


def test_every_test_has_a_limit(request):
    assert float(request.config.getini("timeout")) > 0


def test_ctrl_c_reaches_what_tests_start():
    """Check Ctrl-C however pytest was started; see `ctrl_c` in conftest.py."""
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).stdout == b"True\n"
