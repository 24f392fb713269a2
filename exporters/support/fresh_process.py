"""Run a module of ours in a fresh process, to isolate a converter's imports, output and names."""

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from exporters.artifact import ArtifactError

_ROOT = Path(__file__).resolve().parents[2]
_ALWAYS = {"PYTHONHASHSEED": "0", "TZ": "UTC"}


def run_module(module: str, *arguments: Path | str, failure: str, environment: Mapping[str, str] | None = None) -> None:
    """Run `python -m module arguments` and wait until it ends.

    Args:
        module: The dotted name of one of our modules.
        arguments: Paths, which are made absolute, and words.
        failure: The beginning of the error message: "TensorFlow could not write a SavedModel".
        environment: Variables added to this process's, besides a fixed hash seed and UTC.

    Raises:
        ArtifactError: the module failed. The message ends with the last line that it printed.
    """
    done = subprocess.run(  # noqa: S603 (our own module)
        [sys.executable, "-m", module, *(each.resolve() if isinstance(each, Path) else each for each in arguments)],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        env={**os.environ, **_ALWAYS, **(environment or {})},
    )
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2]
        raise ArtifactError(f"{failure}: {last or f'exit code {done.returncode}'}")


def answer_of(module: str, request: object, *, failure: str, environment: Mapping[str, str] | None = None) -> bytes:
    """Run `python -m module REQUEST ANSWER`, and return the bytes that it writes into the file ANSWER.

    `request` is pickled into the file REQUEST. The other arguments and the error are those of `run_module`.
    """
    with TemporaryDirectory() as desk:
        asked, given = Path(desk) / "request", Path(desk) / "answer"
        asked.write_bytes(pickle.dumps(request))
        run_module(module, asked, given, failure=failure, environment=environment)
        return given.read_bytes()
