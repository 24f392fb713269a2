"""The Python blocks of the docs, run in order, beside a video and an exported file of the page's name."""

import re
import shutil
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import rvm_model
from exporters import FORMATS, load_exporter
from exporters.spec import Fixed
from tools.companions import golden
from tools.tests.test_docs import FENCED, PAGES

WIDTH, HEIGHT, RATIO, FRAMES = 96, 64, 0.25, 3
SIZE = Fixed(width=WIDTH, height=HEIGHT, ratio=RATIO)
ONE_SIZE = {"onnx": "rvm_mobilenetv3_fp32.onnx", "pt2": "rvm_mobilenetv3_1280x720_s0.375_fp32.pt2"}
"""The name of a format's file in its page, for files of one size."""

PAGE = "docs/tasks/golden.md"
INCLUDE = re.compile(r'^--8<-- "(.*)"$', re.MULTILINE)
ROOT = Path(__file__).resolve().parents[2]


def blocks(page: str) -> list[str]:
    """Return the Python blocks of a page, with their included files."""
    found = [block for language, block in FENCED.findall(PAGES[page]) if language == "python"]
    return [INCLUDE.sub(lambda match: (ROOT / match[1]).read_text(), block) for block in found]


def run(page: str) -> dict[str, object]:
    """Run the blocks of a page in order. Return the names that the first block defines."""
    names: dict[str, object] = {"__name__": "page"}
    first, *others = blocks(page)
    exec(compile(first, f"{page}, Python block 1", "exec"), names)
    later = dict(names)
    for number, block in enumerate(others, start=2):
        exec(compile(block, f"{page}, Python block {number}", "exec"), later)
    return names


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch) -> Path:
    """Make a folder with `talk.mp4`, and change into it. Programs are called with two names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["matte.py", "talk.mp4", "green.mp4"])
    with av.open("talk.mp4", "w") as file:
        stream = file.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for k in range(FRAMES):
            pixels = np.add.outer(np.arange(HEIGHT) * 3 + 40 * k, np.arange(WIDTH))[..., None] + np.array([0, 60, 120])
            file.mux(stream.encode(av.VideoFrame.from_ndarray((pixels % 256).astype(np.uint8), format="rgb24")))
        file.mux(stream.encode())
    return tmp_path


def frames() -> list[np.ndarray]:
    with av.open("talk.mp4") as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def last_alpha(ratio: float = RATIO) -> np.ndarray:
    """Return PyTorch's alpha of the last frame, (H, W). Files refine at every ratio."""
    network, states = rvm_model.load_checkpoint("seeded").network("always"), [None] * 4
    for pixels in frames():
        src = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
        _, pha, *states = network(src, *states, ratio)
    return pha[0, 0].numpy()


def export(name: str, size: Fixed) -> Path:
    """Write a file of seeded weights for one size, under the name that it would have with trained ones."""
    description = FORMATS[name]
    spec = description.spec(
        variant="mobilenetv3", refiner="deep_guided_filter", precision=description.precisions[0], fixed=size
    )
    path = Path(spec.file_name(spec.suffix(description.suffix), seeded=False))
    load_exporter(name).export(rvm_model.load_checkpoint("seeded"), spec, path)
    return path


@pytest.mark.parametrize(
    "name",
    ["torchscript", "onnx", "onnx-one-size", pytest.param("pt2-one-size", marks=pytest.mark.long), "tensorflow"],
)
def test_the_loop_of_a_format_gives_pytorchs_alpha(name, seeded_artifacts):
    name, _, one_size = name.partition("-")
    if one_size:
        export(name, SIZE).rename(ONE_SIZE[name])
    else:
        shutil.copy(seeded_artifacts[name], seeded_artifacts[name].name.replace("_seeded", ""))
    names = run(f"docs/formats/{name}.md")
    given = np.asarray(names["pha"] if "pha" in names else names["matte"]["pha"])
    expected = last_alpha(RATIO if one_size else names.get("scale", RATIO))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(given.reshape(HEIGHT, WIDTH), expected, atol=1e-4)
    with av.open("green.mp4") as file:
        assert [(frame.width, frame.height) for frame in file.decode(video=0)] == [(WIDTH, HEIGHT)] * FRAMES


def test_the_loop_of_ncnn_gives_pytorchs_alpha():
    spec = FORMATS["ncnn"].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", ratio=RATIO)
    load_exporter("ncnn").export(rvm_model.load_checkpoint("seeded"), spec, Path(spec.file_name(".ncnn", seeded=False)))
    names = run("docs/formats/ncnn.md")
    np.testing.assert_allclose(names["pha"][0], last_alpha(), atol=1e-4)
    with av.open("green.mp4") as file:
        assert [(frame.width, frame.height) for frame in file.decode(video=0)] == [(WIDTH, HEIGHT)] * FRAMES


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:This API is experimental")  # of ExecuTorch: its Python runtime
def test_the_loop_of_executorch_gives_pytorchs_alpha():
    export("executorch", SIZE).rename("rvm_mobilenetv3_1280x720_s0.375_fp32.pte")
    names = run("docs/formats/executorch.md")
    np.testing.assert_allclose(names["pha"][0, 0].numpy(), last_alpha(), atol=1e-4)
    with av.open("green.mp4") as file:
        assert [(frame.width, frame.height) for frame in file.decode(video=0)] == [(WIDTH, HEIGHT)] * FRAMES


@pytest.mark.long
def test_the_loop_of_litert_gives_pytorchs_alpha():
    export("litert", SIZE).rename("rvm_mobilenetv3_1280x720_s0.375_fp32.tflite")
    names = run("docs/formats/litert.md")
    np.testing.assert_allclose(names["pha"][0, ..., 0], last_alpha(), atol=1e-4)
    with av.open("green.mp4") as file:
        assert [(frame.width, frame.height) for frame in file.decode(video=0)] == [(WIDTH, HEIGHT)] * FRAMES


def test_the_loop_of_coefficients_gives_pytorchs_alpha():
    spec = FORMATS["onnx"].spec(
        variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", outputs="coefficients"
    )
    load_exporter("onnx").export(rvm_model.load_checkpoint("seeded"), spec, Path(spec.file_name(".onnx", seeded=False)))
    names = run("docs/tasks/coefficients.md")
    np.testing.assert_allclose(names["pha"][0, 0], last_alpha(), atol=1e-4)


def test_the_loop_of_openvino_gives_pytorchs_alpha(seeded_artifacts, openvino, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino_telemetry", None)  # openvino would tell its makers of the import
    shutil.unpack_archive(seeded_artifacts["openvino"])
    Path("rvm_mobilenetv3_fp32_seeded.openvino").rename("rvm_mobilenetv3_fp32.openvino")
    names = run("docs/formats/openvino.md")
    np.testing.assert_allclose(names["pha"][0, 0], last_alpha(), atol=1e-4)
    with av.open("green.mp4") as file:
        assert [(frame.width, frame.height) for frame in file.decode(video=0)] == [(WIDTH, HEIGHT)] * FRAMES


def test_the_matting_function(monkeypatch):
    seeded = rvm_model.load_checkpoint("seeded")
    monkeypatch.setattr(rvm_model, "load_checkpoint", lambda _: seeded, raising=False)
    run("docs/tasks/matte.md")
    assert Path("out.mp4").exists()


def test_golden_vectors(seeded_artifacts, monkeypatch):
    shutil.copy(seeded_artifacts["onnx"], "rvm_mobilenetv3_fp32.onnx")
    arrays = golden.vectors([rvm_model.load_checkpoint("seeded")])
    golden.pack(arrays, Path("golden.npz"))
    assert set(run(PAGE)["errors"]) == {"fgr", "pha", "r1o", "r2o", "r3o", "r4o"}
    for name, array in arrays.items():
        if name.endswith("r1o"):
            array[-1] = array[-2]
    golden.pack(arrays, Path("golden.npz"))
    with pytest.raises(AssertionError):
        run(PAGE)


def test_exporting_and_verifying():
    names = run("docs/reference/python.md")
    assert names["report"].ok
    assert len(names["report"].comparison.outputs) == 6


def test_coreml_on_a_mac(macos):
    export("coreml", Fixed(width=1280, height=720, ratio=0.375))
    run("docs/formats/coreml.md")
    assert Image.open("green_00002.png").size == (1280, 720)


def test_the_loop_of_coreml_without_a_mac(monkeypatch):
    """Replace the model by a fake, and check the loop's requests and its use of the answers."""
    import coremltools as ct

    state = type("Shape", (), {"shape": [1, 16, 135, 240]})
    kind = type("Type", (), {"multiArrayType": state})
    inputs = [type("Input", (), {"name": name, "type": kind}) for name in ("src", "r1i")]
    spec = type("Spec", (), {"description": type("Description", (), {"input": inputs})})

    class Model:
        def __init__(self, path):
            assert path == "rvm_mobilenetv3_1280x720_s0.375_fp16.mlpackage"
            self.frame = 0

        def get_spec(self):
            return spec

        def predict(self, given):
            assert given["src"].size == (1280, 720)
            assert (given["r1i"] == self.frame).all()
            self.frame += 1
            size = (1280, 720)
            return {
                "fgr": Image.new("RGB", size, (200, 0, 0)),
                "pha": Image.new("L", size, 255),
                "r1o": np.full((1, 16, 135, 240), self.frame, np.float32),
            }

    monkeypatch.setattr(ct.models, "MLModel", Model)
    run("docs/formats/coreml.md")
    assert len([*Path().glob("green_*.png")]) == FRAMES
    assert Image.open("green_00000.png").getpixel((5, 5)) == (200, 0, 0)


def test_every_page_with_python_is_run():
    pages = {page for page in PAGES if "/zh/" not in page and ".zh." not in page and blocks(page)}
    names = ("torchscript", "onnx", "pt2", "tensorflow", "coreml", "executorch", "litert", "ncnn", "openvino")
    run_here = {f"docs/formats/{name}.md" for name in names}
    run_here |= {"docs/tasks/matte.md", "docs/tasks/coefficients.md", "docs/reference/python.md", PAGE}
    assert pages == run_here | {"CONTRIBUTING.md"}  # its blocks only show style
