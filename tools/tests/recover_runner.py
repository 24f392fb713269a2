"""Run `recover` on spoiled files, in a process that may crash.

`python -m tools.tests.recover_runner FOLDER START STOP` takes a folder of good files, `<kind>.base`. It prints a JSON
line before and after each file, as `mutation_runner` does.
"""

import faulthandler
import json
import os
import resource
import sys
from pathlib import Path

from tools.tests.mutation_runner import MEMORY, run_command, watched
from tools.tests.mutations import SECRET
from tools.tests.recover_mutations import BASES, spoiled

PATIENCE = 120
"""Timeout in seconds of one file. TensorFlow's import alone takes some seconds."""


def main(home: Path, start: int, stop: int) -> None:
    """Run the command on every file from number `start` to `stop`."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    reports = os.fdopen(os.dup(1), "w", buffering=1)
    trouble = os.fdopen(os.dup(2), "w")
    faulthandler.enable(trouble)
    bases = {name: (home / f"{name}.base").read_bytes() for name in BASES}
    folder = home / "files"
    folder.mkdir(exist_ok=True)
    output = home / "weights_seeded.safetensors"
    for number in range(start, stop):
        kind, content = spoiled(number, bases, folder)
        path = folder / "spoiled.file"
        path.write_bytes(content)
        for name in (SECRET, "out", "err"):
            (home / name).touch()
        print(json.dumps({"number": number, "kind": kind}), file=reports)
        before = sorted(home.rglob("*"))
        faulthandler.dump_traceback_later(PATIENCE, exit=True, file=trouble)
        with watched(home / SECRET) as touched:
            outcome = run_command(home, ["recover", path, "--output", output, "--no-verify"])
        faulthandler.cancel_dump_traceback_later()
        outcome["wrote"] = output.exists()
        output.unlink(missing_ok=True)
        outcome |= {"touched": touched, "left": sorted(home.rglob("*")) != before}
        print(json.dumps(outcome), file=reports)
        path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
