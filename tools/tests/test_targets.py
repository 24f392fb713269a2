"""`rvm-export for TARGET`: what can be built and run of each folder here is, and the rest says that it was not."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import av
import numpy as np
import onnxruntime as ort
import pytest

from exporters import FORMATS, describe
from exporters.spec import Fixed
from parity_tests.clips import builtin_clip
from rvm_model.video.synthetic.clip import draw_frames
from tools.companions import golden
from tools.doctor.contracts import read_contracts
from tools.targets import build
from tools.targets.targets import read_targets

ROOT = Path(__file__).parents[2]
NODE_PACKAGES = ROOT / "docs" / "examples" / "node_modules"
ONNX_WEB, TFJS_WEB = (ROOT / "exporters" / name / "web" for name in ("onnx", "tfjs"))
TARGETS = read_targets()
SMALL = ("-r", "96x64", "-d", "0.5")
WIDTH, HEIGHT, RATIO, FRAMES = 64, 48, 0.5, 3


@pytest.fixture
def made(run, tmp_path, monkeypatch):
    """Return a function that makes a target's folder. Files are proved on a small clip, which is quick."""
    monkeypatch.setattr(build, "load_clip", lambda _: builtin_clip(12, 96, 64))
    monkeypatch.chdir(tmp_path)

    def make(name, *options):
        result = run("for", name, "--checkpoint", "seeded", *options)
        assert (result.code, result.out) == (0, f"matte-{name}\n"), result.err
        folder = tmp_path / f"matte-{name}"
        text = (folder / "README.md").read_text()
        assert TARGETS[name].proof in text
        named = re.findall(r"^\| `([^`]+)` \|", text, re.M)
        assert {*named} == {str(path.relative_to(folder)) for path in files_of(folder)} - {"README.md"}
        assert "GNU GENERAL PUBLIC LICENSE" in (folder / "LICENSE").read_text()
        return folder

    return make


def files_of(folder):
    """Return the files of a folder. A model that is a folder counts as one."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.suffix not in (".ncnn", ".mlpackage"):
            yield from files_of(path)
        else:
            yield path


def model_of(folder):
    (path,) = [path for path in folder.iterdir() if path.suffix in {each.suffix for each in FORMATS.values()}]
    return path


def call(command, folder, given=b"", **environment):
    done = subprocess.run(
        command, cwd=folder, input=given, capture_output=True, timeout=300, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def spoil_golden(folder):
    """Give the last frame the outputs of the one before, as if a consumer fed back an old state."""
    with np.load(folder / "golden.npz") as given:
        arrays = dict(given)
    for name, array in arrays.items():
        if name.endswith(("fgr", "pha")):
            array[-1] = array[-2]
    golden.pack(arrays, folder / "golden.npz")


def alpha_of(model, frames):
    """Return the alpha of all frames in bytes, by onnxruntime."""
    session = ort.InferenceSession(model)
    states, given = {f"r{k}i": np.zeros((1, 1, 1, 1), np.float32) for k in (1, 2, 3, 4)}, []
    for frame in frames:
        src = frame[None].transpose(0, 3, 1, 2).astype(np.float32) / 255
        _, pha, *after = session.run(None, {"src": src, **states, "downsample_ratio": np.array([RATIO], np.float32)})
        states = dict(zip(states, after, strict=True))
        given.append(pha[0, 0])
    return np.rint(255 * np.stack(given))


def check_alpha(given, model, frames):
    expected = alpha_of(model, frames)
    assert expected.std() > 1
    np.testing.assert_allclose(np.frombuffer(given, np.uint8).reshape(expected.shape), expected, atol=1)


def test_a_python_program(made):
    folder = made("python")
    with av.open(folder / "talk.mp4", "w") as file:
        stream = file.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in draw_frames(FRAMES, WIDTH, HEIGHT):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    assert set(eval(call([sys.executable, "check.py"], folder))) == {"fgr", "pha", "r1o", "r2o", "r3o", "r4o"}
    call([sys.executable, "matte.py", "talk.mp4", "green.mp4"], folder)
    with av.open(folder / "green.mp4") as file:
        assert [(frame.width, frame.height) for frame in file.decode(video=0)] == [(WIDTH, HEIGHT)] * FRAMES
    spoil_golden(folder)
    assert subprocess.run([sys.executable, "check.py"], cwd=folder, stderr=subprocess.DEVNULL, timeout=300).returncode


def test_a_program_in_node(made, node, require):
    require("onnxruntime-node", (NODE_PACKAGES / "onnxruntime-node").is_dir(), "onnxruntime-node is not installed")
    folder = made("node")
    (folder / "node_modules").symlink_to(NODE_PACKAGES.resolve())
    call([node, "check.mjs"], folder)
    frames = draw_frames(FRAMES, WIDTH, HEIGHT)
    rgba = np.dstack([frames.reshape(-1, WIDTH, 3), np.full((FRAMES * HEIGHT, WIDTH, 1), 255, np.uint8)])
    given = call([node, "matte.mjs", str(WIDTH), str(HEIGHT), str(RATIO)], folder, rgba.tobytes())
    check_alpha(given, model_of(folder), frames)
    spoil_golden(folder)
    assert subprocess.run([node, "check.mjs"], cwd=folder, stdout=subprocess.DEVNULL, timeout=300).returncode == 1


@pytest.mark.long
def test_a_page(made, node, chromium):
    folder = made("browser")
    (folder / "node_modules").symlink_to((ONNX_WEB / "node_modules").resolve())
    shown = json.loads(call([node, Path(__file__).parent / "target_page.mjs", folder, TFJS_WEB, chromium], folder))
    assert shown["trouble"] == []
    assert shown["drawn"] >= 3
    assert shown["size"] == [640, 360]
    assert shown["alphas"] > 10  # a matte, not one value


@pytest.mark.long
def test_a_cpp_program(made, openvino, require):
    require("c++", all(map(shutil.which, ("cmake", "c++"))), "no CMake and C++ compiler on the PATH")
    folder = made("server")
    package = Path(sysconfig.get_path("purelib")) / "openvino"
    call(["cmake", "-B", "build", "-D", f"OpenVINO_DIR={package / 'cmake'}", "-D", "CMAKE_BUILD_TYPE=Debug"], folder)
    call(["cmake", "--build", "build"], folder)
    libraries = {"LD_LIBRARY_PATH": str(package / "libs")}
    check = ["build/golden", model_of(folder), "golden.npz", "mobilenetv3", "96x64", "1e-4"]
    call(check, folder, **libraries)
    frames = draw_frames(FRAMES, WIDTH, HEIGHT)
    words = ["build/matte", model_of(folder), str(WIDTH), str(HEIGHT), str(RATIO)]
    check_alpha(call(words, folder, frames.tobytes(), **libraries), model_of(folder), frames)
    spoil_golden(folder)
    done = subprocess.run(check, cwd=folder, stdout=subprocess.DEVNULL, env={**os.environ, **libraries}, timeout=300)
    assert done.returncode == 1


@pytest.mark.long
def test_obs_gets_a_file_that_was_played_its_way_twice(made):
    folder = made("obs")
    text = (folder / "README.md").read_text()
    assert "4 frames of 320x192 played, the alpha within " in text
    name = model_of(folder).stem
    assert f"cp {name}.onnx PLUGIN/data/models/rvm_mobilenetv3_fp32.onnx" in text
    assert ort.InferenceSession(folder / f"{name}.ort").get_modelmeta().custom_metadata_map["variant"] == "mobilenetv3"


@pytest.mark.long
def test_a_file_that_does_not_fit_its_consumer_is_not_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "load_clip", lambda _: builtin_clip(12, 96, 64))
    monkeypatch.setattr(build, "read_contracts", lambda: {"obs": read_contracts()["omz"]})
    result = run("for", "obs", "--checkpoint", "seeded", "--output", tmp_path / "new")
    assert (result.code, result.out) == (1, "")
    assert "does not fit Open Model Zoo" in result.error
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unity", ("Matting.cs", "CopyOutput(Outputs[k]")),
        pytest.param("android", ("Matting.kt", "interpreter.runSignature("), marks=pytest.mark.long),
        pytest.param("ncnn", ("matte.cpp", "extractor.extract("), marks=pytest.mark.long),
        pytest.param("ios", ("Sources/matte/Matting.swift", "final class Matting"), marks=pytest.mark.long),
    ],
)
def test_what_was_not_compiled_says_so(name, words, made):
    folder = made(name, *(SMALL if TARGETS[name].one_size else ()))
    text = (folder / "README.md").read_text()
    assert re.search(r"Not compiled (for Android )?by us", text)
    assert not TARGETS[name].one_size or "1280" not in text
    assert words[1] in (folder / words[0]).read_text()
    artifact = describe(model_of(folder))
    assert artifact.format == TARGETS[name].format
    with np.load(folder / "golden.npz") as arrays:
        sizes = {key.partition("/")[0] for key in arrays if key.endswith("/src")}
        assert sizes == ({"96x64"} if artifact.fixed else {"96x64", "80x45"})
        frame = arrays["mobilenetv3/96x64/pha"]
        assert frame.shape == (2 if artifact.fixed else golden.FRAMES, 1, 64, 96)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("toaster",), "no such target: toaster; give one of python, browser, node"),
        (("python", "-r", "96x64"), "the file for python takes any size and ratio; leave --resolution out"),
        (("android", "-r", "96"), "give width x height in pixels"),
        (("python", "-o", "file"), "file is a file; give the folder to make as --output"),
        (("python", "-o", "folder"), "folder exists; use --force"),
        (("python", "-o", "folder", "-f"), "folder is a folder of something else, which is not replaced"),
        (("python", "-c", "none.pth"), "no such checkpoint"),
    ],
)
def test_wrong_words(words, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    result = run("for", *words)
    assert (result.code, result.out) == (2, "")
    assert message in result.error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_targets_name_what_exists():
    examples = ROOT / "tools" / "targets" / "examples"
    for target in TARGETS.values():
        assert target.format in FORMATS
        assert target.contract in ("", *read_contracts())
        for source in (file.source for file in target.files):
            assert (examples / source).is_file()


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_table_of_the_readme_names_the_files(page):
    text = (ROOT / page).read_text()
    for name, target in TARGETS.items():
        size = Fixed(width=1280, height=720, ratio=target.downsample_ratio) if target.one_size else None
        spec = target.spec(size)
        file = spec.file_name(spec.suffix(FORMATS[target.format].suffix), seeded=False)
        (row,) = [line for line in text.splitlines() if f"| `rvm-export for {name}` |" in line]
        assert f"| `{file}` |" in row
        assert ("not compiled by us" in row or "没有编译过" in row) == ("Not compiled" in target.proof)
