"""The JavaScript and C++ of the docs: run in Node and Chromium, or compiled and run, against onnxruntime in Python."""

import json
import os
import shutil
import subprocess
import sysconfig
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from exporters import describe
from parity_tests.clips import builtin_clip
from parity_tests.play import play_reference
from rvm_model import load_checkpoint
from tools.companions import golden
from tools.targets.targets import read_targets
from tools.tests.test_docs import FENCED, PAGES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "tools" / "targets" / "examples"
"""Those that `rvm-export for` copies too."""

PAGES_ALONE = ROOT / "docs" / "examples"
"""Those that only a page has, and what both run in."""

ONNX_WEB, TFJS_WEB = (ROOT / "exporters" / name / "web" for name in ("onnx", "tfjs"))
PACKAGES = Path(sysconfig.get_path("purelib"))
WIDTH, HEIGHT, RATIO = 64, 48, 0.5
FRAMES = np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 4), np.uint8)
LIMIT = 1e-4
ARGUMENTS = [str(WIDTH), str(HEIGHT), str(RATIO)]


@pytest.fixture(scope="module")
def onnx_file(seeded_artifacts) -> Path:
    return seeded_artifacts["onnx"]


@pytest.fixture(scope="module")
def tfjs_folder(seeded_artifacts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tfjs")
    with zipfile.ZipFile(seeded_artifacts["tfjs"]) as archive:
        archive.extractall(folder)
    return next(path.parent for path in folder.rglob("model.json"))


@pytest.fixture(scope="module")
def alpha(onnx_file) -> np.ndarray:
    """Return the alpha of all frames in onnxruntime."""
    session = ort.InferenceSession(onnx_file)
    states = {f"r{k}i": np.zeros((1, 1, 1, 1), np.float32) for k in (1, 2, 3, 4)}
    given = []
    for frame in FRAMES:
        src = frame[None, ..., :3].transpose(0, 3, 1, 2).astype(np.float32) / 255
        ratio = np.array([RATIO], np.float32)
        _, pha, *after = session.run(None, {"src": src, **states, "downsample_ratio": ratio})
        states = dict(zip(states, after, strict=True))
        given.append(pha[0, 0])
    assert np.std(given) > 1e-3
    return np.stack(given)


def call(command: list[str | Path], frames: np.ndarray, **environment: str) -> bytes:
    done = subprocess.run(
        command, input=frames.tobytes(), capture_output=True, timeout=300, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("library", ["onnxruntime-web", "onnxruntime-node"])
def test_onnx_in_node(library, node, onnx_file, alpha, require):
    folder = ONNX_WEB if library == "onnxruntime-web" else PAGES_ALONE
    present = (folder / "node_modules" / library).is_dir()
    require(library, present, f"{library} is not installed; run: npm ci --ignore-scripts --prefix {folder}")
    given = call([node, HERE / "docs_onnx.mjs", library, folder, onnx_file, *ARGUMENTS], FRAMES)
    planes = np.frombuffer(given[: alpha.nbytes], np.float32).reshape(alpha.shape)
    np.testing.assert_allclose(planes, alpha, atol=1e-4)
    pixels = np.frombuffer(given[alpha.nbytes :], np.uint8).reshape(HEIGHT, WIDTH, 4)
    np.testing.assert_allclose(pixels[..., 3], alpha[-1] * 255, atol=1)


def test_tfjs_by_hand_in_node(node, tfjs_folder, alpha):
    given = call([node, HERE / "docs_tfjs.mjs", TFJS_WEB, tfjs_folder, *ARGUMENTS], FRAMES)
    np.testing.assert_allclose(np.frombuffer(given, np.float32).reshape(alpha.shape), alpha, atol=1e-4)


@pytest.mark.parametrize(
    "kind", ["tfjs", "onnx", "coefficients", pytest.param("coefficients_webgpu", marks=pytest.mark.long)]
)
def test_a_video_in_a_page(kind, node, chromium, tfjs_folder, onnx_file, exported, tmp_path):
    shutil.copy(
        exported("onnx", outputs="coefficients") if "coefficients" in kind else onnx_file, tmp_path / "model.onnx"
    )
    folder = tfjs_folder if kind == "tfjs" else tmp_path
    examples = EXAMPLES if kind == "onnx" else PAGES_ALONE
    result = json.loads(
        call([node, HERE / "docs_page.mjs", kind, examples, folder, ONNX_WEB, TFJS_WEB, chromium], FRAMES[:0])
    )
    assert result["trouble"] == []
    assert result["drawn"] >= 5
    assert result["values"] > 10
    assert (result["size"], result["left"]) == ([WIDTH, HEIGHT], 0)


def compile_example(name: str, folder: Path, require, include: Path, library: Path) -> Path:
    """Compile an example. Return the program."""
    compiler = shutil.which("c++")
    require("c++", compiler is not None, "no C++ compiler on the PATH")
    program = folder / name
    source, flags = EXAMPLES / f"{name}.cpp", ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, source, "-isystem", include, library, "-o", program], check=True, timeout=300)
    return program


def check_alpha(program: Path, libraries: Path, onnx_file: Path, alpha: np.ndarray) -> None:
    frames = np.ascontiguousarray(FRAMES[..., :3])
    given = call([program, onnx_file, *ARGUMENTS], frames, LD_LIBRARY_PATH=str(libraries))
    np.testing.assert_allclose(np.frombuffer(given, np.uint8).reshape(alpha.shape), alpha * 255, atol=1)


def test_openvino_in_cpp(openvino, onnx_file, seeded_artifacts, alpha, tmp_path, require):
    folder = PACKAGES / "openvino"
    (library,) = (folder / "libs").glob("libopenvino.so.*")
    program = compile_example("onnx_openvino", tmp_path, require, folder / "include", library)
    check_alpha(program, folder / "libs", onnx_file, alpha)
    shutil.unpack_archive(seeded_artifacts["openvino"], tmp_path)
    (model,) = tmp_path.rglob("model.xml")
    check_alpha(program, folder / "libs", model, alpha)


def test_executorch_in_cpp(seeded_artifacts, tmp_path, require):
    """Test with the headers and libraries in ExecuTorch's wheel."""
    compiler = shutil.which("c++")
    require("c++", compiler is not None, "no C++ compiler on the PATH")
    (folder,) = map(Path, find_spec("executorch").submodule_search_locations)
    include, libraries = folder / "include", folder / "lib"
    headers = ["-isystem", include, "-isystem", include / "executorch/runtime/core/portable_type/c10"]
    names = ("", "_backend_xnnpack", "_threadpool", "_kernels_optimized")
    linked = ["-Wl,--no-as-needed", *(libraries / f"libexecutorch{name}.so" for name in names)]
    flags = ["-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-DC10_USING_CUSTOM_GENERATED_MACROS", *headers]
    program = tmp_path / "matte"
    source = PAGES_ALONE / "executorch.cpp"
    subprocess.run([compiler, *flags, source, *linked, "-o", program], check=True, timeout=300)
    artifact = describe(seeded_artifacts["executorch"])
    clip = builtin_clip(5, artifact.fixed.width, artifact.fixed.height)
    frames = np.concatenate([*clip.images()])
    given = call([program, artifact.path], frames, LD_LIBRARY_PATH=str(libraries))
    expected = [
        frame["pha"] for frame in play_reference(load_checkpoint("seeded").network(), clip, artifact.fixed.ratio)
    ]
    alpha = np.concatenate(expected)[:, 0]
    np.testing.assert_allclose(np.frombuffer(given, np.uint8).reshape(alpha.shape), alpha * 255, atol=1)


def test_onnxruntime_in_cpp(onnx_file, alpha, tmp_path, require):
    """Test with onnxruntime's own library, and headers from ONNXRUNTIME_INCLUDE: no installed package has them."""
    include = os.environ.get("ONNXRUNTIME_INCLUDE")
    require(
        "onnxruntime-headers", include is not None, "ONNXRUNTIME_INCLUDE names no folder with onnxruntime_cxx_api.h"
    )
    assert include is not None
    (library,) = (Path(find_spec("onnxruntime").origin).parent / "capi").glob("libonnxruntime.so.*")
    (tmp_path / "libonnxruntime.so.1").symlink_to(library)
    program = compile_example("onnx_onnxruntime", tmp_path, require, Path(include), library)
    check_alpha(program, tmp_path, onnx_file, alpha)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("golden") / "golden.npz"
    golden.pack(golden.vectors([load_checkpoint("seeded")]), path)
    return path


@pytest.fixture(scope="module")
def wrong_vectors(vectors) -> Path:
    """Return vectors whose last frame has the outputs of the one before, as if a consumer fed back an old state."""
    with np.load(vectors) as given:
        arrays = dict(given)
    for name, array in arrays.items():
        if name.endswith(("fgr", "pha")):
            array[-1] = array[-2]
    path = vectors.with_name("wrong.npz")
    golden.pack(arrays, path)
    return path


SIZES = [str(size) for size in golden.SIZES]


@pytest.mark.parametrize("size", [pytest.param(SIZES[0], marks=pytest.mark.long), *SIZES[1:]])
def test_golden_vectors_in_node(size, node, onnx_file, vectors, wrong_vectors):
    def errors(path: Path) -> dict[str, float]:
        words = ["onnxruntime-web", ONNX_WEB, onnx_file, path, "mobilenetv3", size]
        return json.loads(call([node, HERE / "docs_golden.mjs", *words], FRAMES[:0]))

    right = errors(vectors)
    assert right.keys() == {"fgr", "pha"}
    assert all(0 < error < LIMIT for error in right.values())
    assert max(errors(wrong_vectors).values()) > LIMIT


def test_golden_vectors_in_cpp(openvino, onnx_file, vectors, wrong_vectors, tmp_path, require):
    folder = PACKAGES / "openvino"
    (library,) = (folder / "libs").glob("libopenvino.so.*")
    program = compile_example("golden_openvino", tmp_path, require, folder / "include", library)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder / "libs")}
    for size in SIZES:
        for path, code in ((vectors, 0), (wrong_vectors, 1)):
            words = [program, onnx_file, path, "mobilenetv3", size, str(LIMIT)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment)
            assert done.returncode == code, (size, path, done.stdout, done.stderr)


def test_every_example_is_on_a_page_or_in_a_folder():
    included = {block.strip() for text in PAGES.values() for _, block in FENCED.findall(text)}
    copied = {EXAMPLES / file.source for target in read_targets().values() for file in target.files}
    for path in (*EXAMPLES.iterdir(), *PAGES_ALONE.iterdir()):
        if path.suffix in (".mjs", ".cpp", ".swift", ".cs", ".py"):
            assert f'--8<-- "{path.relative_to(ROOT)}"' in included or path in copied, path


def test_no_javascript_or_cpp_is_typed_into_a_page():
    for name, text in PAGES.items():
        for language, block in FENCED.findall(text):
            assert language not in ("js", "cpp", "swift") or block.startswith("--8<-- "), name
