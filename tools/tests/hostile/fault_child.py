"""Run one command with a fault of the process: `python -m tools.tests.hostile.fault_child OPTIONS WORDS...`.

OPTIONS is a JSON object. Limits are set once all is imported, so that they meet the command's own work:

* `file_bytes`, `memory_bytes`, `open_files`: most bytes of a file, bytes beyond what is taken, files beyond those open.
* `signals_at`: a file at whose opening two SIGINT come, the second while the command tidies up.
* `output_appears`: a file that somebody else writes just before the command would.
* `input_changes`: a file that is replaced by bytes of no kind once it is open.
* `no_temporary_folder`: no folder of temporary files can be written to.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from tools.cli import main as cli
from tools.tests.hostile.patience import patience

FOREIGN = b"of somebody else"
_ONNX = ("exporters.onnx.artifact", "exporters.onnx.runtimes.onnxruntime")
MODULES: dict[str, tuple[str, ...]] = {
    "onnx": ("tools.commands.export", "exporters.onnx.export"),
    "info": ("tools.commands.info", *_ONNX),
    "verify": ("tools.commands.verify", *_ONNX),
    "recover": ("tools.commands.recover", "exporters.onnx.recovery", *_ONNX),
    "matte": ("tools.commands.matte", *_ONNX),
    "compare": ("tools.commands.compare", *_ONNX),
    "release": ("tools.release.check", "tools.release.make"),
}
"""The modules of each command, which it would import when it runs."""

BETWEEN_SIGNALS = 0.02


def limit(options: dict[str, Any]) -> None:
    """Set the process's limits."""
    if "file_bytes" in options:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options["file_bytes"],) * 2)
    if "memory_bytes" in options:
        status = Path("/proc/self/status").read_text().splitlines()
        taken = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
        resource.setrlimit(resource.RLIMIT_DATA, (taken + options["memory_bytes"],) * 2)
    if "open_files" in options:
        most = max(map(int, os.listdir("/proc/self/fd"))) + options["open_files"]  # noqa: PTH208
        resource.setrlimit(resource.RLIMIT_NOFILE, (most,) * 2)
    if "no_temporary_folder" in options:
        tempfile._candidate_tempdir_list = lambda: ["/proc/nowhere"]
        tempfile.tempdir = None


def when_opened(path: str, act: Callable[[], object]) -> None:
    """Call `act` once, when Python opens a file."""
    done: list[bool] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event != "open" or done or not isinstance(arguments[0], (str, bytes)):
            return
        if os.path.abspath(os.fsdecode(arguments[0])) == path:  # noqa: PTH100 (links are not followed)
            done.append(True)
            act()

    sys.addaudithook(note)


def interrupt_twice() -> None:
    """Send two SIGINT, as an impatient user does."""
    threading.Timer(BETWEEN_SIGNALS, os.kill, (os.getpid(), signal.SIGINT)).start()
    os.kill(os.getpid(), signal.SIGINT)


def write_before(path: Path) -> None:
    """Write a foreign file at the moment at which the command gives its own that name."""
    done: list[bool] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        renames = event in ("os.rename", "os.link") and os.fsdecode(arguments[1]) == str(path)  # type: ignore[arg-type]
        if not done and (renames or (event == "ctypes.dlsym" and arguments[1] == "renameat2")):
            done.append(True)
            path.write_bytes(FOREIGN)

    sys.addaudithook(note)


def main(options: dict[str, Any], words: list[str]) -> None:
    for name in MODULES[words[0]]:
        import_module(name)
    if words[0] == "release":
        from tools.release import make
        from tools.tests.small_release import ROWS

        make.read_table = lambda: ROWS[:1]
    sys.argv = ["rvm-export", *words]
    if "signals_at" in options:
        when_opened(options["signals_at"], interrupt_twice)
    if "output_appears" in options:
        write_before(Path(options["output_appears"]))
    if "input_changes" in options:
        path = Path(options["input_changes"])
        size = path.stat().st_size
        when_opened(str(path), lambda: (path.unlink(), path.write_bytes(bytes(size))))
    with patience(os.fdopen(os.dup(2), "w")):
        limit(options)
        cli.main()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
