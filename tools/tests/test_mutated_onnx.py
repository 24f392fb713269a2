"""Three hundred spoiled ONNX files through `info` and `verify`: one line, an exit code, and no access to other files.

They run in their own process, since a library may crash or hang where no `except` helps. The process is restarted after
each file that crashed it.
"""

import os
import sys
from collections import Counter, defaultdict
from pathlib import Path

import onnx
import pytest
from PIL import Image

from exporters import FORMATS, load_exporter, load_runtime
from exporters.artifact import ArtifactError
from exporters.spec import Fixed
from parity_tests.clips import builtin_clip
from rvm_model import load_checkpoint
from tools.tests.mutation_runner import COMMANDS, MEMORY, PATIENCE
from tools.tests.mutations import MUTATIONS, mutant
from tools.tests.play_mutants import play

COUNT = 300

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="memory limits and file watches are Linux's here"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory, seeded_artifacts) -> Path:
    """Write two good files, one for any size and one for one, and a small clip."""
    home = tmp_path_factory.mktemp("mutated")
    (home / "any.onnx").write_bytes(seeded_artifacts["onnx"].read_bytes())
    fixed = FORMATS["onnx"].spec(
        variant="mobilenetv3",
        refiner="deep_guided_filter",
        precision="fp32",
        opset=18,
        fixed=Fixed(width=96, height=64, ratio=0.5),
    )
    load_exporter("onnx").export(load_checkpoint("seeded"), fixed, home / "fixed.onnx")
    (home / "clip").mkdir()
    for k, (pixels,) in enumerate(builtin_clip(16, 64, 48).pixels):
        Image.fromarray(pixels).save(home / "clip" / f"{k}.png")
    return home


@pytest.fixture(scope="module")
def outcomes(home) -> list[dict]:
    """Return the outcome of each command on each file; for a crash, the process's last output."""
    return play("tools.tests.mutation_runner", home, 0, COUNT)


def told(outcome: dict) -> str:
    return f"{outcome['number']} {outcome['kind']} {outcome['command']}"


def test_none_crashes_or_hangs(outcomes):
    """Check with limits of memory and time that no good command reaches."""
    killed = [f"{told(outcome)}: {outcome['killed']}" for outcome in outcomes if "killed" in outcome]
    assert not killed, f"with {MEMORY >> 30} GB and {PATIENCE} s"
    assert [(outcome["number"], outcome["command"]) for outcome in outcomes] == [
        (number, command) for number in range(COUNT) for command in COMMANDS
    ]


def test_each_ends_in_an_exit_code_and_one_line(outcomes):
    for outcome in outcomes:
        code, err = outcome["code"], outcome["err"]
        assert code in ((0, 2) if outcome["command"] == "info" else (0, 1, 2)), (told(outcome), code, err)
        assert "Traceback" not in err, told(outcome)
        if code == 2:
            *stages, line = err.splitlines()
            assert all(stage.startswith(("rvm-export: reading ", "rvm-export: verifying ")) for stage in stages)
            assert line.startswith("rvm-export: error: "), told(outcome)
            assert "spoiled.onnx" in line, told(outcome)
            assert len(line) < 2_000, told(outcome)
        assert outcome["out"] == "", told(outcome)


def test_nothing_outside_is_read_or_written(outcomes):
    for outcome in outcomes:
        assert (outcome["opened"], outcome["touched"], outcome["left"]) == ([], [], False), told(outcome)


def test_what_is_refused_is_refused_by_both(outcomes):
    """Check that `verify` refuses whatever `info` refuses. It refuses more, since it plays the file."""
    codes = defaultdict(dict)
    for outcome in outcomes:
        codes[outcome["number"]][outcome["command"]] = outcome["code"]
    assert all(code["verify"] == 2 for code in codes.values() if code["info"] == 2)
    # If `info` refused everything, the later checks would not be tested.
    assert sum(code["info"] == 0 for code in codes.values()) >= 50
    assert {code["verify"] for code in codes.values() if code["info"] == 0} == {0, 1, 2}


def test_what_has_no_bound_is_refused_by_name(outcomes):
    words = {
        "add_loop": "has a Loop",
        "add_function": "functions of its own",
        "point_outside": "in other files",
        "point_outside_in_branch": "in other files",
        "point_outside_in_attribute": "in other files",
        "point_outside_in_sparse": "in other files",
    }
    for outcome in outcomes:
        if outcome["kind"] in words:
            assert outcome["code"] == 2, told(outcome)
            assert words[outcome["kind"]] in outcome["err"] or "sparse tensors" in outcome["err"], told(outcome)


def test_a_branch_is_no_fault(outcomes):
    """Check that a branch alone is accepted, so that tensors within branches were refused for their own faults."""
    assert 0 in {outcome["code"] for outcome in outcomes if outcome["kind"] == "add_branch"}


def test_the_files_are_the_same_every_time_and_mostly_without_a_checksum(home, tmp_path):
    base = (home / "any.onnx").read_bytes()
    kinds, bare = Counter(), 0
    for number in range(COUNT):
        bare += number // len(MUTATIONS) % 4 > 0
        kinds[MUTATIONS[number % len(MUTATIONS)].__name__] += 1
    assert bare >= COUNT * 2 // 3
    assert min(kinds.values()) >= COUNT // len(MUTATIONS)
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(len(MUTATIONS), 2 * len(MUTATIONS)):
        first = mutant(number, base, folder)
        assert first == mutant(number, base, folder)
        assert first[1] != base, first[0]
        assert b"graph_sha256" not in first[1], first[0]


def test_a_suffix_does_not_say_how_a_file_is_read(home, run, tmp_path):
    """Test suffixes that ONNX's own reader would parse as text."""
    for suffix in (".json", ".textproto", ".onnxtxt", ".txt"):
        path = tmp_path / f"file{suffix}"
        path.write_bytes((home / "any.onnx").read_bytes())
        assert run("info", path).code == 0


def test_outputs_that_are_no_tensors_are_refused(home, tmp_path):
    model = onnx.load(home / "any.onnx")
    del model.metadata_props[:]
    (output,) = [each for each in model.graph.output if each.name == "r1o"]
    output.CopyFrom(onnx.helper.make_tensor_sequence_value_info("r1o", onnx.TensorProto.FLOAT, None))
    path = tmp_path / "sequence.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="inputs or outputs of an unknown kind"):
        load_runtime("onnx").inspect(path)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_is_not_waited_for(command, run, tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    for path in (tmp_path / "pipe.onnx", "/dev/zero"):
        result = run(command, path)
        assert result.code == 2
        assert "no regular file" in result.error
