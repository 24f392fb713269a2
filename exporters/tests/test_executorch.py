"""Test ExecuTorch files: what they hold, how they are read, and what is refused."""

import os
import random
import struct

import numpy as np
import pytest

from exporters import FORMATS, describe, load_runtime, require_packages
from exporters.artifact import INPUTS, OUTPUTS, ArtifactError
from exporters.executorch import ExecutorchSpec
from exporters.executorch.convert import Request, convert, refuse_pieces
from exporters.executorch.load import read
from exporters.executorch.xnnpack import NO_VALUE
from exporters.format import MissingPackage
from exporters.lowering.folding import folded_convs
from exporters.recover import recover
from exporters.spec import Fixed, SpecError
from exporters.support.own_metadata import HASH
from exporters.tests.executorch_files import claimed_by, parts, place, put, rehashed
from rvm_model import load_checkpoint
from rvm_model.state import state_shapes

KIND = {"variant": "mobilenetv3", "refiner": "deep_guided_filter"}
SIZE = Fixed(width=160, height=96, ratio=0.5)


@pytest.fixture(scope="session")
def whole(exported):
    return exported("executorch", fixed=SIZE, precision="fp32")


@pytest.fixture(scope="session")
def half(exported):
    return exported("executorch", fixed=SIZE, precision="fp16")


def spec(precision="fp32", fixed=SIZE):
    return ExecutorchSpec(**KIND, precision=precision, fixed=fixed)


def check_description(path, precision, dtype):
    artifact = describe(path)
    states = state_shapes("mobilenetv3", 96, 160, 0.5)
    image, alpha = (1, 3, 96, 160), (1, 1, 96, 160)
    assert [(each.name, each.shape, each.dtype) for each in artifact.inputs] == [
        (name, shape, dtype) for name, shape in zip(INPUTS, (image, *states), strict=False)
    ]
    assert [(each.name, each.shape, each.dtype) for each in artifact.outputs] == [
        (name, shape, dtype) for name, shape in zip(OUTPUTS, (image, alpha, *states), strict=True)
    ]
    assert (artifact.fixed, artifact.precision, artifact.refiner) == (SIZE, precision, "deep_guided_filter")
    assert artifact.metadata["resolution"] == "160x96"


def test_it_describes_what_it_made(whole):
    check_description(whole, "fp32", "float32")


@pytest.mark.long
def test_half_precision_is_half_as_large(whole, half):
    check_description(half, "fp16", "float16")
    assert half.stat().st_size < 0.51 * whole.stat().st_size
    values = read(half).values.values()
    assert {value.data.dtype.name for value in values if value.data is not None} == {"float16"}


def test_nothing_runs_beside_the_piece(whole):
    """The reader refuses any file that is not one call of one piece: this file is one."""
    model = read(whole)
    content = whole.read_bytes()
    assert len(parts(content).method.tables(7)) == 1
    assert len(parts(content).method.tables(6)) == 0  # no kernels of ExecuTorch's own
    assert {"Conv2d", "DepthwiseConv2d", "StaticResizeBilinear2D"} <= {each.kind for each in model.operations}


@pytest.mark.parametrize(
    ("name", "step"), [("whole", 2.0**-23), pytest.param("half", 2.0**-10, marks=pytest.mark.long)]
)
def test_weights_are_the_checkpoints_rounded(name, step, request):
    recovered = recover([describe(request.getfixturevalue(name))])
    convs = folded_convs(load_checkpoint("seeded").network())
    given = folded_convs(recovered.checkpoint.network())
    assert len(given) == len(convs)
    for module, conv in convs.items():
        if module != "project_seg.conv":
            error = np.abs(given[module].weight - conv.weight).max()
            assert error <= step * np.abs(conv.weight).max(), module


@pytest.mark.parametrize(("width", "height", "near"), [(161, 96, "160x96 or 162x96"), (160, 97, "160x96 or 160x98")])
def test_a_size_that_is_no_whole_number_inside_is_refused(width, height, near):
    with pytest.raises(SpecError, match=f"ExecuTorch needs whole numbers; give {near}"):
        spec(fixed=Fixed(width=width, height=height, ratio=0.5))


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setattr("exporters.find_spec", lambda name: None if name == "executorch" else name)
    commands = "pip install 'rvm-export[executorch]' && pip install --no-deps executorch==1.5.1"
    with pytest.raises(MissingPackage) as caught:
        load_runtime("executorch")
    assert str(caught.value) == f"executorch in executorch needs executorch; run: {commands}"
    description = FORMATS["executorch"]
    with pytest.raises(MissingPackage, match=r"^executorch needs executorch; run: pip install"):
        require_packages("executorch", description.packages, description.extra, description.afterwards)


@pytest.mark.parametrize(
    ("called", "told"),
    [
        (
            ["executorch_call_delegate", "aten_mean", "executorch_call_delegate_1"],
            "in 2 pieces, not in one, and leaves aten_mean",
        ),
        (
            ["executorch_call_delegate", "executorch_call_delegate_1", "getitem"],
            "in 2 pieces, not in one, and leaves nothing",
        ),
        (["executorch_call_delegate", "aten_mean"], "leaves aten_mean"),
        (["aten_mean"], "in 0 pieces"),
    ],
)
def test_a_network_in_pieces_is_refused(called, told):
    refuse_pieces(["executorch_call_delegate", "getitem", "getitem_1"])
    with pytest.raises(RuntimeError, match=told):
        refuse_pieces(called)


@pytest.mark.long
def test_a_conversion_that_fails_is_an_error_of_one_line():
    request = Request(convs={}, ratio=1.0, shapes=((1, 3, 8, 8),), precision="fp32", metadata=b"{}")
    with pytest.raises(ArtifactError, match=r"^ExecuTorch could not write a program: ") as caught:
        convert(request)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_is_an_error_of_one_line(whole, tmp_path):
    content = whole.read_bytes()
    path = tmp_path / "cut.pte"
    for length in (8, 9, 32, 500, 100_000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ArtifactError) as caught:
            describe(path)
        assert "\n" not in str(caught.value)


def test_a_flipped_bit_anywhere_is_found(whole, tmp_path):
    content = whole.read_bytes()
    path = tmp_path / "flipped.pte"
    drawn = random.Random(0)
    for _ in range(20):
        at, bit = drawn.randrange(8, len(content)), drawn.randrange(8)
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
        with pytest.raises(ArtifactError, match=r"has changed since|is damaged|is an ExecuTorch program, but not"):
            describe(path)


def test_the_hash_covers_every_byte_but_itself(whole):
    content = whole.read_bytes()
    assert content.count(read(whole).metadata[HASH].encode()) == 1


def node(content, kind):
    """Return the graph's first operation of a kind, and its place in the file."""
    found = parts(content)
    return next(each for each in found.graph.tables(1) if each.number(0, "B") == kind), found.graph_at


def of_another_kind(content):
    each, at = node(content, 7)
    return put(content, at + place(each, 0), "B", 36)  # attention


def reads_what_is_not_there(content):
    each, at = node(content, 7)
    return put(content, at + place(each.table(1), 15), "I", 100_000)


def reads_its_own_result(content):
    each, at = node(content, 7)
    return put(content, at + place(each.table(1), 15), "I", each.table(1).number(18, "I"))


def writes_an_input(content):
    each, at = node(content, 7)
    return put(content, at + place(each.table(1), 18), "I", 0)


def constant(content):
    """Return the first value of the graph that is a constant, and its place in the file."""
    found = parts(content)
    values = (each.table(1) for each in found.graph.tables(2))
    return next(each for each in values if each.number(3, "I")), found


def of_another_size(content):
    value, found = constant(content)
    at = place(value, 2)
    vector = at + struct.unpack_from("<I", content, found.graph_at + at)[0]
    return put(content, found.graph_at + vector + 4, "I", 7)


def of_another_type(content):
    value, found = constant(content)
    return put(content, found.graph_at + place(value, 0), "h", 3)


def number_of_no_constant(content):
    value, found = constant(content)
    return put(content, found.graph_at + place(value, 3), "I", 100_000)


def twice(content):
    value, found = constant(content)
    return put(content, found.graph_at + place(value, 6), "I", 1)


def not_finite(content):
    base = struct.unpack_from("<Q", content, 24)[0]
    segments = parts(content).program.tables(4)
    largest = max(segments, key=lambda each: each.number(1, "Q"))
    return put(content, base + largest.number(0, "Q"), "f", np.nan)


def beyond_its_end(content):
    segment = parts(content).program.tables(4)[3]
    return put(content, place(segment, 1), "Q", 2**60)


def another_backend(content):
    return content.replace(b"XnnpackBackend", b"XnnpackBackenE", 1)


def of_other_header(content):
    return content[:8] + b"eh99" + content[12:]


def longer_than_it_says(content):
    return content + b"\0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_another_kind, "operation 36 of XNNPACK's schema, which a matting network does not need"),
        (reads_what_is_not_there, "Conv2d reads a value that is not there"),
        (reads_its_own_result, "Conv2d reads a value that is not there"),
        (writes_an_input, "Conv2d writes a value that another has written"),
        (of_another_size, "bytes, and its shape"),
        (of_another_type, "has a type or a shape that a matting network does not need"),
        (number_of_no_constant, "refers to number 100000"),
        (twice, "it has two values of number 1"),
        (not_finite, "has numbers that are not finite"),
        (beyond_its_end, "a segment of it lies beyond its end"),
        (another_backend, "it is not one piece for XnnpackBackend"),
        (of_other_header, "it has no extended header"),
        (longer_than_it_says, "and its header says"),
    ],
)
def test_what_a_matting_network_has_not_is_refused(change, message, whole, tmp_path):
    content = whole.read_bytes()
    path = tmp_path / "bad.pte"
    path.write_bytes(rehashed(change(content), claimed_by(content)))
    with pytest.raises(ArtifactError, match=message):
        describe(path)


@pytest.mark.parametrize(
    ("ratio", "message"),
    [("0.4", "shapes that do not go together: r1i"), ("nan", "nan is not in"), ("abc", "could not convert")],
)
def test_metadata_that_contradicts_the_graph_is_refused(ratio, message, whole, tmp_path):
    content = whole.read_bytes()
    claimed, path = claimed_by(content), tmp_path / "bad.pte"
    path.write_bytes(
        rehashed(content.replace(b'"downsample_ratio": "0.5"', f'"downsample_ratio": "{ratio}"'.encode()), claimed)
    )
    with pytest.raises(ArtifactError, match=message):
        describe(path)


def test_another_program_is_no_matting_network(tmp_path):
    path = tmp_path / "other.pte"
    path.write_bytes(b"\x1c\0\0\0ET12" + b"\0" * 100)
    with pytest.raises(ArtifactError, match="is damaged, or no matting network"):
        describe(path)


def test_a_file_of_two_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "large.pte"
    path.write_bytes(b"\x1c\0\0\0ET12")
    os.truncate(path, 2_200_000_000)
    with pytest.raises(ArtifactError, match="it has 2200000000 bytes; at most"):
        describe(path)


def test_a_crash_of_the_runtime_is_an_error_of_one_line(whole, monkeypatch, tmp_path):
    program = tmp_path / "crash.py"
    program.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr("exporters.executorch.runtime.PROGRAM", program)
    with (
        pytest.raises(ArtifactError, match="does not run: the process of ExecuTorch ended by SIGSEGV"),
        load_runtime("executorch").load(describe(whole), "cpu", 0.5),
    ):
        pass


def test_what_executorch_refuses_is_an_error_of_one_line(whole, tmp_path):
    """A convolution whose groups do not fit its weights: our reader does not look at that, XNNPACK does."""
    content = whole.read_bytes()
    each, at = node(content, 13)
    path = tmp_path / "bad.pte"
    path.write_bytes(rehashed(put(content, at + place(each.table(1), 12), "I", 3), claimed_by(content)))
    runtime = load_runtime("executorch")
    with (
        pytest.raises(ArtifactError, match="does not run") as caught,
        runtime.load(describe(path), "cpu", 0.5) as step,
    ):
        step(np.zeros((1, 3, 96, 160), np.float32), None)
    assert "\n" not in str(caught.value)


def test_a_frame_of_another_size_is_refused(whole):
    with (
        load_runtime("executorch").load(describe(whole), "cpu", 0.5) as step,
        pytest.raises(ArtifactError, match="takes one frame of 160x96, not 1 of 96x64"),
    ):
        step(np.zeros((1, 3, 64, 96), np.float32), None)


def test_a_convolution_may_have_no_bias(whole):
    assert any(NO_VALUE in each.inputs for each in read(whole).operations if each.kind == "Conv2d")


def test_names_of_files():
    assert spec().file_name(".pte", seeded=False) == "rvm_mobilenetv3_160x96_s0.5_fp32.pte"
    assert FORMATS["executorch"].suffix == ".pte"
