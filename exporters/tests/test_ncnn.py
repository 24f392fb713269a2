"""Test ncnn models from the consumer's side: called through ncnn's own package, and read by us when damaged."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ncnn
import numpy as np
import pytest
import torch

from exporters import describe, load_exporter, load_runtime, load_scan, recognise
from exporters.artifact import INPUTS, OUTPUTS, ArtifactError
from exporters.lowering.folding import divided_convs
from exporters.ncnn import GRAPH, METADATA, WEIGHTS, NcnnSpec, runtime
from exporters.ncnn.layer import number, to_text
from exporters.ncnn.load import parse
from exporters.recover import recover
from exporters.spec import Fixed, SpecError
from rvm_model import load_checkpoint
from rvm_model.state import REFINERS, VARIANTS, state_shapes
from rvm_model.video.synthetic.clip import draw_frames

SIZE = Fixed(width=97, height=70, ratio=0.5)
ANY = {"ratio": 0.5}
NETWORKS = [(variant, refiner) for variant in VARIANTS for refiner in REFINERS]
KINDS = {"any size": ANY, "one size": {"fixed": SIZE}}


def export(folder, variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", **options):
    spec = NcnnSpec(variant=variant, refiner=refiner, precision=precision, **(options or ANY))
    path = folder / spec.file_name(spec.suffix(".ncnn"), seeded=True)
    load_exporter("ncnn").export(load_checkpoint("seeded", variant, refiner), spec, path)
    return path


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory) -> Path:
    """Return a model of each kind. Tests must not change it."""
    return export(tmp_path_factory.mktemp("ncnn"), **KINDS[request.param])


@pytest.fixture
def copy(model, tmp_path) -> Path:
    return shutil.copytree(model, tmp_path / model.name)


@pytest.fixture
def unclaimed(copy) -> Path:
    """Return a copy that does not say what its content was."""
    (copy / METADATA).unlink()
    return copy


class Consumer:
    """Call a model as an app does, through ncnn's package alone."""

    def __init__(self, folder: Path) -> None:
        self.net = ncnn.Net()
        assert self.net.load_param(str(folder / GRAPH)) == 0
        assert self.net.load_model(str(folder / WEIGHTS)) == 0

    def __call__(self, src, states):
        extractor = self.net.create_extractor()
        for name, array in zip(INPUTS[:5], (src, *states), strict=True):
            assert extractor.input(name, ncnn.Mat(array).clone()) == 0
        return [np.array(extractor.extract(name)[1]) for name in OUTPUTS]


def play(folder, variant, height, width, ratio, network, frames=3):
    """Yield the outputs of a model and of PyTorch, each fed its own states, without the axis of batches."""
    consumer = Consumer(folder)
    states = [np.zeros(shape[1:], np.float32) for shape in state_shapes(variant, height, width, ratio)]
    theirs = [None] * 4
    for pixels in draw_frames(frames, width, height):
        src = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / 255
        ours = consumer(src, states)
        with torch.inference_mode():
            expected = network(torch.from_numpy(src)[None].double(), *theirs, ratio)
        states, theirs = ours[2:], expected[2:]
        yield ours, [tensor[0].numpy() for tensor in expected]


@pytest.mark.parametrize(
    ("kind", "size", "ratio", "variant", "refiner"),
    [
        *((kind, (70, 97), 0.5, *NETWORKS[0]) for kind in KINDS),
        *(pytest.param(kind, (70, 97), 0.5, *NETWORKS[1], marks=pytest.mark.long) for kind in KINDS),
        ("any size", (96, 64), 0.25, *NETWORKS[0]),
        *(pytest.param("any size", (96, 64), 0.25, *each, marks=pytest.mark.long) for each in NETWORKS[1:]),
        *((kind, (37, 51), 1.0, *NETWORKS[0]) for kind in KINDS),
    ],
)
def test_ncnn_computes_the_network(kind, size, ratio, variant, refiner, tmp_path):
    """Test whole and broken numbers of pixels inside, odd sizes at every scale, and a ratio without a refiner."""
    height, width = size
    options = {"ratio": ratio} if kind == "any size" else {"fixed": Fixed(width=width, height=height, ratio=ratio)}
    path = export(tmp_path, variant, refiner, **options)
    network = load_checkpoint("seeded", variant, refiner).network().double()
    # The fast guided filter divides by small variances.
    limit = 2e-5 if refiner == "deep_guided_filter" or ratio == 1 else 5e-3
    for ours, expected in play(path, variant, height, width, ratio, network):
        assert [array.shape for array in ours] == [array.shape for array in expected]
        assert max(np.abs(a - b).max() for a, b in zip(ours, expected, strict=True)) < limit


def test_one_file_takes_any_size(tmp_path):
    path = export(tmp_path, ratio=0.375)
    network = load_checkpoint("seeded").network().double()
    for height, width in ((101, 83), (64, 240)):
        for ours, expected in play(path, "mobilenetv3", height, width, 0.375, network):
            assert max(np.abs(a - b).max() for a, b in zip(ours, expected, strict=True)) < 1e-4


def test_half_precision_halves_the_weights_alone(tmp_path):
    single, half = (export(tmp_path, precision=precision) for precision in ("fp32", "fp16"))
    assert (half / WEIGHTS).stat().st_size < 0.51 * (single / WEIGHTS).stat().st_size
    assert (half / GRAPH).read_text() == (single / GRAPH).read_text().replace(" 31=2", "")
    artifact = describe(half)
    assert (artifact.precision, {tensor.dtype for tensor in artifact.inputs}) == ("fp16", {"float32"})


def test_layers_have_the_names_of_modules(model):
    layers = parse((model / GRAPH).read_text())
    kernels = {layer.name for layer in layers if "Convolution" in layer.type or layer.type == "InnerProduct"}
    named = {name for name in divided_convs(load_checkpoint("seeded").network()) if name != "project_seg.conv"}
    assert kernels - named == {"refiner.mean", "refiner.mean_2"}
    assert named <= kernels
    assert len({layer.name for layer in layers}) == len(layers)


def test_a_file_of_one_size_reads_no_size_from_a_blob(tmp_path):
    text = (export(tmp_path, fixed=SIZE) / GRAPH).read_text()
    assert '"' not in text
    assert not [layer for layer in parse(text) if layer.type in ("Interp", "Crop") and len(layer.inputs) > 1]
    assert "Input                src                                      0 1 src 0=97 1=70 2=3" in text


def test_the_text_reads_back(model):
    text = (model / GRAPH).read_text()
    assert to_text(parse(text)) == text


@pytest.mark.parametrize("value", [0.25, 0.375, 1 / 3, 0.7123, 0.05, 0.0123456789, 1 / 6, 1e-5, 0.1 + 0.2])
def test_a_number_is_read_back_to_the_same_float32(value, tmp_path):
    """Let ncnn itself read the number: it counts digits after the point in an integer of 32 bits."""
    text = number(value)
    assert len(text) <= 15
    assert "." in text or "e" in text
    graph = f"7767517\n2 2\nInput a 0 1 a\nClip b 1 1 a b 0={text} 1=2.0\n"
    (tmp_path / "a.param").write_text(graph)
    (tmp_path / "a.bin").write_bytes(b"")
    net = ncnn.Net()
    net.load_param(str(tmp_path / "a.param"))
    net.load_model(str(tmp_path / "a.bin"))
    extractor = net.create_extractor()
    extractor.input("a", ncnn.Mat(np.zeros((1, 1, 1), np.float32)).clone())
    assert np.array(extractor.extract("b")[1]).item() == np.float32(value)


def test_it_is_described(model):
    assert recognise(model) == "ncnn"
    artifact = describe(model)
    one_size = artifact.fixed is not None
    assert (artifact.variant, artifact.refiner, artifact.refine) == ("mobilenetv3", "deep_guided_filter", "auto")
    assert (artifact.fixed, artifact.ratio) == ((SIZE, None) if one_size else (None, 0.5))
    assert artifact.baked_ratio == 0.5
    shapes = {tensor.name: tensor.shape for tensor in (*artifact.inputs, *artifact.outputs)}
    assert [*shapes] == [*INPUTS[:5], *OUTPUTS]
    assert shapes["r4i"] == ((64, 3, 3) if one_size else (64, "r4i_height", "r4i_width"))
    assert shapes["pha"] == ((1, 70, 97) if one_size else (1, "height", "width"))
    metadata = artifact.metadata
    assert metadata["weights_sha256"] == load_checkpoint("seeded").weights_sha256
    assert (metadata["downsample_ratio"], metadata["resolution"]) == ("0.5", "97x70" if one_size else "any")
    scan = load_scan("ncnn")(model)
    assert (scan.operations["Input"], scan.operations["InnerProduct"], [*scan.custom]) == (5, 17, [])


def test_it_is_described_without_ncnn(exported):
    code = (
        "import sys; from pathlib import Path; from exporters import describe; describe(Path(sys.argv[1])); "
        "print('ncnn' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, exported("ncnn", **ANY)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "False\n"


def test_without_metadata_it_is_known_by_its_graph(unclaimed):
    artifact = describe(unclaimed)
    assert (artifact.metadata, artifact.baked_ratio) == ({}, 0.5)
    recovered = recover([artifact]).checkpoint.network()
    assert recovered.variant == "mobilenetv3"


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS])
def test_a_change_since_it_was_written_is_noticed(name, copy):
    content = bytearray((copy / name).read_bytes())
    content[-9] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ArtifactError, match="has changed since rvm-export wrote it"):
        describe(copy)


def test_a_ratio_that_the_graph_does_not_have_is_noticed(copy):
    metadata = json.loads((copy / METADATA).read_text())
    (copy / METADATA).write_text(json.dumps(metadata | {"downsample_ratio": "0.25"}))
    with pytest.raises(ArtifactError, match=r"its metadata has the ratio 0\.25, and its graph 0\.5"):
        describe(copy)


def replaced(pattern, by, count=1):
    return lambda text: re.sub(pattern, by, text, count=count, flags=re.MULTILINE)


DAMAGED = {
    "another beginning": (replaced(r"^7767517", "7767518"), "begins with '7767518', not with 7767517"),
    "nothing": (lambda _: "", "begins with '', not with 7767517"),
    "wrong counts": (replaced(r"^(\d+) (\d+)$", r"\1 999"), r"counts '\d+ and 999' layers and blobs, and has \d+ and"),
    "huge counts": (replaced(r"^\d+ \d+$", "2000000000 2000000000"), "counts '2000000000 and 2000000000' layers"),
    "negative counts": (replaced(r"^\d+ \d+$", "-1 -1"), "counts '-1 and -1' layers"),
    "no counts": (replaced(r"^\d+ \d+$", ""), "counts '' layers"),
    "an unknown layer": (replaced(r"^ReLU ", "Evil "), "has a layer that a matting network does not need"),
    "an empty line of words": (replaced(r"^ReLU .*$", "ReLU"), "does not count its inputs and outputs"),
    "negative inputs": (replaced(r"^(ReLU +\S+ +)1 1", r"\1-1 1"), "does not count its inputs and outputs"),
    "too many inputs": (replaced(r"^(ReLU +\S+ +)1 1", r"\g<1>900 1"), "has other inputs and outputs than it counts"),
    "words that Python alone parts": (replaced(r" 9=6 ", "\x1c9=6 "), "has characters that no graph has"),
    "no parameter": (replaced(r"9=6 ", "9:6 "), "has '9:6' where a parameter should be"),
    "a strange parameter": (replaced(r" 9=6 ", " 19=6 "), "has the parameter '19=6', which it does not need"),
    "a parameter twice": (replaced(r" 9=6 ", " 9=6 9=6 "), "has the parameter '9=6', which it does not need or has"),
    "a huge number": (replaced(r" 6=576 ", " 6=2000000000 "), "has the number 2000000000, which is beyond"),
    "many weights": (replaced(r" 6=576 ", " 6=9999999 "), "bytes and ends before the numbers of"),
    "few weights": (replaced(r" 6=576 ", " 6=575 "), "has the tag [0-9a-f]{8} before"),
    "negative weights": (replaced(r" 6=576 ", " 6=-576 "), "has -576 for a count"),
    "negative channels": (replaced(r" 0=16 1=3", " 0=-16 1=3"), "has -16 for a count"),
    "no channels": (replaced(r" 0=16 1=3 11=3", " 0=0 1=3 11=3"), "has the tag|is damaged"),
    "a large kernel": (replaced(r" 1=3 11=3", " 1=24 11=24"), "does not go with inputs of"),
    "a stride of nothing": (replaced(r" 3=2 4=1", " 3=0 4=1"), "does not go with inputs of"),
    "a bias that is half": (replaced(r" 5=1 6=576", " 5=0.5 6=576"), "has 0.5 for a count"),
    "an activation without numbers": (replaced(r" -23310=\S+", ""), "does not go with inputs of"),
    "an array of another length": (replaced(r"-23310=2,", "-23310=9,"), "whose length is another"),
    "a slice of other channels": (replaced(r"-23300=2,3,1", "-23300=2,3,9"), "does not go with inputs of"),
    "a pooling of any kind": (replaced(r"0=1 1=2 2=2 5=0", "0=1 1=200 2=1 5=1"), "does not go with inputs of"),
    "another resize": (replaced(r"0=2 1=2\.0 2=2\.0", "0=2 1=90.0 2=90.0"), "does not go with inputs of"),
    "a function without its numbers": (replaced(r"(Clip .*) 1=1\.0", r"\1"), "does not go with inputs of"),
    "a sum of other sizes": (replaced(r"0=2 1=2\.0 2=2\.0", "0=2 1=0.9 2=0.9"), "does not go with|makes"),
    "a ratio of nothing": (replaced(r"0=2 1=0\.5 2=0\.5", "0=2 1=0.0 2=0.0"), r"by one ratio in \(0, 1\]"),
    "an operation of another number": (replaced(r" 0=2$", " 0=9"), "does not go with inputs of"),
    "a value read twice": (replaced(r" r1i/1 (?!r1i)", " r1i/0 "), "which is not there to be read"),
    "a value from nowhere": (replaced(r" src/1 ", " nowhere "), "which is not there to be read"),
    "a value written twice": (replaced(r" src/0 src/1 ", " src/0 src/0 "), "which another has written"),
    "a name of a thousand letters": (replaced(r"^ReLU +\S+", f"ReLU {'x' * 1000}"), "has other inputs and outputs"),
    "bytes that are no text": (replaced("ReLU", "R\xe9LU"), "is damaged, or no matting network"),
    "a control sequence": (replaced(r"^ReLU ", "\x1b[2J "), "has a layer that a matting network does not need"),
    "outputs of other names": (replaced(r" pha ", " alpha "), "not of a matting network"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_graph_is_one_clear_line(damage, unclaimed):
    change, message = DAMAGED[damage]
    text = (unclaimed / GRAPH).read_text()
    spoiled = change(text)
    assert spoiled != text
    (unclaimed / GRAPH).write_text(spoiled, encoding="latin-1")
    with pytest.raises(ArtifactError, match=message) as caught:
        describe(unclaimed)
    assert str(caught.value).startswith(f"{unclaimed} is ")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-4], "ends before the numbers of"),
        (lambda content: content[:7], "has 7 bytes and ends before the numbers of 'backbone.features.0.0'"),
        (lambda content: b"", "has 0 bytes and ends before"),
        (lambda content: content + b"\0" * 4, r"has \d+ bytes, and its model.ncnn.param describes \d+"),
        (lambda content: b"\1" + content[1:], "has the tag 01000000 before the numbers of"),
        (lambda content: content[:4] + b"\xff" * 4 + content[8:], "has numbers that are not finite"),
    ],
)
def test_damaged_weights_are_one_clear_line(change, message, unclaimed):
    (unclaimed / WEIGHTS).write_bytes(change((unclaimed / WEIGHTS).read_bytes()))
    with pytest.raises(ArtifactError, match=message) as caught:
        describe(unclaimed)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[]", "{", '{"a": 1}', "[" * 100_000])
def test_metadata_that_are_none(content, copy):
    (copy / METADATA).write_text(content)
    with pytest.raises(ArtifactError, match=f"is damaged: its {METADATA} is n"):
        describe(copy)


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS, METADATA])
def test_nothing_outside_the_folder_is_read(name, copy, tmp_path):
    (tmp_path / "secret").write_bytes((copy / name).read_bytes())
    (copy / name).unlink()
    (copy / name).symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match=f"points outside itself, to '{name}'"):
        describe(copy)


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS, METADATA])
def test_a_pipe_is_no_file(name, copy):
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(ArtifactError, match=rf"refused: '{name}' is no regular file|none of the formats"):
        describe(copy)


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS])
def test_a_missing_file(name, copy):
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match="none of the formats" if name == GRAPH else f"lacks '{name}'"):
        describe(copy)


def one_frame(path):
    artifact = describe(path)
    with load_runtime("ncnn").load(artifact, "cpu", 0.5) as step:
        return step(np.full((1, 3, 70, 97), 0.5, np.float32), None)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process of ncnn ended by SIGSEGV"),
        ("import sys; sys.exit('no library')", "the process of ncnn ended with exit code 1: no library"),
    ],
)
def test_a_crash_of_the_runtime_is_reported(code, message, model, monkeypatch, tmp_path):
    (tmp_path / "program.py").write_text(code)
    monkeypatch.setattr(runtime, "PROGRAM", tmp_path / "program.py")
    with pytest.raises(ArtifactError, match=re.escape(message)):
        one_frame(model)


def test_a_file_that_is_exchanged_after_it_was_described_is_read_again(copy):
    artifact = describe(copy)
    (copy / WEIGHTS).write_bytes(b"")
    with (
        pytest.raises(ArtifactError, match="has changed since rvm-export wrote it"),
        load_runtime("ncnn").load(artifact, "cpu", 0.5),
    ):
        raise AssertionError


def test_a_frame_that_the_file_does_not_take(model):
    artifact = describe(model)
    with load_runtime("ncnn").load(artifact, "cpu", 0.5) as step:
        with pytest.raises(ArtifactError, match="takes one frame at a time, not 2"):
            step(np.zeros((2, 3, 70, 97), np.float32), None)
        if artifact.fixed is not None:
            with pytest.raises(ArtifactError, match="does not run: "):
                step(np.zeros((1, 3, 64, 96), np.float32), None)


def test_the_state_and_the_matte_belong_to_the_caller(model):
    matte, state = one_frame(model)
    assert matte.pha.shape == (1, 1, 70, 97)
    arrays = runtime.to_numpy(state)
    arrays[0][:] = 7
    assert not (state[0] == 7).any()
    assert [array.shape for array in arrays] == [*state_shapes("mobilenetv3", 70, 97, 0.5)]


@pytest.mark.parametrize(
    ("variant", "refiner"), [NETWORKS[0], *(pytest.param(*each, marks=pytest.mark.long) for each in NETWORKS[1:])]
)
def test_its_weights_are_recovered(variant, refiner, tmp_path):
    checkpoint = load_checkpoint("seeded", variant, refiner)
    path = export(tmp_path, variant, refiner)
    recovered = recover([describe(path)])
    assert (recovered.checkpoint.variant, recovered.checkpoint.refiner) == (variant, refiner)
    spec = NcnnSpec(variant=variant, refiner=refiner, precision="fp32", **ANY)
    load_exporter("ncnn").export(recovered.checkpoint, spec, tmp_path / "again")
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (path / WEIGHTS).read_bytes()
    own, given = checkpoint.network(), recovered.checkpoint.network()
    src = torch.rand(1, 3, 32, 48)
    assert (own(src, downsample_ratio=0.5)[1] - given(src, downsample_ratio=0.5)[1]).abs().max() < 1e-3


def test_specs_that_describe_no_file():
    given = {"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "fp32"}
    with pytest.raises(SpecError, match="has its ratio baked in; give --downsample-ratio"):
        NcnnSpec(**given)
    with pytest.raises(SpecError, match="one frame at a time, not 2"):
        NcnnSpec(**given, fixed=Fixed(width=64, height=64, ratio=0.5, batch=2))
    assert NcnnSpec(**given, ratio=0.25).file_name(".ncnn", seeded=False) == "rvm_mobilenetv3_s0.25_fp32.ncnn"
    assert NcnnSpec(**given, fixed=SIZE).file_name(".ncnn", False) == "rvm_mobilenetv3_97x70_s0.5_fp32.ncnn"
