"""Test IRs from the consumer's side: called through OpenVINO's own package, and read by us when damaged."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openvino
import pytest

from exporters import describe, load_exporter, load_runtime, load_scan, recognise
from exporters.artifact import INPUTS, OUTPUTS, ArtifactError
from exporters.onnx import OnnxSpec
from exporters.onnx.runtimes import openvino_child
from exporters.openvino import GRAPH, STATES, WEIGHTS, OpenvinoSpec, runtime
from exporters.openvino.load import constants_of, kernel_of, read
from exporters.recover import recover
from exporters.spec import Fixed, SpecError
from rvm_model import load_checkpoint
from rvm_model.state import REFINERS, VARIANTS, state_shapes
from rvm_model.video.synthetic.clip import draw_frames

pytestmark = pytest.mark.usefixtures("openvino")

SIZE = Fixed(width=97, height=70, ratio=0.5)
NETWORKS = [(variant, refiner) for variant in VARIANTS for refiner in REFINERS]
KINDS = {
    "any size": {},
    "one size": {"fixed": SIZE},
    "stateful": {"stateful": True},
    "stateful, one size": {"fixed": SIZE, "stateful": True, "precision": "fp16"},
}


def export(folder, variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", **options):
    spec = OpenvinoSpec(variant=variant, refiner=refiner, precision=precision, **options)
    path = folder / spec.file_name(spec.suffix(".openvino"), seeded=True)
    load_exporter("openvino").export(load_checkpoint("seeded", variant, refiner), spec, path)
    return path


@pytest.fixture(scope="module")
def models(exported) -> dict[str, Path]:
    """Return a model of each kind. Tests must not change them."""
    return {kind: exported("openvino", **options) for kind, options in KINDS.items()}


@pytest.fixture(params=KINDS)
def model(request, models) -> Path:
    return models[request.param]


@pytest.fixture
def copy(models, tmp_path) -> Path:
    return shutil.copytree(models["any size"], tmp_path / "model.openvino")


def consumer(*arguments) -> str:
    """Run a program of a consumer's, and return what it prints: many models in one process may end OpenVINO."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


CALLED = """
import sys; sys.modules["openvino_telemetry"] = None
import numpy as np, openvino
compiled = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
request = compiled.create_infer_request()
frames = np.load(sys.argv[2])
names = [port.get_any_name() for port in compiled.inputs]
def clip():
    feeds = {f"r{k}i": np.zeros(compiled.input(f"r{k}i").shape if len(sys.argv) > 4 else (1, 1, 1, 1), np.float32)
             for k in (1, 2, 3, 4) if f"r{k}i" in names}
    if "downsample_ratio" in names:
        feeds["downsample_ratio"] = np.array([0.5], np.float32)
    for frame in frames:
        request.infer({**feeds, "src": frame})
        feeds |= {f"r{k}i": request.get_tensor(f"r{k}o").data.copy() for k in (1, 2, 3, 4) if f"r{k}i" in names}
    return np.stack([request.get_tensor(name).data[0, -1] for name in ("pha", "fgr")])
first = clip()
request.reset_state()
assert (clip() == first).all()
np.save(sys.argv[3], first)
"""


def frames(height, width, count=3):
    return (
        np.stack([pixels.transpose(2, 0, 1)[None] for pixels in draw_frames(count, width, height)]).astype("f4") / 255
    )


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.long] if kind == "stateful, one size" else []) for kind in KINDS]
)
def test_openvino_alone_computes_the_network(kind, models, tmp_path):
    """Call a model twice as an application does. A stateful one is reset between."""
    clip = frames(SIZE.height, SIZE.width)
    np.save(tmp_path / "frames.npy", clip)
    one_size = ["one size"] if "one size" in kind else []
    consumer(CALLED, models[kind] / GRAPH, tmp_path / "frames.npy", tmp_path / "matte.npy", *one_size)
    assert np.abs(np.load(tmp_path / "matte.npy") - last_matte(clip)).max() < (
        5e-3 if "fp16" in models[kind].name else 2e-5
    )


def last_matte(clip):
    """Return PyTorch's last matte: alpha, and the last channel of the foreground."""
    import torch

    network, states = load_checkpoint("seeded").network().double(), [None] * 4
    with torch.inference_mode():
        for frame in clip:
            fgr, pha, *states = network(torch.from_numpy(frame).double(), *states, 0.5)
    return np.stack([pha[0, -1].numpy(), fgr[0, -1].numpy()])


ZOO = """
import sys; sys.modules["openvino_telemetry"] = None
import numpy as np, openvino
model = openvino.Core().read_model(sys.argv[1])
compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
request = compiled.create_infer_request()
shapes = ({port.get_any_name(): tuple(port.shape) for port in ports} for ports in (model.inputs, model.outputs))
inputs, outputs = shapes
assert [*inputs] == ["src", "r1", "r2", "r3", "r4"]
assert [*outputs] == ["pha", "fgr", "rr1", "rr2", "rr3", "rr4"]
after = {name: next(other for other, shape in outputs.items() if shape == inputs[name]) for name in [*inputs][1:]}
states = {name: np.zeros(inputs[name], np.float32) for name in after}
for frame in np.load(sys.argv[2]):
    bgr = np.rint(frame[:, ::-1] * 255).astype(np.float32)
    request.infer({"src": bgr, **states})
    states = {name: request.get_tensor(other).data.copy() for name, other in after.items()}
np.save(sys.argv[3], np.stack([request.get_tensor(name).data[0, -1] for name in ("pha", "fgr")]))
"""


@pytest.fixture(scope="module")
def zoo(exported) -> Path:
    """Return a model that is called as one of Open Model Zoo. Tests must not change it."""
    return exported("openvino", fixed=SIZE, contract="omz")


def test_a_program_of_open_model_zoo_calls_it(zoo, tmp_path):
    """Call it as the zoo's demo does: bytes in OpenCV's order as floats, and states that are found by their shapes."""
    clip = frames(SIZE.height, SIZE.width)
    np.save(tmp_path / "frames.npy", clip)
    consumer(ZOO, zoo / GRAPH, tmp_path / "frames.npy", tmp_path / "matte.npy")
    assert np.abs(np.load(tmp_path / "matte.npy") - last_matte(clip)).max() < 2e-5
    artifact = describe(zoo)
    assert (artifact.facts["contract"], artifact.fixed) == ("omz", SIZE)
    assert [tensor.name for tensor in artifact.outputs] == ["fgr", "pha", "rr1", "rr2", "rr3", "rr4"]


@pytest.mark.long
def test_a_model_of_open_model_zoo_is_that_of_one_size(zoo, models, tmp_path):
    path = zoo
    np.save(tmp_path / "frames.npy", frames(SIZE.height, SIZE.width))
    consumer(ZOO, path / GRAPH, tmp_path / "frames.npy", tmp_path / "given.npy")
    consumer(CALLED, models["one size"] / GRAPH, tmp_path / "frames.npy", tmp_path / "expected.npy", "one size")
    given, expected = (np.load(tmp_path / f"{name}.npy") for name in ("given", "expected"))
    assert np.abs(given - expected).max() < 1e-6
    ours, theirs = one_frame(models["one size"])[0], one_frame(path)[0]
    assert np.abs(ours.pha - theirs.pha).max() < 1e-6
    assert np.abs(ours.fgr - theirs.fgr).max() < 1e-6
    check_recovery(path, "float32")


def test_its_names_without_its_preprocessing_are_refused(models, tmp_path):
    path = shutil.copytree(models["one size"], tmp_path / "model.openvino")
    text = re.sub("<rt_info><rvm_export>.*</rvm_export></rt_info>", "", (path / GRAPH).read_text())
    (path / GRAPH).write_text(re.sub('names="r([1-4])o"', r'names="rr\1"', text))
    with pytest.raises(ArtifactError, match="not of a matting network as rvm-export writes it"):
        describe(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contract": "zoo", "fixed": SIZE}, "contract 'zoo' is not omz"),
        ({"contract": "omz"}, "take a file of one size; give --resolution"),
        ({"contract": "omz", "fixed": SIZE, "stateful": True}, "hold the states themselves"),
    ],
)
def test_options_that_exclude_each_other(options, message):
    with pytest.raises(SpecError, match=message):
        OpenvinoSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", **options)


def test_metadata_is_in_rt_info_and_survives_a_round_trip(models, tmp_path):
    code = (
        "import sys; sys.modules['openvino_telemetry'] = None; import openvino; core = openvino.Core(); "
        "openvino.save_model(core.read_model(sys.argv[1]), sys.argv[2], compress_to_fp16=False); "
        "model = core.read_model(sys.argv[2]); "
        "print(model.get_rt_info(['rvm_export', 'weights_sha256']).astype(str))"
    )
    target = tmp_path / "again"
    target.mkdir()
    sha256 = load_checkpoint("seeded").weights_sha256
    assert consumer(code, models["any size"] / GRAPH, target / GRAPH) == sha256
    root = ElementTree.parse(target / GRAPH).getroot()
    section = root.find("rt_info/rvm_export")
    section.remove(section.find("content_sha256"))  # OpenVINO wrote it in another order
    ElementTree.ElementTree(root).write(target / GRAPH)
    again = describe(target)
    assert (again.metadata["weights_sha256"], again.precision) == (sha256, "fp32")


@pytest.mark.parametrize("size", [pytest.param(None, marks=pytest.mark.long), SIZE])
def test_a_model_that_others_converted_from_our_onnx_is_described(size, tmp_path):
    spec = OnnxSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", fixed=size)
    load_exporter("onnx").export(load_checkpoint("seeded"), spec, tmp_path / "model.onnx")
    code = (
        "import sys; sys.modules['openvino_telemetry'] = None; import openvino; "
        "openvino.save_model(openvino.convert_model(sys.argv[1]), sys.argv[2])"
    )
    folder = tmp_path / "converted"
    folder.mkdir()
    consumer(code, tmp_path / "model.onnx", folder / GRAPH)
    artifact = describe(folder)
    assert (artifact.precision, artifact.fixed, artifact.variant) == ("fp16", size, "mobilenetv3")


def test_half_precision_halves_the_kernels_alone(models):
    single, half = models["one size"], models["stateful, one size"]
    assert (half / WEIGHTS).stat().st_size < 0.51 * (single / WEIGHTS).stat().st_size
    artifact = describe(half)
    assert (artifact.precision, {tensor.dtype for tensor in artifact.inputs}) == ("fp16", {"float32"})
    layers = read(half, half).layers
    constants = constants_of(layers)
    kernels = [kernel for layer in layers if (kernel := kernel_of(layer, constants)) is not None]
    assert {kernel.dtype.name for kernel in kernels} == {"float16"}
    assert len(kernels) == sum(layer.numbers is not None and layer.numbers.dtype == np.float16 for layer in layers)


@pytest.mark.long
def test_the_mean_of_the_fast_guided_filter_keeps_its_precision(tmp_path):
    path = export(tmp_path, refiner="fast_guided_filter", precision="fp16")
    layers = read(path, path).layers
    constants = constants_of(layers)
    kernels = [kernel for layer in layers if (kernel := kernel_of(layer, constants)) is not None]
    assert [kernel.shape for kernel in kernels if kernel.dtype == np.float32] == [(16, 1, 1, 3), (16, 1, 3, 1)]
    matte, _ = one_frame(path)
    assert np.abs(matte.pha - reference(path)).max() < 5e-3


def reference(path, height=70, width=97):
    import torch

    network = load_checkpoint("seeded", "mobilenetv3", describe(path).refiner).network().double()
    src = torch.full((1, 3, height, width), 0.5, dtype=torch.float64)
    with torch.inference_mode():
        return network(src, downsample_ratio=0.5)[1].numpy()


def test_it_is_described(model):
    assert recognise(model) == "openvino"
    artifact = describe(model)
    one_size, inside = "97x70" in model.name, "stateful" in model.name
    assert (artifact.variant, artifact.refiner) == ("mobilenetv3", "deep_guided_filter")
    assert (artifact.fixed, artifact.refine) == ((SIZE, "auto") if one_size else (None, "always"))
    names = [INPUTS[0], *([] if inside else INPUTS[1:5]), *([] if one_size else INPUTS[5:])]
    assert [tensor.name for tensor in artifact.inputs] == names
    assert [tensor.name for tensor in artifact.outputs] == [*(OUTPUTS[:2] if inside else OUTPUTS)]
    shapes = {tensor.name: tensor.shape for tensor in (*artifact.inputs, *artifact.outputs)}
    assert shapes["pha"] == ((1, 1, 70, 97) if one_size else ("batch", 1, "height", "width"))
    if not inside:
        assert shapes["r4i"][2:] == ((3, 3) if one_size else ("r4i_height", "r4i_width"))
    metadata = artifact.metadata
    assert metadata["weights_sha256"] == load_checkpoint("seeded").weights_sha256
    assert (metadata["resolution"], metadata["stateful"]) == ("97x70" if one_size else "any", "yes" if inside else "no")
    scan = load_scan("openvino")(model)
    assert (scan.operations["ReadValue"], scan.operations["GroupConvolution"]) == (4 if inside else 0, 16)
    assert not scan.custom


def test_it_is_described_without_openvino(models):
    code = (
        "import sys; from pathlib import Path; from exporters import describe; describe(Path(sys.argv[1])); "
        "print({'openvino', 'onnx'} & {*sys.modules})"
    )
    assert consumer(code, models["any size"]) == "{'onnx'}"


def test_a_model_of_one_size_computes_no_size(models):
    types = {layer.type for layer in read(models["one size"], models["one size"]).layers}
    assert not types & {"ShapeOf", "Broadcast", "Range"}


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS])
def test_a_change_since_it_was_written_is_noticed(name, copy):
    content = (copy / name).read_bytes()
    changed = content.replace(b'name="r1i"', b'name="r9i"') if name == GRAPH else content[:80] + b"\7" + content[81:]
    assert changed != content
    (copy / name).write_bytes(changed)
    with pytest.raises(ArtifactError, match="has changed since rvm-export wrote it"):
        describe(copy)


def replaced(pattern, by):
    return lambda text: re.sub(pattern, by, text, count=1, flags=re.DOTALL)


def declared(declaration, content="&a;"):
    return replaced('<net(.*?) name="r1i"', rf'<!DOCTYPE net [{declaration}]><net\1 name="{content}"')


def placed(shape="16, 4, 3, 3", offset=r"\1", size="2304"):
    """Return a change of the first kernel."""
    return replaced(
        r'shape="16, 4, 3, 3" offset="(\d+)" size="2304"', rf'shape="{shape}" offset="{offset}" size="{size}"'
    )


EVIL_NOTE = '<rt_info><attribute name="evil" version="0"/></rt_info>'
EDGE = '<edge from-layer="0" from-port="0" to-layer="9999" to-port="0"/>'
DAMAGED = {
    "nothing": (lambda _: "", "is no XML"),
    "no end": (lambda text: text[:-9], "is no XML"),
    "another root": (lambda text: "<a></a>", "an element 'a' with a name, attributes or parts"),
    "another version": (replaced('version="11"', 'version="99"'), "is no IR of version 10 or 11"),
    "no edges": (replaced("<edges>.*</edges>", ""), "is no IR of version 10 or 11"),
    "an entity": (declared('<!ENTITY a "b">'), "declares a document type or entities"),
    "an entity outside": (declared('<!ENTITY a SYSTEM "file:///etc/passwd">'), "declares a document type or entities"),
    "laughs": (declared('<!ENTITY b "ha"><!ENTITY a "&b;&b;&b;">'), "declares a document type or entities"),
    "a document type": (replaced("<net", '<!DOCTYPE net SYSTEM "x.dtd"><net'), "declares a document type or entities"),
    "an entity from nowhere": (replaced('name="r1i"', 'name="&a;"'), r"is no XML \(undefined entity"),
    "an unknown layer": (replaced('type="HSwish"', 'type="Evil"'), "is a 'Evil' of 'opset4', which a matting network"),
    "a loop": (replaced('type="HSwish"', 'type="TensorIterator"'), "is a 'TensorIterator' of 'opset4', which"),
    "an extension": (replaced('type="HSwish" version="opset4"', 'type="HSwish" version="extension"'), "of 'extension'"),
    "an attribute too many": (replaced('offset="', 'path="/etc/passwd" offset="'), "has path='/etc/passwd', which"),
    "a place that is none": (placed(offset="x"), "no known kind, place"),
    "a place beyond": (placed(offset="99999999"), "ends before the numbers of"),
    "a negative place": (placed(offset="-8"), "no known kind, place"),
    "another size": (placed(size="4"), "has 4 bytes for the shape 16x4"),
    "a huge shape": (placed("9999999, 9999999"), "2304 bytes for the shape 9999999x9999999 of"),
    "a negative shape": (placed("-16, 4, 3, 3"), "no known kind, place or shape"),
    "another type": (replaced('element_type="i64"', 'element_type="u1"'), "no known kind"),
    "kernels of three axes": (placed("64, 3, 3"), "has no constant weights of 4 axes"),
    "a value from nowhere": (replaced('<edge from-layer="0"', '<edge from-layer="9999"'), "that is not there yet"),
    "a value of its own": (replaced('<edge from-layer="0"', '<edge from-layer="600"'), "that is not there yet"),
    "an edge to nowhere": (replaced('to-layer="8"', 'to-layer="9999"'), "that is not there yet"),
    "an edge too many": (replaced("<edges>", f"<edges>{EDGE}"), "leads to no layer"),
    "an edge twice": (replaced(r"(<edge [^>]*>)", r"\1\1"), "damaged, or there twice"),
    "a layer twice": (replaced(r'(<layer id="0".*?</layer>)', r"\1\1"), "or makes one again"),
    "an id that is none": (replaced('<layer id="0"', '<layer id="x"'), "has the id 'x'"),
    "a layer without a value": (replaced("<output>.*?</output>", ""), "has no port for its value"),
    "a port that is none": (replaced('<port id="0"', '<port id="-1"'), "has a damaged port"),
    "a side that is none": (replaced("<dim>-1</dim>", "<dim>x</dim>"), "has a damaged port"),
    "a nested side": (replaced("-1</dim>", "1" + "<a>" * 5000 + "</a>" * 5000 + "</dim>"), "an element 'dim'"),
    "a nested layer": (replaced("<layers>", "<layers>" + "<a>" * 5000 + "</a>" * 5000), "an element 'layers'"),
    "data in data": (replaced(r"<data ([^>]*)/>", r"<data \1><a/></data>"), "an element 'a' with a name"),
    "a huge number": (replaced('strides="2, 2"', 'strides="2, 99999999"'), "has strides='2, 99999999'"),
    "a note on a library": (replaced('<data shape="1"', f'{EVIL_NOTE}<data shape="1"'), "has the note 'evil'"),
    "an input of another type": (replaced('element_type="f32"', 'element_type="i64"'), "has inputs of int64"),
    "outputs of other names": (replaced('names="pha"', 'names="alpha"'), "not of a matting network"),
    "a control character": (replaced('name="r1i"', 'name="\x1b[2J"'), "is no XML"),
    "bytes that are no text": (replaced('name="r1i"', 'name="\xe9"'), "is no XML"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_graph_is_one_clear_line(damage, copy):
    change, message = DAMAGED[damage]
    text = (copy / GRAPH).read_text()
    unclaimed = re.sub("<rt_info><rvm_export>.*</rvm_export></rt_info>", "", text)
    spoiled = change(unclaimed)
    assert spoiled != unclaimed
    (copy / GRAPH).write_text(spoiled, encoding="latin-1")
    with pytest.raises(ArtifactError, match=message) as caught:
        describe(copy)
    assert str(caught.value).startswith(f"{copy} ")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("position", "number", "message"),
    [
        (np.int64(3), np.int64(10**6), "has an integer beyond 65535"),
        (np.int64(3), np.int64(-(2**63)), "has an integer beyond 65535"),
        (np.float32(2), np.float32(50), "enlarges an image more than 2 times"),
    ],
)
def test_constants_that_make_huge_images(position, number, message, models, tmp_path):
    """Change the sizes that a reshape has, or the factors of the decoder's resizes."""
    path = shutil.copytree(models["one size"], tmp_path / "model.openvino")
    text = (path / GRAPH).read_text()
    (path / GRAPH).write_text(re.sub("<rt_info><rvm_export>.*</rvm_export></rt_info>", "", text))
    before = np.array([1, 1, 2, 2] if number.dtype == np.float32 else [0, 3, -1], position.dtype)
    weights = (path / WEIGHTS).read_bytes()
    assert before.tobytes() in weights
    after = np.where(before == position, number, before) if number.dtype == np.float32 else [0, number, -1]
    (path / WEIGHTS).write_bytes(weights.replace(before.tobytes(), np.array(after, position.dtype).tobytes()))
    with pytest.raises(ArtifactError, match=message):
        describe(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-4], "bytes and ends before the numbers of"),
        (lambda content: b"", "has 0 bytes and ends before the numbers of"),
        (lambda content: content.replace(content[2380:2384], b"\xff" * 4, 1), "has numbers that are not finite"),
    ],
)
def test_damaged_weights_are_one_clear_line(change, message, copy):
    text = (copy / GRAPH).read_text()
    (copy / GRAPH).write_text(re.sub("<rt_info><rvm_export>.*</rvm_export></rt_info>", "", text))
    (copy / WEIGHTS).write_bytes(change((copy / WEIGHTS).read_bytes()))
    with pytest.raises(ArtifactError, match=message) as caught:
        describe(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS])
def test_nothing_outside_the_folder_is_read(name, copy, tmp_path):
    (tmp_path / "secret").write_bytes((copy / name).read_bytes())
    (copy / name).unlink()
    (copy / name).symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match=f"points outside itself, to '{name}'"):
        describe(copy)


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS])
def test_a_missing_file_or_a_pipe(name, copy):
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match="none of the formats" if name == GRAPH else f"lacks '{name}'"):
        describe(copy)
    os.mkfifo(copy / name)
    with pytest.raises(ArtifactError, match=rf"refused: '{name}' is no regular file|none of the formats"):
        describe(copy)


def one_frame(path, state=None, value=0.5, **options):
    with load_runtime("openvino").load(describe(path), "cpu", 0.5) as step:
        return step(np.full((1, 3, 70, 97), value, np.float32), state)


def test_openvino_reads_what_was_checked(copy, monkeypatch, tmp_path):
    """Hide a layer from us that another parser might see, and let the program print what it gets."""
    text = (copy / GRAPH).read_text()
    (copy / GRAPH).write_text(text.replace("<layers>", "<!-- a layer --><layers>"))
    (tmp_path / "program.py").write_text("import sys; sys.exit(open(sys.argv[2]).read().replace('\\n', '')[:80])")
    monkeypatch.setattr(runtime, "PROGRAM", tmp_path / "program.py")
    with pytest.raises(ArtifactError, match=r'exit code 1: <net name="\w+" version="11">\s*<layers>'):
        one_frame(copy)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process of openvino ended by SIGSEGV"),
        ("import sys; sys.exit('no library')", "the process of openvino ended with exit code 1: no library"),
    ],
)
def test_a_crash_of_the_runtime_is_reported(code, message, models, monkeypatch, tmp_path):
    (tmp_path / "program.py").write_text(code)
    monkeypatch.setattr(runtime, "PROGRAM", tmp_path / "program.py")
    with pytest.raises(ArtifactError, match=re.escape(message)):
        one_frame(models["any size"])


def test_a_file_that_is_exchanged_after_it_was_described_is_read_again(copy):
    artifact = describe(copy)
    (copy / WEIGHTS).write_bytes(b"")
    with (
        pytest.raises(ArtifactError, match="ends before the numbers of"),
        load_runtime("openvino").load(artifact, "cpu", 0.5),
    ):
        raise AssertionError


def test_a_frame_that_the_file_does_not_take(models):
    with (
        load_runtime("openvino").load(describe(models["one size"]), "cpu", 0.5) as step,
        pytest.raises(ArtifactError, match="does not run in openvino: ") as caught,
    ):
        step(np.zeros((1, 3, 64, 96), np.float32), None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [pytest.param("stateful", marks=pytest.mark.long), "stateful, one size"])
def test_a_stateful_model_has_the_state_that_it_is_given(kind, models):
    """Play on, go back to an earlier state, and begin again."""
    clip = frames(SIZE.height, SIZE.width, 4)
    with load_runtime("openvino").load(describe(models[kind]), "cpu", 0.5) as step:
        mattes, states = [], [None]
        for frame in clip:
            matte, state = step(frame, states[-1])
            mattes.append(matte.pha)
            states.append(state)
        back, _ = step(clip[2], states[2])
        again, _ = step(clip[0], None)
    assert [array.shape for array in states[1]] == [*state_shapes("mobilenetv3", 70, 97, 0.5)]
    assert not (states[1][0] == states[2][0]).all()
    assert (back.pha == mattes[2]).all()
    assert (again.pha == mattes[0]).all()
    assert not (mattes[0] == mattes[1]).all()


@pytest.mark.long
def test_states_inside_are_the_same_as_outside(models):
    clip, runs = frames(SIZE.height, SIZE.width), {}
    for kind in ("any size", "stateful"):
        state = None
        with load_runtime("openvino").load(describe(models[kind]), "cpu", 0.5) as step:
            for frame in clip:
                matte, state = step(frame, state)
        runs[kind] = (matte.fgr, matte.pha, *state)
    for outside, inside in zip(*runs.values(), strict=True):
        assert np.abs(outside - inside).max() < 1e-6


def test_the_state_and_the_matte_belong_to_the_caller(models):
    _, state = one_frame(models["any size"])
    arrays = runtime.to_numpy(state)
    arrays[0][:] = 7
    assert not (state[0] == 7).any()


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.long] if "stateful" in kind else []) for kind in KINDS]
)
def test_its_weights_are_recovered(kind, models):
    check_recovery(models[kind], "float16" if "fp16" in models[kind].name else "float32")


@pytest.mark.long
@pytest.mark.parametrize(("variant", "refiner"), NETWORKS[1:])
def test_the_weights_of_other_networks_are_recovered(variant, refiner, tmp_path):
    check_recovery(export(tmp_path, variant, refiner), "float32")


def check_recovery(path, stored):
    import torch

    artifact = describe(path)
    checkpoint = load_checkpoint("seeded", artifact.variant, artifact.refiner)
    recovered = recover([artifact])
    (weights,) = recovered.weights.values()
    assert {interval.stored for interval in weights.kernels.values()} == {stored}
    own, given = checkpoint.network(), recovered.checkpoint.network()
    src = torch.from_numpy(frames(32, 48, 1)[0])
    difference = own(src, downsample_ratio=0.5)[1] - given(src, downsample_ratio=0.5)[1]
    assert difference.abs().max() < (1e-2 if stored == "float16" else 1e-3)


def test_names_of_files(tmp_path):
    given = {"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "fp32"}
    assert OpenvinoSpec(**given).file_name(".openvino", False) == "rvm_mobilenetv3_fp32.openvino"
    spec = OpenvinoSpec(**given, fixed=SIZE, stateful=True)
    assert spec.file_name(".openvino", False) == "rvm_mobilenetv3_97x70_s0.5_stateful_fp32.openvino"


def test_a_zip_file_is_the_folder(models, exported):
    path = exported("openvino", zip=True)
    with zipfile.ZipFile(path) as archive:
        contents = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert contents == {name: (models["any size"] / name).read_bytes() for name in (GRAPH, WEIGHTS)}
    assert describe(path).metadata == describe(models["any size"]).metadata


def test_openvino_has_as_many_threads_as_others(models, monkeypatch):
    """It does not read OMP_NUM_THREADS itself."""
    compiled = []
    compile_model = openvino.Core.compile_model
    monkeypatch.setattr(
        openvino.Core, "compile_model", lambda *arguments: compiled.append(compile_model(*arguments)) or compiled[-1]
    )
    openvino_child.load([str(models["any size"] / name) for name in (GRAPH, WEIGHTS)], 1)
    assert compiled[0].get_property("INFERENCE_NUM_THREADS") == 1


def test_the_program_says_what_failed():
    error = RuntimeError(
        "Exception from src/a.cpp:1:\nException from b:\n\nCheck 'x' failed at c\nThe shape is wrong\n"
    )
    with pytest.raises(RuntimeError, match=r"^The shape is wrong$"), openvino_child.plain_errors():
        raise error
    assert tuple(name.removesuffix("i") for name in INPUTS[1:5]) == STATES
