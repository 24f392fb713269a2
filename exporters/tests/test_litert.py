"""Test LiteRT files: what they hold, how they are read, and how their weights are stored."""

import json
import os
import random
import struct
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from exporters import FORMATS, describe, load_exporter, load_runtime
from exporters.artifact import INPUTS, OUTPUTS, ArtifactError
from exporters.format import MissingPackage
from exporters.litert import LitertSpec, quantise
from exporters.litert.artifact import CONVOLUTIONS
from exporters.litert.export import with_metadata
from exporters.litert.load import parse, read
from exporters.litert.operations import DTYPES, GPU_DELEGATE, KINDS
from exporters.litert.recovery import activation_steps
from exporters.lowering.folding import folded_convs
from exporters.recover import recover
from exporters.spec import COEFFICIENTS, Fixed, SpecError
from exporters.support.calibration import BUILTIN, load_calibration
from exporters.support.own_metadata import HASH
from rvm_model import load_checkpoint
from rvm_model.state import state_shapes

KIND = {"variant": "mobilenetv3", "refiner": "deep_guided_filter"}
SIZE = Fixed(width=160, height=96, ratio=0.5)
WAYS = ("fp32", "fp16", "int8", "int8 weights")
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


def spec(precision="fp32", fixed=SIZE, **options):
    return LitertSpec(**KIND, precision=precision, fixed=fixed, **options)


def changed(content: bytes, change) -> bytes:
    """Return a file without its hash, after a change of its model."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for entry in model.metadata:
        if entry.name == b"rvm_export":
            found = json.loads(bytes(bytearray(model.buffers[entry.buffer].data)))
            del found[HASH]
            model.buffers[entry.buffer].data = [*json.dumps(found).encode()]
    change(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@EVERY_WAY
def test_xnnpack_takes_the_whole_file(way, litert_files):
    """The delegate reads nothing but inputs and constants, and writes all outputs: nothing runs beside it."""
    interpreter = Interpreter(str(litert_files[way]), num_threads=1)
    interpreter.allocate_tensors()
    delegates = [each for each in interpreter._get_ops_details() if each["op_name"] == "DELEGATE"]
    assert len(delegates) == 1
    inputs, outputs = (
        {each["index"] for each in details}
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    assert outputs <= {*map(int, delegates[0]["outputs"])}
    constants = {number for number, tensor in enumerate(read(litert_files[way]).tensors) if tensor.data is not None}
    assert {*map(int, delegates[0]["inputs"])} - {-1} <= inputs | constants


@EVERY_WAY
def test_the_gpu_delegate_lists_all_operations(way, litert_files):
    kinds = {operation.kind for operation in read(litert_files[way]).operations}
    assert len(kinds) > 10
    assert kinds <= GPU_DELEGATE
    assert describe(litert_files[way]).facts["GPU delegate"] == "lists all operations"


def test_the_tables_of_numbers_are_the_schemas():
    for number, kind in KINDS.items():
        assert getattr(schema.BuiltinOperator, kind.name) == number
    for number, dtype in DTYPES.items():
        assert getattr(schema.TensorType, dtype.upper()) == number


@EVERY_WAY
def test_it_describes_what_it_made(way, litert_files):
    artifact = describe(litert_files[way])
    shapes = {"src": (1, 96, 160, 3), "fgr": (1, 96, 160, 3), "pha": (1, 96, 160, 1)}
    states = [(1, h, w, c) for _, c, h, w in state_shapes("mobilenetv3", 96, 160, 0.5)]
    shapes |= dict(zip(INPUTS[1:5], states, strict=True)) | dict(zip(OUTPUTS[2:], states, strict=True))
    assert [each.name for each in artifact.inputs] == [*INPUTS[:5]]
    assert [each.name for each in artifact.outputs] == [*OUTPUTS]
    assert all(each.shape == shapes[each.name] and each.dtype == "float32" for each in artifact.inputs)
    assert all(each.shape == shapes[each.name] and each.dtype == "float32" for each in artifact.outputs)
    assert (artifact.fixed, artifact.precision, artifact.refiner) == (SIZE, way[:4], "deep_guided_filter")
    assert artifact.metadata["resolution"] == "160x96"


def test_the_signature_is_named_as_consumers_call_it(litert_files):
    signatures = Interpreter(str(litert_files["fp32"]), num_threads=1).get_signature_list()
    assert signatures == {"serving_default": {"inputs": sorted(INPUTS[:5]), "outputs": sorted(OUTPUTS)}}


def test_files_get_smaller(litert_files):
    sizes = [litert_files[way].stat().st_size for way in WAYS]
    assert sizes[1] < 0.52 * sizes[0]
    assert sizes[2] < 0.3 * sizes[0]
    assert sizes[3] < 0.3 * sizes[0]
    assert max(sizes[2:]) <= 4.3e6


def test_only_three_convolutions_compute_in_eight_bits(litert_files):
    steps = activation_steps(describe(litert_files["int8"]))
    assert {*steps} == {f"decoder.decode{k}.conv.0" for k in (1, 2, 3)}
    for each in steps.values():
        assert each.given.scale > 0
        assert 0 < each.given.zero < 255
        assert each.result.zero == 0  # behind a ReLU
    assert activation_steps(describe(litert_files["int8 weights"])) == {}


@pytest.mark.parametrize(("way", "dtype"), [("fp16", "float16"), ("int8", "int8"), ("int8 weights", "int8")])
def test_the_first_convolution_the_projection_and_the_refiner_keep_float32(way, dtype, litert_files):
    model = read(litert_files[way])
    stored = {each.outputs[0]: each.inputs[0] for each in model.operations if each.kind == "DEQUANTIZE"}
    found = {}
    for operation in model.operations:
        if operation.kind in CONVOLUTIONS:
            name = model.tensors[operation.outputs[0]].name
            number = operation.inputs[1]
            found[name] = model.tensors[stored.get(number, number)].dtype
    kept = ("backbone.features.0/", "downsample/", "project_mat/", "refiner/")
    assert {kind for name, kind in found.items() if name.startswith(kept)} == {"float32"}
    assert {kind for name, kind in found.items() if not name.startswith(kept)} == {dtype}


@pytest.mark.parametrize(("way", "step"), [("fp32", 2.0**-23), ("fp16", 2.0**-10), ("int8", 1 / 127)])
def test_weights_are_the_checkpoints_rounded(way, step, litert_files):
    recovered = recover([describe(litert_files[way])])
    convs = folded_convs(load_checkpoint("seeded").network())
    given = folded_convs(recovered.checkpoint.network())
    assert len(given) == len(convs)
    for name, conv in convs.items():
        if name != "project_seg.conv":
            error = np.abs(given[name].weight - conv.weight).max()
            assert error <= step * np.abs(conv.weight).max(), name


def test_calibration_is_in_the_metadata(litert_files):
    calibration = load_calibration(BUILTIN, SIZE).metadata()
    assert calibration.items() <= describe(litert_files["int8"]).metadata.items()
    assert "calibration" not in describe(litert_files["int8 weights"]).metadata


@pytest.mark.parametrize(("width", "height", "near"), [(161, 96, "160x96 or 162x96"), (160, 97, "160x96 or 160x98")])
def test_a_size_that_is_no_whole_number_inside_is_refused(width, height, near):
    fixed = Fixed(width=width, height=height, ratio=0.5)
    with pytest.raises(SpecError, match=f"LiteRT needs whole numbers; give {near}"):
        spec(fixed=fixed)
    assert spec(fixed=fixed, outputs=COEFFICIENTS).gives_line  # nothing resizes by the ratio in it


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_missing_quantiser_is_one_line(precision, monkeypatch, tmp_path):
    monkeypatch.setattr(quantise, "find_spec", lambda _: None)
    monkeypatch.setattr("exporters.litert.export._converted", lambda *_: b"")
    with pytest.raises(
        MissingPackage, match=r"^litert needs ai_edge_quantizer .*; run: pip install 'rvm-export\[litert\]'$"
    ):
        load_exporter("litert").export(load_checkpoint("seeded"), spec(precision), tmp_path / "a.tflite")
    assert not [*tmp_path.iterdir()]


def test_a_file_that_is_cut_is_an_error_of_one_line(litert_files, tmp_path):
    content = litert_files["int8"].read_bytes()
    path = tmp_path / "cut.tflite"
    for length in (9, 32, 500, 100_000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ArtifactError) as caught:
            describe(path)
        assert "\n" not in str(caught.value)


def test_a_flipped_bit_anywhere_is_found(litert_files, tmp_path):
    content = litert_files["int8"].read_bytes()
    path = tmp_path / "flipped.tflite"
    drawn = random.Random(0)
    for _ in range(20):
        at, bit = drawn.randrange(8, len(content)), drawn.randrange(8)
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
        with pytest.raises(ArtifactError, match=r"has changed since|is damaged|is a LiteRT model, but not"):
            describe(path)


def test_an_edited_file_without_a_hash_is_read(litert_files, tmp_path):
    path = tmp_path / "edited.tflite"
    path.write_bytes(changed(litert_files["fp32"].read_bytes(), lambda model: None))
    assert describe(path).fixed == SIZE


def custom(model):
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 32
    model.operatorCodes[0].customCode = b"Evil"


def while_loop(model):
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 119


def two_graphs(model):
    model.subgraphs.append(model.subgraphs[0])


def no_signature(model):
    model.signatureDefs = []


def unknown_tensor(model):
    model.subgraphs[0].operators[7].inputs = [2**30, *model.subgraphs[0].operators[7].inputs[1:]]


def own_output(model):
    operation = model.subgraphs[0].operators[7]
    operation.inputs = [operation.outputs[0], *operation.inputs[1:]]


def other_shape(model):
    model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]].shape = [7, 7, 7, 7]


def behind(model):
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, 2**40, 2**40


def no_ratio(model):
    model.metadata = []


def other_state(model):
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[1]].shape = [1, 5, 5, 16]


def no_kernels(model):
    graph = model.subgraphs[0]
    graph.operators = [each for each in graph.operators if model.operatorCodes[each.opcodeIndex].builtinCode != 3]


def not_finite(model):
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]]
    model.buffers[tensor.buffer].data = np.full(tensor.shape, np.nan, np.float32).ravel().view(np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (not_finite, "has numbers that are not finite"),
        (custom, "the operation 'Evil', which a matting network does not need"),
        (while_loop, "the operation '119', which a matting network does not need"),
        (two_graphs, "2 graphs and 1 signatures"),
        (no_signature, "1 graphs and 0 signatures"),
        (unknown_tensor, "reads a tensor that is not there"),
        (own_output, "reads a tensor that is not there"),
        (other_shape, "bytes, and its shape"),
        (behind, "keeps data behind the flatbuffer"),
        (no_ratio, "does not say in its metadata which downsample_ratio"),
        (other_state, "shapes that do not go together"),
        (no_kernels, "reads a tensor that is not there"),
    ],
)
def test_what_a_matting_network_has_not_is_refused(change, message, litert_files, tmp_path):
    path = tmp_path / "bad.tflite"
    path.write_bytes(changed(litert_files["fp32"].read_bytes(), change))
    with pytest.raises(ArtifactError, match=message):
        describe(path)


def weightless(model):
    """Let a TANH be a convolution."""
    (code,) = [each for each in model.operatorCodes if each.builtinCode == 28]
    code.builtinCode = code.deprecatedBuiltinCode = 3


def test_a_convolution_without_weights_is_not_recovered(litert_files, tmp_path):
    path = tmp_path / "bad.tflite"
    path.write_bytes(changed(litert_files["fp32"].read_bytes(), weightless))
    with pytest.raises(ArtifactError, match="has no constant weights of 4 axes"):
        recover([describe(path)])


def test_offsets_outside_of_the_file_are_refused(litert_files):
    content = litert_files["fp32"].read_bytes()
    for at in (0, struct.unpack_from("<I", content)[0]):
        for value in (2**31, 2**32 - 1, len(content)):
            with pytest.raises(ValueError, match=r"an offset in it is|a vector in it has|has 0 graphs"):
                parse(content[:at] + struct.pack("<I", value) + content[at + 4 :])


def test_another_model_is_no_matting_network(tmp_path):
    path = tmp_path / "other.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 100)
    with pytest.raises(ArtifactError, match="is damaged, or no matting network"):
        describe(path)


def test_a_file_of_two_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "large.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3")
    os.truncate(path, 2_200_000_000)
    with pytest.raises(ArtifactError, match="it has 2200000000 bytes; at most"):
        describe(path)


def test_the_hash_covers_every_byte_but_itself(litert_files):
    content = litert_files["int8"].read_bytes()
    claimed = read(litert_files["int8"]).metadata[HASH]
    assert content.count(claimed.encode()) == 1


def test_metadata_is_replaced_by_none_of_the_converters(litert_files):
    model = schema.ModelT.InitFromPackedBuf(litert_files["fp32"].read_bytes(), 0)
    assert [entry.name for entry in model.metadata].count(b"rvm_export") == 1
    assert not any(str(Path.home()).encode() in bytes(entry.name) for entry in model.metadata)


def test_a_crash_of_the_runtime_is_an_error_of_one_line(litert_files, monkeypatch, tmp_path):
    program = tmp_path / "crash.py"
    program.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr("exporters.litert.runtime.PROGRAM", program)
    runtime = load_runtime("litert")
    with (
        pytest.raises(ArtifactError, match="does not run: the process of LiteRT ended by SIGSEGV"),
        runtime.load(describe(litert_files["fp32"]), "cpu", 0.5),
    ):
        pass


def test_what_litert_refuses_is_an_error_of_one_line(litert_files, tmp_path):
    def other_option(model):
        pool = next(
            each for each in model.subgraphs[0].operators if isinstance(each.builtinOptions, schema.Pool2DOptionsT)
        )
        pool.builtinOptions.strideH = 0

    path = tmp_path / "bad.tflite"
    path.write_bytes(changed(litert_files["fp32"].read_bytes(), other_option))
    runtime = load_runtime("litert")
    with pytest.raises(ArtifactError, match="does not run") as caught, runtime.load(describe(path), "cpu", 0.5) as step:
        step(np.zeros((1, 3, 96, 160), np.float32), None)
    assert "\n" not in str(caught.value)


def test_a_frame_of_another_size_is_refused(litert_files):
    runtime = load_runtime("litert")
    with (
        runtime.load(describe(litert_files["fp32"]), "cpu", 0.5) as step,
        pytest.raises(ArtifactError, match="takes one frame of 160x96, not 1 of 96x64"),
    ):
        step(np.zeros((1, 3, 64, 96), np.float32), None)


def test_names_of_files():
    names = {
        spec().file_name(".tflite", seeded=False): "rvm_mobilenetv3_160x96_s0.5_fp32.tflite",
        spec("int8").file_name(".tflite", seeded=False): "rvm_mobilenetv3_160x96_s0.5_int8.tflite",
        spec("int8", int8="weights").file_name(".tflite", False): "rvm_mobilenetv3_160x96_s0.5_weights_int8.tflite",
        spec(outputs="pha").file_name(".tflite", seeded=False): "rvm_mobilenetv3_160x96_s0.5_pha_fp32.tflite",
    }
    assert [*names] == [*names.values()]
    assert FORMATS["litert"].suffix == ".tflite"


def test_metadata_of_any_length_is_found_again(litert_files):
    content = changed(litert_files["int8"].read_bytes(), lambda model: setattr(model, "metadata", []))
    model = parse(with_metadata(content, {"a": "b" * 10_000}))
    assert model.metadata["a"] == "b" * 10_000
