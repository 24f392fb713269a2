"""Test the ONNX file from the consumer's side: names, axes, types, metadata, bytes."""

import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from exporters import load_runtime, recognise
from exporters.artifact import INPUTS, OUTPUTS, ArtifactError
from exporters.onnx import OPSETS, OnnxSpec
from exporters.onnx.traced import export_traced
from exporters.spec import Fixed, SpecError
from exporters.tests.onnx_files import assert_close, export, export_fixed, operators, play
from rvm_model import load_checkpoint
from rvm_model.device import DeviceError
from rvm_model.state import REFINERS, VARIANTS, state_shapes

EVERY_FILE = pytest.mark.parametrize(
    ("variant", "refiner", "precision"),
    [
        pytest.param(v, r, p, marks=[pytest.mark.long] if v == "resnet50" else [])
        for v in VARIANTS
        for r in REFINERS
        for p in ("fp32", "fp16")
    ],
)


SHORT_OPSETS = {(17, "fp32"), (21, "fp32"), (14, "fp16")}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return export(tmp_path_factory.mktemp("onnx"))


@EVERY_FILE
def test_the_file_is_valid_and_keeps_the_contract(variant, refiner, precision, tmp_path):
    model = onnx.load(export(tmp_path, variant, refiner, precision))
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)

    assert [value.name for value in model.graph.input] == list(INPUTS)
    assert [value.name for value in model.graph.output] == list(OUTPUTS)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 12)]
    element = {"fp32": onnx.TensorProto.FLOAT, "fp16": onnx.TensorProto.FLOAT16}[precision]
    for value in (*inferred.graph.input, *inferred.graph.output):
        expected = onnx.TensorProto.FLOAT if value.name == "downsample_ratio" else element
        assert value.type.tensor_type.elem_type == expected, value.name

    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.input, *inferred.graph.output)
    }
    assert axes["src"] == axes["fgr"] == ["batch", 3, "height", "width"]
    assert axes["pha"] == ["batch", 1, "height", "width"]
    assert axes["downsample_ratio"] == [1]
    names = [axis for name in (*INPUTS[1:5], *OUTPUTS[2:]) for axis in axes[name] if isinstance(axis, str)]
    assert len(names) == len(set(names)) == 4 * 4 + 4 * 3
    channels = [shape[1] for shape in state_shapes(variant, 64, 64, 1)]
    assert [axes[name][1] for name in OUTPUTS[2:]] == channels
    declared = [value.type.tensor_type.shape.dim for value in model.graph.output][2:]
    assert [[axis.dim_value for axis in axes] for axes in declared] == [[0, each, 0, 0] for each in channels]
    assert [axes[name][1] for name in INPUTS[1:5]] == [f"{name}_channels" for name in INPUTS[1:5]]


def test_a_reader_finds_the_modules(path):
    graph = onnx.load(path).graph
    modules = {name for name, _ in load_checkpoint("seeded").network().named_modules()} | {"downsample", "output"}
    assert {node.name.partition("/")[0] for node in graph.node} <= modules
    assert "decoder.decode3.gru/Tanh" in {node.name for node in graph.node}
    weights = {weight.name for weight in graph.initializer}
    assert {"decoder.decode3.gru.ih.0.x.weight", "decoder.decode3.gru.ih.0.x.bias"} <= weights
    assert len({node.name for node in graph.node}) == len(graph.node)


def test_nothing_in_the_graph_is_unused(path):
    graph = onnx.load(path).graph
    used = {name for node in graph.node for name in node.input} | set(OUTPUTS)
    assert {weight.name for weight in graph.initializer} - used == set()
    assert {name for node in graph.node for name in node.output} - used == set()


def test_metadata_tells_where_it_comes_from(path):
    model, checkpoint = onnx.load(path), load_checkpoint("seeded")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert list(metadata) == sorted(metadata)
    assert metadata["weights_sha256"] == checkpoint.weights_sha256
    expected = {"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "fp32", "opset": "12"}
    assert expected.items() <= metadata.items()
    assert {"licence", "layout", "value_range", "state_shapes", "producer", "onnx_version"} <= metadata.keys()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("full_states", [False, True])
def test_states_may_start_as_one_zero_or_as_many(path, batch, full_states):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    shapes = state_shapes("mobilenetv3", 61, 97, 0.5, batch) if full_states else [(1, 1, 1, 1)] * 4
    states = [np.zeros(shape, np.float32) for shape in shapes]
    src = np.random.default_rng(0).random((batch, 3, 61, 97), np.float32)
    ratio = np.array([0.5], np.float32)
    outputs = session.run(None, dict(zip(INPUTS, (src, *states, ratio), strict=True)))
    assert [output.shape for output in outputs[2:]] == list(state_shapes("mobilenetv3", 61, 97, 0.5, batch))


def test_external_data_is_refused(path, tmp_path):
    model = onnx.load(path)
    outside = tmp_path / "model.onnx"
    onnx.save(model, outside, save_as_external_data=True, location="weights.bin")
    with pytest.raises(ArtifactError, match="in other files"):
        load_runtime("onnx").inspect(outside)


def wide_convolution(model):
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    next(each for each in node.attribute if each.name == "pads").ints[3] = 4_000_000


def wide_pad(model):
    node = next(node for node in model.graph.node if node.op_type == "Pad")
    padding = next(each for each in model.graph.initializer if each.name == node.input[1])
    numbers = numpy_helper.to_array(padding).copy()
    numbers[-1] = 4_000_000
    padding.CopyFrom(numpy_helper.from_array(numbers, padding.name))


def wide_pad_of_a_node(model):
    node = next(node for node in model.graph.node if node.op_type == "Pad")
    numbers = [0] * 7 + [4_000_000]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["wide"], value_ints=numbers))
    node.input[1] = "wide"


@pytest.mark.parametrize("change", [wide_convolution, wide_pad, wide_pad_of_a_node])
def test_a_padding_that_takes_gigabytes_is_refused(change, path, tmp_path):
    model = onnx.load(path)
    del model.metadata_props[:]
    change(model)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ArtifactError, match="has the number 4000000; expected at most 64"):
        load_runtime("onnx").inspect(tmp_path / "model.onnx")


def test_an_element_type_that_onnx_does_not_have_is_refused(path, tmp_path):
    model = onnx.load(path)
    del model.metadata_props[:]
    model.graph.initializer[0].data_type = -1
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ArtifactError, match=r"model\.onnx is damaged: a tensor has element type -1, which ONNX lacks"):
        load_runtime("onnx").inspect(tmp_path / "model.onnx")


def test_another_networks_file_is_refused(tmp_path):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "other", [value], [out])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "other.onnx")
    with pytest.raises(ArtifactError, match="not of a matting network"):
        load_runtime("onnx").inspect(tmp_path / "other.onnx")


def test_the_other_name_of_onnxs_own_domain_is_known(path, tmp_path):
    model = onnx.load(path)
    model.opset_import[0].domain = "ai.onnx"
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "alias.onnx")
    assert load_runtime("onnx").inspect(tmp_path / "alias.onnx").facts["opset"] == 12


def test_an_unknown_dtype_is_refused(path, tmp_path):
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = 99
    del model.metadata_props[:]
    (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError):
        load_runtime("onnx").inspect(tmp_path / "odd.onnx")


def test_cuda_is_demanded(path, monkeypatch):
    """A build without the provider, or without its libraries, which only warns, must not fall back to the CPU."""
    runtime = load_runtime("onnx")
    artifact = runtime.inspect(path)
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        with pytest.raises(DeviceError, match="no working CUDA provider"), runtime.load(artifact, "cuda", 0.5):
            pass
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", lambda *arguments, **options: session)
    with pytest.raises(DeviceError, match="no working CUDA provider"), runtime.load(artifact, "cuda", 0.5):
        pass


def test_arrays_belong_to_the_caller(path):
    runtime = load_runtime("onnx")
    src = np.random.default_rng(0).random((1, 3, 64, 96), np.float32)
    with runtime.load(runtime.inspect(path), "cpu", 0.5) as step:
        _, state = step(src, None)
        expected, _ = step(src, state)
        for array in runtime.to_numpy(state):
            array[...] = 5
        assert (step(src, state)[0].pha == expected.pha).all()


def test_a_changed_weight_is_found(path, tmp_path):
    model = onnx.load(path)
    weight = model.graph.initializer[0]
    weight.raw_data = bytes([weight.raw_data[0] ^ 1]) + weight.raw_data[1:]
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(ArtifactError, match="changed since"):
        load_runtime("onnx").inspect(tmp_path / "changed.onnx")


@pytest.mark.parametrize(
    ("variant", "refiner"),
    [
        (VARIANTS[0], REFINERS[0]),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in ((VARIANTS[0], REFINERS[1]), *((VARIANTS[1], refiner) for refiner in REFINERS))
        ),
    ],
)
def test_a_file_from_torchs_exporter_is_recognised(variant, refiner, tmp_path):
    export_traced(load_checkpoint("seeded", variant, refiner).network("always"), tmp_path / "traced.onnx")
    artifact = load_runtime("onnx").inspect(tmp_path / "traced.onnx")
    assert (artifact.variant, artifact.refiner, artifact.precision) == (variant, refiner, "fp32")
    assert artifact.metadata == {}


@pytest.mark.parametrize(
    ("opset", "precision"),
    [
        pytest.param(opset, precision, marks=[] if (opset, precision) in SHORT_OPSETS else [pytest.mark.long])
        for opset in OPSETS
        for precision in ("fp32", "fp16")
    ],
)
def test_every_opset_computes_the_same(opset, precision, tmp_path):
    (tmp_path / "default").mkdir()
    expected = play(export(tmp_path / "default", precision=precision))
    path = export(tmp_path, precision=precision, opset=opset)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert [entry.version for entry in model.opset_import] == [opset]
    assert ("HardSwish" in operators(path)) == (opset >= 14)
    assert_close(expected, play(path), {"fp32": 1e-5, "fp16": 5e-3}[precision])


@pytest.mark.parametrize("opset", [12, 21])
def test_primitive_activations(opset, path, tmp_path):
    primitive = export(tmp_path, primitive_activations=True, opset=opset)
    assert not {"HardSwish", "HardSigmoid"} & operators(primitive)
    assert_close(play(path), play(primitive), 1e-5)


def test_ceil_free_is_exact(path, tmp_path):
    free = export(tmp_path, ceil_free=True)
    pools = [node for node in onnx.load(free).graph.node if node.op_type == "AveragePool"]
    assert len(pools) == 3
    assert not any(attribute.name == "ceil_mode" for pool in pools for attribute in pool.attribute)
    for height, width in ((61, 97), (64, 96), (62, 90), (2, 2)):
        for expected, given in zip(play(path, height, width), play(free, height, width), strict=True):
            assert (expected == given).all()


@pytest.mark.parametrize("opset", [11, 22, 99, 0])
def test_an_unknown_opset_is_refused(opset):
    with pytest.raises(SpecError, match="12 to 21"):
        OnnxSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", opset=opset)


def test_every_option_is_in_the_name():
    spec = OnnxSpec(
        variant="mobilenetv3",
        refiner="fast_guided_filter",
        precision="fp16",
        opset=17,
        primitive_activations=True,
        ceil_free=True,
        outputs="pha",
        io_dtype="fp32",
        io="uint8-nhwc-bgr",
        banded=True,
        simplify=True,
        fixed=Fixed(width=96, height=64, ratio=0.5, batch=2),
    )
    words = "fgf_b2_96x64_s0.5_opset17_primitive_ceilfree_banded_pha_io32_uint8_nhwc_bgr_simplified_fp16_seeded"
    assert spec.file_name(".onnx", seeded=True) == f"rvm_mobilenetv3_{words}.onnx"


@pytest.mark.parametrize(
    ("variant", "refiner"),
    [
        pytest.param(variant, refiner, marks=[pytest.mark.long] if variant == "resnet50" else [])
        for variant in VARIANTS
        for refiner in REFINERS
    ],
)
@pytest.mark.parametrize(("width", "height", "ratio"), [(97, 61, 0.5), (97, 61, 1), (64, 96, 0.375)])
@pytest.mark.parametrize("opset", [pytest.param(12, marks=pytest.mark.long), 18])
def test_a_fixed_file_asks_no_shapes(variant, refiner, width, height, ratio, opset, tmp_path):
    path = export_fixed(tmp_path, width, height, ratio, 2, variant=variant, refiner=refiner, opset=opset)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    assert not {"Shape", "Expand", "ConstantOfShape", "If", "Gather", "Cast"} & operators(path)
    constants = {weight.name for weight in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Resize", "Slice", "Pad", "Split"):
            assert set(node.input[1:]) <= constants | {""}, node.name
    assert constants == {name for node in model.graph.node for name in node.input} & constants
    assert [value.name for value in inferred.input] == list(INPUTS[:5])
    shapes = {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.output)
    }
    states = state_shapes(variant, height, width, ratio, 2)
    assert shapes["src"] == shapes["fgr"] == (2, 3, height, width)
    assert [shapes[name] for name in INPUTS[1:5]] == [shapes[name] for name in OUTPUTS[2:]] == [*states]
    values = (*inferred.value_info, *inferred.output)
    assert all(axis.dim_value > 0 for value in values for axis in value.type.tensor_type.shape.dim), "a size is open"
    assert ("refiner.conv.0.statistics.weight" in constants) == (refiner == "deep_guided_filter" and ratio != 1)


def test_a_fixed_file_is_told_from_itself(tmp_path):
    artifact = load_runtime("onnx").inspect(export_fixed(tmp_path, 97, 61, 0.375, 2))
    assert artifact.fixed == Fixed(width=97, height=61, ratio=0.375, batch=2)
    assert artifact.metadata["resolution"] == "97x61"


def test_a_fixed_file_without_its_ratio_is_refused(tmp_path):
    path = export_fixed(tmp_path, 97, 61, 0.5)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match="which one is baked in"):
        load_runtime("onnx").inspect(path)


@pytest.mark.parametrize("fixed", [None, Fixed(width=97, height=61, ratio=0.5)], ids=["dynamic", "fixed"])
@pytest.mark.parametrize("outputs", [pytest.param("fgr", marks=pytest.mark.long), "pha"])
def test_only_what_is_asked_for_is_computed(outputs, fixed, tmp_path):
    (tmp_path / "whole").mkdir()
    whole = export(tmp_path / "whole", fixed=fixed)
    part = export(tmp_path, fixed=fixed, outputs=outputs)
    graph = onnx.load(part).graph
    onnx.checker.check_model(onnx.load(part), full_check=True)
    assert [value.name for value in graph.output] == [outputs, *OUTPUTS[2:]]
    resizes = [sum(node.op_type == "Resize" for node in each.node) for each in (graph, onnx.load(whole).graph)]
    assert resizes[0] == resizes[1] - 2, "the other's slope and offset are not brought to full size"
    left_out = 1 - OUTPUTS.index(outputs)
    expected = [array for k, array in enumerate(play(whole)) if k % 6 != left_out]
    for a, b in zip(expected, play(part), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize(
    "fixed",
    [
        pytest.param(None, id="dynamic", marks=pytest.mark.long),
        pytest.param(Fixed(width=97, height=61, ratio=0.5), id="fixed"),
    ],
)
def test_half_precision_with_float32_at_the_edges(fixed, tmp_path):
    (tmp_path / "half").mkdir()
    half = export(tmp_path / "half", fixed=fixed, precision="fp16")
    edges = export(tmp_path, fixed=fixed, precision="fp16", io_dtype="fp32")
    onnx.checker.check_model(onnx.load(edges), full_check=True)
    artifact = load_runtime("onnx").inspect(edges)
    assert artifact.precision == "fp16"
    assert {tensor.dtype for tensor in (*artifact.inputs, *artifact.outputs)} == {"float32"}
    # onnxruntime computes in float32 on a CPU, and rounds to half at the file's outputs and casts.
    assert_close(play(half), play(edges), 5e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": "r1o"}, "the states always stay"),
        ({"outputs": ""}, "the states always stay"),
        ({"outputs": "fgr,fgr"}, "the states always stay"),
        ({"banded": True, "fixed": Fixed(width=64, height=64, ratio=1.0)}, "at ratio 1 brings nothing to full size"),
        ({"io_dtype": "fp64"}, "not one of same, fp32"),
        ({"io_dtype": "fp32"}, "leave --io-dtype out"),
        ({"io": "nhwc"}, "not one of nchw, uint8-nhwc, uint8-nhwc-bgr"),
    ],
)
def test_options_that_make_no_file(options, message):
    with pytest.raises(SpecError, match=message):
        OnnxSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", **options)


def test_sizes_that_do_not_go_together_are_refused(tmp_path):
    path = export_fixed(tmp_path, 64, 64, 0.5)
    for k, (name, axis, value) in enumerate(
        [("src", 2, 2**40), ("src", 1, 4), ("src", 0, 0), ("r2i", 3, 5), ("pha", 3, 1)]
    ):
        model = onnx.load(path)
        for entry in [entry for entry in model.metadata_props if entry.key == "graph_sha256"]:
            model.metadata_props.remove(entry)
        (tensor,) = [each for each in (*model.graph.input, *model.graph.output) if each.name == name]
        tensor.type.tensor_type.shape.dim[axis].dim_value = value
        odd = tmp_path / f"odd{k}.onnx"
        odd.write_bytes(model.SerializeToString())
        with pytest.raises(ArtifactError):
            load_runtime("onnx").inspect(odd)


def test_a_sparse_file_is_refused_by_its_size(tmp_path):
    path = tmp_path / "sparse.onnx"
    with path.open("wb") as file:
        file.write(b"\x08\x07")
        file.truncate(300_000_000_000)
    assert recognise(path) == "onnx"
    with pytest.raises(ArtifactError, match="it has 300000000000 bytes; at most 1000000000 are read"):
        load_runtime("onnx").inspect(path)


@pytest.mark.parametrize("field", [b"\x0a\x00", b"\x2a\x00"], ids=["nodes", "weights"])
def test_a_graph_of_millions_of_empty_parts_is_not_built(field, tmp_path, monkeypatch):
    """In 20 MB they would take 4.7 GB."""
    graph = field * 1_000_100
    length = bytes([len(graph) & 0x7F | 0x80, len(graph) >> 7 & 0x7F | 0x80, len(graph) >> 14])
    path = tmp_path / "parts.onnx"
    path.write_bytes(b"\x08\x07\x3a" + length + graph)
    monkeypatch.setattr("onnx.checker.check_model", None)
    with pytest.raises(ArtifactError, match="it has more than 1000000 fields"):
        load_runtime("onnx").inspect(path)


def test_onnxruntime_reports_nothing_to_its_makers(exported, tmp_path):
    """Look for the queue of reports, which it writes below the home before it sends them."""
    code = (
        "import sys; from exporters import load_runtime, open_artifact; from pathlib import Path\n"
        "with load_runtime('onnx').load(open_artifact(Path(sys.argv[1]), trust=False), 'cpu', 0.5): pass"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(tmp_path))
    command = [sys.executable, "-c", code, str(exported("onnx"))]
    subprocess.run(
        command, env={**environment, "PYTHONPATH": os.pathsep.join(sys.path), **places}, check=True, timeout=120
    )
    assert [*tmp_path.rglob("*")] == []
