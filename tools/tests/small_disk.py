"""Run the command on a file system that is too small, then large enough, then read-only.

`unshare --map-root-user --mount python -m tools.tests.small_disk FOLDER`: the file system is mounted in a private
namespace, and disappears with the process. Prints a JSON object for each of the three: exit code, messages, and the
files that were left.
"""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

from tools.cli import main as cli
from tools.release import make
from tools.tests.kills import hashes
from tools.tests.small_release import ROWS, VERSION


def main(folder: Path) -> None:
    make.read_table = lambda: ROWS
    _mount("-t", "tmpfs", "-o", "size=20m", "none", folder)
    told = {"full": _run(folder)}
    _mount("-o", "remount,size=100m", folder)
    told["enough"] = _run(folder)
    _mount("-o", "remount,ro", folder)
    told["read-only"] = _run(folder, "--version", "7")
    told["read-only, nothing there"] = _run(folder / "deeper")
    sys.stdout.write(json.dumps(told))


def _mount(*words: object) -> None:
    process = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False, timeout=120)
    if process.returncode:
        sys.exit(f"mount failed: {process.stderr}")


def _run(folder: Path, *words: str) -> dict[str, object]:
    usual = ["--checkpoint", "mobilenetv3=seeded", "--frames", "16", "--version", VERSION, "--jobs", "1"]
    sys.argv = ["rvm-export", "release", "--out", str(folder), *usual, *words]
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
    partial = [str(path.relative_to(folder)) for path in folder.rglob(".rvm-export-*")]
    return {"code": code, "said": err.getvalue(), "files": hashes(folder), "half_written": partial}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
