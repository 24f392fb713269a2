"""Files of coefficients on WebGPU in Chromium, drawn in software: the page's players against WebAssembly."""

import json
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from exporters.tfjs.step import FOLDER as WEB
from tools.demo.serve import HOST, listening
from tools.demo.site import open_site

pytestmark = [pytest.mark.timeout(1200), pytest.mark.long]  # compiling a model's shaders in software takes 30 s

HERE = Path(__file__).parent
NAMES = ("line.onnx", "line.zip")


@pytest.fixture(scope="module")
def given(chromium, exported, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("models")
    made = [exported(name, outputs="coefficients") for name in ("onnx", "tfjs")]
    files = [Path(shutil.copy(path, folder / name)) for path, name in zip(made, NAMES, strict=True)]
    with open_site(files) as site, listening(site, 0) as server, running(server):
        address = f"http://{HOST}:{server.server_port}/"
        done = subprocess.run(
            ["node", HERE / "webgpu_page.mjs", WEB, chromium, address], capture_output=True, text=True, timeout=900
        )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["trouble"] == []
    return answer["results"]


@contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", NAMES)
def test_its_bytes_are_those_of_webassembly(name, given):
    wasm, webgpu = (np.array(given[name][backend], float) for backend in ("wasm", "webgpu"))
    assert wasm.std() > 10
    assert np.abs(wasm - webgpu).max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_it_draws_the_same_and_reads_nothing_back(name, given):
    result = given[name]
    assert result["about"]["draws"]
    assert result["reads"]["drawing"] == 0
    assert result["reads"]["bytes"] > 0  # so reads are counted
    drawn, straight = (np.reshape(result[key], (-1, 4)).astype(float) for key in ("drawn", "webgpu"))
    assert np.abs(drawn - straight)[:, 3].max() <= 1
    # A canvas holds premultiplied bytes.
    apart = drawn[:, :3] * drawn[:, 3:] - straight[:, :3] * straight[:, 3:]
    assert np.abs(apart).max() / 255 <= 2
