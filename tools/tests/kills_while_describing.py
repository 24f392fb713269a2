"""Kill a release at each of the files that describe it: before the file is written, and while it is half written.

`python -m tools.tests.kills_while_describing FOLDER` takes the folder of a release, whose artifacts stay. It prints a
JSON object with a list of kills: the file's number, and the names of files that are neither in their old nor in their
new state.
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tools.release import make
from tools.shared import outputs
from tools.tests.kills import hashes
from tools.tests.small_release import ROWS, VERSION, order_of

AFTERWARDS = "4.5.6"
"""Another version of the release, which changes the bytes of manifest, sums and report."""


def main(folder: Path) -> None:
    make.read_table = lambda: ROWS
    before = hashes(folder)
    final = _final(folder)
    texts = []
    for half in (False, True):
        k = 0
        while True:
            _make(folder, VERSION)
            assert hashes(folder) == before
            pid = os.fork()
            if pid == 0:
                _kill_at(k, half)
                _make(folder, AFTERWARDS)
                os._exit(0)
            _, status = os.waitpid(pid, 0)
            if os.WIFEXITED(status):
                break
            given = hashes(folder)
            wrong = [name for name, digest in given.items() if digest not in (before[name], final[name])]
            missing = sorted(before.keys() - given)
            hidden = any(folder.rglob(".rvm-export-*"))
            texts.append({"k": k, "half": half, "wrong": wrong, "missing": missing, "half_written": hidden})
            k += 1
    _make(folder, AFTERWARDS)
    sys.stdout.write(json.dumps({"kills": texts, "as_undisturbed": hashes(folder) == final}))


def _final(folder: Path) -> dict[str, str]:
    _make(folder, AFTERWARDS)
    final = hashes(folder)
    _make(folder, VERSION)
    return final


def _make(folder: Path, version: str) -> None:
    make.make_release(replace(order_of(folder)), version, [], True, 1, None)


def _kill_at(k: int, half: bool) -> None:
    """Make this process kill itself when the k-th text is to be written."""
    written = []

    def write(text: str, path: Path) -> None:
        if len(written) == k:
            if half:
                path.write_bytes(text.encode()[: len(text) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        written.append(path)
        path.write_bytes(text.encode())

    def write_when(text: str, path: Path, desk: Path) -> None:
        if len(written) == k and not half:
            os.kill(os.getpid(), signal.SIGKILL)
        written.append(path)
        before(text, path, desk)

    before = outputs.write_text
    if half:
        outputs._write = write
    else:
        make.write_text = write_when


if __name__ == "__main__":
    main(Path(sys.argv[1]))
