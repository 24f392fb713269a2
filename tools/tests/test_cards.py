"""Model cards: their code runs unchanged, and their facts are those of the file."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt

import exporters
from exporters import FORMATS, describe, load_exporter
from exporters.onnx import OnnxSpec
from exporters.spec import Fixed
from exporters.tests.coreml_files import StandIn
from exporters.tfjs.step import FOLDER as TFJS_FOLDER
from rvm_model import load_checkpoint
from tools.companions.calling import how_to_call
from tools.companions.cards import to_card
from tools.tests.release_made import built_of, clip_frames

FRAMES, WIDTH, HEIGHT, RATIO = 3, 160, 96, 0.25
PYTHON = ("onnx", "torchscript", "tensorflow")


def card_for(built):
    return to_card(built.entry, built.seeded)


@pytest.fixture
def card(seeded_artifacts):
    return lambda name: card_for(built_of(seeded_artifacts[name], name, seeded_artifacts["onnx"]))


@pytest.fixture(scope="module")
def expected():
    """Return a function that gives PyTorch's fgr and pha of the last frame, by ratio."""

    def play(ratio):
        network, states = load_checkpoint("seeded").network(), [None] * 4
        with torch.inference_mode():
            for frame in clip_frames(FRAMES, WIDTH, HEIGHT):
                fgr, pha, *states = network(torch.from_numpy(frame), *states, ratio)
        return fgr.numpy(), pha.numpy()

    return play


def blocks(card, language):
    return "\n".join(
        token.content for token in MarkdownIt().parse(card) if token.type == "fence" and token.info == language
    )


@pytest.mark.parametrize("name", PYTHON)
def test_the_lines_of_python_run_and_carry_the_states_on(name, card, expected, seeded_artifacts, tmp_path, monkeypatch):
    shutil.copy(seeded_artifacts[name], tmp_path)
    monkeypatch.chdir(tmp_path)
    frames = clip_frames(FRAMES, WIDTH, HEIGHT)
    convert = {
        "onnx": np.asarray,
        "torchscript": torch.from_numpy,
        "tensorflow": lambda frame: frame.transpose(0, 2, 3, 1),
    }[name]
    names = {"frames": [convert(frame) for frame in frames]}
    exec(blocks(card(name), "python"), names)
    for given, wanted in zip((names["fgr"], names["pha"]), expected(RATIO), strict=True):
        array = np.asarray(given)
        array = array.transpose(0, 3, 1, 2) if name == "tensorflow" else array
        assert np.abs(array - wanted).max() <= 1e-5


def test_the_lines_for_an_onnx_file_of_one_size_run(seeded_artifacts, expected, tmp_path, monkeypatch):
    spec = OnnxSpec(
        variant="mobilenetv3",
        refiner="deep_guided_filter",
        precision="fp32",
        fixed=Fixed(width=WIDTH, height=HEIGHT, ratio=RATIO),
    )
    path = tmp_path / spec.file_name(".onnx", seeded=True)
    load_exporter("onnx").export(load_checkpoint("seeded"), spec, path)
    text = card_for(built_of(path, "onnx", seeded_artifacts["onnx"]))
    assert f"{WIDTH}x{HEIGHT}, downsample ratio {RATIO}" in text
    monkeypatch.chdir(tmp_path)
    names = {"frames": clip_frames(FRAMES, WIDTH, HEIGHT)}
    exec(blocks(text, "python"), names)
    for given, wanted in zip((names["fgr"], names["pha"]), expected(RATIO), strict=True):
        assert np.abs(given - wanted).max() <= 1e-5


def test_the_lines_for_a_pt2_file_run(card, seeded_artifacts, expected, tmp_path, monkeypatch):
    shutil.copy(seeded_artifacts["pt2"], tmp_path)
    monkeypatch.chdir(tmp_path)
    text = card("pt2")
    assert f"{WIDTH}x{HEIGHT}, downsample ratio 0.5, any batch" in text
    names = {"frames": [torch.from_numpy(frame) for frame in clip_frames(FRAMES, WIDTH, HEIGHT)]}
    exec(blocks(text, "python"), names)
    for given, wanted in zip((names["fgr"], names["pha"]), expected(0.5), strict=True):
        assert np.abs(given.numpy() - wanted).max() <= 1e-5


@pytest.mark.filterwarnings("ignore:This API is experimental")  # of ExecuTorch: its Python runtime
def test_the_lines_for_an_executorch_file_run(card, seeded_artifacts, expected, tmp_path, monkeypatch):
    shutil.copy(seeded_artifacts["executorch"], tmp_path)
    monkeypatch.chdir(tmp_path)
    text = card("executorch")
    assert f"{WIDTH}x{HEIGHT}, downsample ratio 0.5" in text
    names = {"frames": [torch.from_numpy(frame) for frame in clip_frames(FRAMES, WIDTH, HEIGHT)]}
    exec(blocks(text, "python"), names)
    for given, wanted in zip((names["fgr"], names["pha"]), expected(0.5), strict=True):
        assert np.abs(given.numpy() - wanted).max() <= 1e-5


def test_the_lines_for_a_litert_file_run(card, seeded_artifacts, expected, tmp_path, monkeypatch):
    shutil.copy(seeded_artifacts["litert"], tmp_path)
    monkeypatch.chdir(tmp_path)
    text = card("litert")
    assert f"{WIDTH}x{HEIGHT}, downsample ratio 0.5" in text
    frames = clip_frames(FRAMES, WIDTH, HEIGHT)
    names = {"frames": [np.ascontiguousarray(frame.transpose(0, 2, 3, 1)) for frame in frames]}
    exec(blocks(text, "python"), names)
    for given, wanted in zip((names["fgr"], names["pha"]), expected(0.5), strict=True):
        assert np.abs(given.transpose(0, 3, 1, 2) - wanted).max() <= 1e-5


@pytest.mark.parametrize("kind", ["one size", "any size"])
def test_the_lines_for_ncnn_run(kind, seeded_artifacts, expected, tmp_path, monkeypatch):
    size = {"fixed": Fixed(width=WIDTH, height=HEIGHT, ratio=RATIO)} if kind == "one size" else {"ratio": RATIO}
    spec = FORMATS["ncnn"].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", zip=True, **size)
    path = tmp_path / spec.file_name(".ncnn.zip", seeded=True)
    load_exporter("ncnn").export(load_checkpoint("seeded"), spec, path)
    text = card_for(built_of(path, "ncnn", seeded_artifacts["onnx"]))
    words = f"{WIDTH}x{HEIGHT}, downsample ratio" if kind == "one size" else "any size, downsample ratio"
    assert f"{words} {RATIO}" in text
    shutil.unpack_archive(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    names = {"frames": [frame[0] for frame in clip_frames(FRAMES, WIDTH, HEIGHT)]}
    exec(blocks(text, "python"), names)
    for given, wanted in zip((names["fgr"], names["pha"]), expected(RATIO), strict=True):
        assert np.abs(given - wanted[0]).max() <= 1e-5


@pytest.mark.parametrize(
    ("kind", "stateful", "contract"),
    [
        ("any size", False, ""),
        ("one size", True, ""),
        ("one size", False, "omz"),
        pytest.param("one size", False, "", marks=pytest.mark.long),
        pytest.param("any size", True, "", marks=pytest.mark.long),
    ],
)
def test_the_lines_for_openvino_run(kind, stateful, contract, seeded_artifacts, expected, tmp_path, openvino):
    """Run them in a process of their own, in which OpenVINO has one model."""
    options = {"stateful": stateful, "contract": contract}
    if kind == "one size":
        options["fixed"] = Fixed(width=WIDTH, height=HEIGHT, ratio=RATIO)
    spec = FORMATS["openvino"].spec(
        variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", zip=True, **options
    )
    path = tmp_path / spec.file_name(".openvino.zip", seeded=True)
    load_exporter("openvino").export(load_checkpoint("seeded"), spec, path)
    text = card_for(built_of(path, "openvino", seeded_artifacts["onnx"]))
    assert ("stays inside" in text, "reset_state()" in text) == (stateful, stateful)
    shutil.unpack_archive(path, tmp_path)
    frames = np.stack(clip_frames(FRAMES, WIDTH, HEIGHT))
    np.save(tmp_path / "frames.npy", np.ascontiguousarray(frames[:, :, ::-1] * 255) if contract else frames)
    code = (
        'import sys; sys.modules["openvino_telemetry"] = None; import numpy as np; frames = np.load("frames.npy")\n'
        f'{blocks(text, "python")}\nnp.savez("matte.npz", fgr=fgr, pha=pha)'
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, check=True, timeout=300)
    with np.load(tmp_path / "matte.npz") as given:
        for name, wanted in zip(("fgr", "pha"), expected(RATIO), strict=True):
            assert np.abs(given[name] - wanted).max() <= 1e-5


@pytest.mark.parametrize(
    ("name", "options", "lines"),
    [
        (
            "openvino",
            {"fixed": Fixed(width=WIDTH, height=HEIGHT, ratio=RATIO), "contract": "omz"},
            ("`src` | float32 | (1, 3, 96, 160) | 0 to 255 | the frame, BGR", "`rr1`", "the next frame's `r1`"),
        ),
        (
            "ncnn",
            {"contract": "nihui"},
            (
                "`in0` | float32 | (3, height, width) | [0, 1] | the frame, RGB",
                "`in1` | float32 | (3, height, width) | [0, 1] | the frame at internal size",
                "| the last frame's `out7`",
                "`out3` | float32 | (1, height, width) | [0, 1] | opacity",
                "size | any size and downsample ratio",
            ),
        ),
    ],
)
def test_names_of_others_are_explained_by_their_place(name, options, lines, exported, seeded_artifacts):
    path = exported(name, zip=True, **options)
    text = card_for(built_of(path, name, seeded_artifacts["onnx"]))
    for line in lines:
        assert line in text
    assert "stays inside" not in text


def test_the_lines_of_python_for_coreml_run_but_for_coreml_itself(card, seeded_artifacts, expected, monkeypatch):
    """Let the evaluator stand in for CoreML, which runs on a Mac only, with the interface of coremltools."""
    path = seeded_artifacts["coreml"]
    lines, opened, shown = blocks(card("coreml"), "python"), [], []

    def open_model(name):
        opened.append(name)
        return StandIn(path)

    models = SimpleNamespace(MLModel=open_model)
    monkeypatch.setitem(sys.modules, "coremltools", SimpleNamespace(models=models))
    pictures = [np.rint(frame[0].transpose(1, 2, 0) * 255).astype(np.uint8) for frame in clip_frames(FRAMES, 160, 96)]
    names = {"frames": pictures, "show": lambda *matte: shown.append(matte)}
    exec(lines, names)
    assert f"{opened[0]}.zip" == path.name
    with zipfile.ZipFile(path) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {opened[0]}
    assert len(shown) == FRAMES
    _, alpha = expected(0.5)
    assert np.abs(np.asarray(shown[-1][1], np.float32) / 255 - alpha[0, 0]).max() <= 2 / 255


PRELUDE = """
import { readFile } from "node:fs/promises";
globalThis.fetch = async (path) => new Response(await readFile(String(path)));
const frames = [0.2, 0.5, 0.8].map((level) => ({ level }));
const show = async (fgr, pha) => {
  const values = (await pha.data()).slice(0, 3);
  process.stdout.write(JSON.stringify([fgr.shape, pha.shape, ...values]) + "\\n");
};
"""


def test_the_lines_of_javascript_run_in_node(node, card, seeded_artifacts, tmp_path):
    with zipfile.ZipFile(seeded_artifacts["tfjs"]) as archive:
        archive.extractall(tmp_path)
    folder = next(tmp_path.rglob("model.json")).parent
    (folder / "node_modules").symlink_to((TFJS_FOLDER / "node_modules").resolve())
    lines = blocks(card("tfjs"), "js").replace(
        "of frames)", "of frames.map(({ level }) => tf.fill([32, 48, 3], level)))"
    )
    (folder / "card.mjs").write_text(PRELUDE + lines)
    done = subprocess.run([node, "card.mjs"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    shown = [line for line in done.stdout.splitlines() if line.startswith("[[")]
    assert [line.startswith("[[1,32,48,3],[1,32,48,1],") for line in shown] == [True] * 3
    assert len({*shown}) == 3


@pytest.mark.parametrize("name", FORMATS)
def test_it_says_what_the_file_is(name, card, seeded_artifacts):
    built = built_of(seeded_artifacts[name], name, seeded_artifacts["onnx"])
    text = card(name)
    assert text.startswith(f"# {built.entry.file}\n")
    for fact in (built.entry.sha256, str(built.entry.bytes), "GPL-3.0-or-later", "arXiv:2108.11515", "onnxruntime"):
        assert fact in text
    tables = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:1] == "|"]
    for kind, tensors in (("input", built.entry.inputs), ("output", built.entry.outputs)):
        rows = [row for row in tables if row[0] == kind and row[1] in {tensor.name for tensor in tensors}]
        assert [(row[1], row[2]) for row in rows] == [(tensor.name, tensor.dtype) for tensor in tensors]
    (parity,) = built.entry.parity
    for output, figures in parity.outputs.items():
        (row,) = [row for row in tables if row[0] == output]
        assert (row[1], row[3], row[4]) == tuple(
            f"{value:.1e}" for value in (figures.max_abs, figures.mean_abs, figures.limit_mean_abs)
        )
    assert f"{parity.frames} frames, {parity.width}x{parity.height}" in text
    assert "it mattes nothing" in text


@pytest.mark.parametrize("name", FORMATS)
def test_the_line_on_how_to_call_names_the_tensors_and_the_first_states(name, seeded_artifacts):
    artifact = describe(seeded_artifacts[name])
    line = how_to_call(artifact)
    assert line.startswith(f"{FORMATS[name].call} with src (")
    assert line.endswith(f"it returns {', '.join(tensor.name for tensor in artifact.outputs)}")
    fixed = all(isinstance(axis, int) for axis in artifact.inputs[1].shape)
    assert f"r1i to r4i, {'zeros of their shapes' if fixed else FORMATS[name].first_states} before" in line
    assert ("downsample_ratio (1)" in line or "; downsample_ratio, a number" in line) == (len(artifact.inputs) == 6)
    assert "\n" not in line


def test_the_same_file_has_the_same_card_without_place_or_time(card):
    assert card("onnx") == card("onnx")
    assert not re.search(r"\b20\d\d-|/(home|root|tmp|Users)/", card("onnx"))


def test_a_clips_name_means_nothing_in_markdown(seeded_artifacts):
    built = built_of(seeded_artifacts["onnx"], "onnx", seeded_artifacts["onnx"])
    (parity,) = built.entry.parity
    odd = parity.model_copy(update={"clip": "a|b`c` <b> [f](g)"})
    html = MarkdownIt().enable("table").render(to_card(built.entry.model_copy(update={"parity": (odd,)}), built.seeded))
    assert "clip: a|b`c` &lt;b&gt; [f](g), 16 frames" in html


def test_files_of_coreml_are_written_once():
    """Check that the document links to the files that the cards show."""
    folder, document = (
        Path(next(iter(exporters.__path__))) / "coreml",
        Path(__file__).parents[2] / "docs" / "formats" / "coreml.md",
    )
    for name in ("loop.py", "Matting.swift", "FullSize.swift"):
        assert (folder / name).is_file()
        assert f"(../../exporters/coreml/{name})" in document.read_text()
