"""Test the module in every TensorFlow.js zip file: in Node and in a page of Chromium, on WebAssembly."""

import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(1800)

HERE = Path(__file__).parent
WEB = HERE.parent / "tfjs" / "web"


@pytest.fixture(scope="module")
def unzipped(exported, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rvm")
    with zipfile.ZipFile(exported("tfjs")) as archive:
        archive.extractall(folder)
    return next(path.parent for path in folder.rglob("model.json"))


def ask(script, *arguments):
    command = ["node", HERE / script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def in_node(node, unzipped) -> dict:
    return ask("rvm_node.mjs", unzipped / "rvm.js", unzipped, WEB)


@pytest.fixture(scope="module")
def in_page(chromium, unzipped) -> dict:
    return ask("rvm_page.mjs", unzipped / "rvm.js", unzipped, WEB, chromium)


def test_it_keeps_the_states_as_one_does_by_hand(in_node):
    last, expected = in_node["last"], in_node["expected"]
    assert last["shapes"] == [[1, 48, 64, 3], [1, 48, 64, 1]]
    assert np.std(expected["pha"]) > 0
    assert last["pha"] == expected["pha"]
    assert last["fgr"] == expected["fgr"]


@pytest.mark.parametrize("place", ["in_node", "in_page"])
def test_no_tensor_is_left_behind_over_60_frames(place, request):
    counts = request.getfixturevalue(place)["counts"]
    assert len(counts) == 60
    assert len(set(counts)) == 1


def test_a_reset_and_another_size_begin_again(in_node):
    assert in_node["once"] == in_node["again"]


def test_what_cannot_be_matted_is_said(in_node):
    assert [error.partition(";")[0] for error in in_node["errors"]] == [
        "RangeError: the downsample ratio is 2",
        "RangeError: the downsample ratio is NaN",
        "RangeError: the downsample ratio 0.001 leaves no pixel of 64x48",
        "RangeError: there are 2 frames",
    ]


def test_disposed_of_it_gives_back_its_weights_and_states(in_node):
    assert in_node["given_back"] > 100


def test_every_kind_of_frame_is_the_same_frame(in_page):
    kinds = in_page["kinds"]
    assert np.std(kinds["tensor"]) > 0
    for values in kinds.values():
        np.testing.assert_allclose(values, kinds["tensor"], atol=1e-6)


def test_it_draws_colour_and_transparency(in_page):
    assert in_page["size"] == [64, 48]
    assert in_page["worst"] <= 1


def test_a_video_that_has_not_loaded_is_said(in_page):
    assert in_page["error"] == "RangeError: the frame has no pixels: wait until the video or picture has loaded"


def test_the_page_says_nothing(in_page):
    assert in_page["trouble"] == []
