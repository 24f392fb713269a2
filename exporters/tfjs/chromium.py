"""Run TensorFlow.js models in headless Chromium, on one of its backends."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from exporters.artifact import Artifact
from exporters.format import MissingPackage
from exporters.runtime import Device, FileStep
from exporters.tfjs.artifact import inspect
from exporters.tfjs.step import playing, to_numpy

__all__ = ["find_chromium", "inspect", "load", "to_numpy"]

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float, *, backend: str) -> Iterator[FileStep]:
    """Run a model in a page. See `exporters.runtime.Runtime`.

    `backend` is TensorFlow.js's: wasm (with SIMD and threads), webgl or webgpu. It never falls back to another.
    """
    runtime = f"chromium-{backend}"
    # A short name, since Chromium creates a socket there, whose path may have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="rvm-", ignore_cleanup_errors=True) as scratch:
        arguments = (backend, find_chromium(runtime), scratch)
        with playing(artifact, device, ratio, runtime, "chromium.mjs", arguments) as step:
            yield step


def find_chromium(runtime: str) -> str:
    """Return the path of Chromium, or the one in RVM_CHROMIUM. Raises MissingPackage."""
    named = os.environ.get("RVM_CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else NAMES)), None)
    if found is None:
        raise MissingPackage(
            f"{runtime} needs Chromium, and RVM_CHROMIUM names none: {named}"
            if named
            else f"{runtime} needs Chromium, and none of {', '.join(NAMES)} is on the PATH; install it (Debian: "
            "apt-get install chromium), or name it in RVM_CHROMIUM"
        )
    return found
