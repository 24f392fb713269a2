"""Run a module of ours in a fresh process, so that what a converter imports, prints and names stays there."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from exporters.artifact import ArtifactError

_ROOT = Path(__file__).resolve().parents[2]
_ALWAYS = {"PYTHONHASHSEED": "0", "TZ": "UTC"}


def run_module(module: str, *arguments: Path, failure: str, environment: Mapping[str, str] | None = None) -> None:
    """Run `python -m module arguments`, and wait for its end.

    Args:
        module: Our own, by its dotted name.
        arguments: Paths, which are made absolute.
        failure: What to say if it fails: "TensorFlow could not write a SavedModel".
        environment: Added to this process's, besides a fixed hash seed and UTC.

    Raises:
        ArtifactError: it failed; the last line that it printed says why.
    """
    done = subprocess.run(  # noqa: S603 (our own module)
        [sys.executable, "-m", module, *(argument.resolve() for argument in arguments)],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        env={**os.environ, **_ALWAYS, **(environment or {})},
    )
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2]
        raise ArtifactError(f"{failure}: {last or f'exit code {done.returncode}'}")
