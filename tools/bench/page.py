"""The process of a contender in a browser's race over bytes: it plays its file in the page of `rvm-export demo`.

A frame's bytes are in the page when its time begins, and the cut-out is on the page's canvas when it ends: the model's
worker and the shaders of a file of coefficients are included, the way into the browser is not.
"""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import Artifact
from exporters.spec import Fixed
from exporters.support.node import find_node
from exporters.support.tensor_pipe import running
from exporters.tfjs.chromium import find_chromium
from exporters.tfjs.step import FOLDER as WEB
from parity_tests.verify import LEVEL
from tools.demo.serve import HOST, Server, listening
from tools.demo.site import open_site

BROWSERS = {"browser": "wasm", "browser-webgl": "webgl"}
"""The devices of the command that are browsers, and the backend of each."""

SLACK = 2 * LEVEL
"""The rounding of a cut-out on a canvas: bytes that are straight, premultiplied in the canvas, and straight again."""

_PROGRAM = Path(__file__).with_name("page.mjs")
_ADDRESS = "frame"


class Page:
    """A file that is open in the page."""

    def __init__(self, site: dict[str, Path | bytes], run: Any) -> None:
        self._site, self._run = site, run

    def play(self, pixels: NDArray[np.uint8], wanted: bool) -> tuple[float, dict[str, NDArray[np.float32]]]:
        """Return the seconds of a frame (1, H, W, 3), and its cut-out if wanted: premultiplied `fgr`, and `pha`."""
        (frame,) = pixels
        height, width, _ = frame.shape
        self._site[_ADDRESS] = np.dstack([frame, np.full((height, width), 255, np.uint8)]).tobytes()
        answer = self._run({"size": np.array([width, height, wanted], np.float32)})
        seconds = float(answer["milliseconds"][0]) / 1000
        if not wanted:
            return seconds, {}
        image = answer["pixels"].transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        return seconds, {"fgr": image[:, :3] * image[:, 3:], "pha": image[:, 3:]}


@contextmanager
def open_page(artifact: Artifact, backend: str, size: Fixed, threads: int) -> Iterator[Page]:
    """Open a file in the page, and close the browser afterwards.

    Raises:
        ArtifactError: the page cannot show the file, or it does not run there.
        MissingPackage: Chromium, Node or one of its packages is missing.
    """
    runtime = f"chromium-{backend}"
    node = find_node(runtime, WEB)
    with open_site([artifact.path]) as given, tempfile.TemporaryDirectory(prefix="rvm-") as scratch:
        site = dict(given)
        with listening(site, 0) as server, _serving(server):
            address = f"http://{HOST}:{server.server_port}/"
            arguments = (address, backend, str(threads), str(size.ratio), find_chromium(runtime), scratch)
            with running([node, _PROGRAM, *arguments], artifact, runtime) as run:
                yield Page(site, run)


@contextmanager
def _serving(server: Server) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
