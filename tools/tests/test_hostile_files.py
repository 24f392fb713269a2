"""Spoiled files of every kind through the commands that open them; `make soak` takes 10,000.

They run in their own process, since a library may crash or hang where no `except` helps. The process is restarted after
each file that crashed it.
"""

import os
from collections import Counter, defaultdict
from random import Random

import onnx
import pytest

from exporters import load_runtime
from exporters.artifact import ArtifactError
from tools.tests.hostile.commands import EVERY, MUTATED
from tools.tests.hostile.judgement import wrong_with
from tools.tests.hostile.mutants import KINDS, draw, targets, ways_of
from tools.tests.hostile.play import play
from tools.tests.hostile.runner import good_names
from tools.tests.hostile.spoil_onnx import CHECKSUM, ONNX

FEW, MANY = 60, 1000
"""Numbers of spoiled files. `make test` takes one of each good file from the first, `make test-long` all."""

NEEDS_TRUST = "model.torchscript"


@pytest.fixture(scope="module")
def good(hostile_home):
    return play("good", hostile_home, range(len(good_names(hostile_home))))


@pytest.fixture(scope="module", params=["one of each", pytest.param("a turn", marks=pytest.mark.long)])
def numbers(request, hostile_home):
    names = targets(hostile_home)
    return range(FEW) if request.param == "a turn" else sorted({names.index(name) for name in names})


@pytest.fixture(scope="module")
def few(hostile_home, numbers):
    return play("mutants", hostile_home, numbers)


@pytest.fixture(scope="module")
def many(hostile_home):
    return play("mutants", hostile_home, range(MANY), timeout=7000)


def wrong(outcomes):
    return [line for each in outcomes for line in wrong_with(each)]


def told(outcome):
    return f"{outcome['number']} {outcome['file']} {outcome['kind']} {outcome['command']} {outcome['err']}"


def of_onnx(outcomes):
    return [each for each in outcomes if each["file"].endswith(".onnx") and "/" not in each["file"]]


def test_each_of_a_few_ends_in_an_exit_code_and_one_line(few, numbers):
    """Check that there is no traceback, hang, stray file, foreign process or run code, see `wrong_with`."""
    assert wrong(few) == []
    assert {each["number"] for each in few} == {*numbers}
    assert {each["command"] for each in few} == {name for names in MUTATED.values() for name in names}


def test_every_kind_of_file_is_among_a_few(few, hostile_home):
    assert {each["file"] for each in few} == {*targets(hostile_home)}
    assert {KINDS[each["file"].partition("/")[0]] for each in few} == {*KINDS.values()}


def test_the_same_number_gives_the_same_file_and_no_good_one(hostile_home, numbers):
    for number in numbers[::3]:
        first = draw(number, hostile_home)
        assert first == draw(number, hostile_home)
        assert first.content != (hostile_home.good / first.name).read_bytes(), (first.name, first.way)


def test_every_way_comes_up(hostile_home):
    names = targets(hostile_home)
    turns = max(len(ways_of(name)) for name in names)
    drawn = defaultdict(set)
    for number in range(len(names) * turns):
        name = names[number % len(names)]
        if name == "video.mp4":  # the largest number of ways among the files that are quickly spoiled
            drawn[name].add(draw(number, hostile_home).way)
    assert drawn["video.mp4"] == {way.__name__ for way in ways_of("video.mp4")}


def test_most_spoiled_onnx_files_have_no_checksum(hostile_home):
    """Check that faults are found without a checksum, as foreign files have none."""
    content = (hostile_home.good / "model.onnx").read_bytes()
    assert CHECKSUM.encode() in content
    way = next(each for each in ONNX if each.__name__ == "poison_weights")
    bare = sum(CHECKSUM.encode() not in way(content, Random(number), hostile_home) for number in range(20))
    assert 10 <= bare < 20


def test_a_suffix_does_not_say_how_a_file_is_read(hostile_home, run, tmp_path):
    """Test suffixes that ONNX's own reader would parse as text."""
    for suffix in (".json", ".textproto", ".onnxtxt", ".txt"):
        path = tmp_path / f"file{suffix}"
        path.write_bytes((hostile_home.good / "model.onnx").read_bytes())
        assert run("info", path).code == 0


def test_outputs_that_are_no_tensors_are_refused(hostile_home, tmp_path):
    model = onnx.load(hostile_home.good / "model.onnx")
    del model.metadata_props[:]
    (output,) = [each for each in model.graph.output if each.name == "r1o"]
    output.CopyFrom(onnx.helper.make_tensor_sequence_value_info("r1o", onnx.TensorProto.FLOAT, None))
    path = tmp_path / "sequence.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="inputs or outputs of an unknown kind"):
        load_runtime("onnx").inspect(path)


@pytest.mark.parametrize("command", MUTATED["model"][:2])
def test_a_pipe_is_not_waited_for(command, run, tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    for path in (tmp_path / "pipe.onnx", "/dev/zero"):
        result = run(command, path)
        assert result.code == 2
        assert "no regular file" in result.error


@pytest.mark.soak
@pytest.mark.long
@pytest.mark.timeout(3600)
class TestGoodFiles:
    """Good files pass: else the commands could refuse everything."""

    def test_all_are_accepted_by_every_command(self, good):
        assert wrong(good) == []
        assert {each["command"] for each in good} >= {*EVERY["onnx"], *EVERY["tfjs"], *EVERY["weights"]}
        refused = [told(each) for each in good if each["code"] != 0 and each["file"] != NEEDS_TRUST]
        assert refused == []

    def test_outputs_are_written(self, good):
        writing = ("recover", "matte", "compare", "demo", "export --checkpoint", "matte a clip", "matte over")
        assert all(each["written"] for each in good if each["command"] in writing and each["code"] == 0)


@pytest.mark.soak
@pytest.mark.long
@pytest.mark.timeout(7200)
class TestMany:
    def test_each_ends_in_an_exit_code_and_one_line(self, many):
        assert wrong(many) == []
        assert {each["number"] for each in many} == {*range(MANY)}

    def test_what_info_refuses_the_others_refuse(self, many):
        """Check that `verify` and `matte` refuse the ONNX files that `info` refuses. They play, and refuse more."""
        codes = defaultdict(dict)
        for each in of_onnx(many):
            codes[each["number"]][each["command"]] = each["code"]
        assert all(code["verify"] == code["matte"] == 2 for code in codes.values() if code["info"] == 2)
        # If `info` refused everything, the later checks would not be tested.
        assert sum(code["info"] == 0 for code in codes.values()) >= 20
        assert {code["verify"] for code in codes.values() if code["info"] == 0} == {0, 1, 2}

    def test_what_has_no_bound_is_refused_by_name(self, many):
        words = {
            "add_loop": "has a Loop",
            "add_function": "functions of its own",
            "point_outside": "in other files",
            "point_outside_in_branch": "in other files",
            "point_outside_in_attribute": "in other files",
            "point_outside_in_sparse": "in other files",
        }
        found = [each for each in of_onnx(many) if each["kind"] in words]
        assert {each["kind"] for each in found} == {*words}
        for each in found:
            assert each["code"] == 2, told(each)
            assert words[each["kind"]] in each["err"] or "sparse tensors" in each["err"], told(each)

    def test_a_branch_is_no_fault(self, many):
        """Check that a branch alone is accepted, so that tensors in branches were refused for their own faults."""
        assert 0 in {each["code"] for each in of_onnx(many) if each["kind"] == "add_branch"}

    def test_recover_writes_a_checkpoint_or_refuses(self, many):
        outcomes = [each for each in many if each["command"] == "recover"]
        for each in outcomes:
            assert each["code"] in (0, 2), told(each)
            assert len(each["written"]) == (each["code"] == 0), told(each)
            if each["file"] == NEEDS_TRUST:
                assert each["code"] == 2, told(each)
        assert sum(each["code"] == 2 for each in outcomes) >= len(outcomes) // 2

    def test_every_spoiled_release_fails(self, many):
        assert {each["code"] for each in many if each["command"] == "release verify"} == {1}

    def test_most_are_refused_and_some_are_not(self, many):
        codes = Counter(each["code"] for each in many if each["command"] == "info")
        assert codes[2] > codes[0] > 0

    def test_all_ways_are_among_them(self, many):
        kinds = {each["kind"] for each in many}
        assert kinds >= {"flip_bits", "truncate", "splice", "swap", "change_value", "spoil_entry", "escape", "run_code"}
        assert kinds >= {way.__name__ for way in ONNX}
