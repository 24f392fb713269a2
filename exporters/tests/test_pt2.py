"""Test the .pt2 file from the consumer's side, and that no other one is loaded."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from exporters import FORMATS, describe, load_exporter, load_recovery, load_runtime, load_scan, recognise
from exporters.artifact import ArtifactError
from exporters.format import MissingPackage
from exporters.pt2.archive import digests
from exporters.spec import Fixed, SpecError
from exporters.support.archive import torch_archive
from rvm_model import load_checkpoint
from rvm_model.state import state_shapes

pytestmark = pytest.mark.timeout(300)

SIZE = Fixed(width=160, height=96, ratio=0.5)
PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"


@pytest.fixture(scope="module")
def path(exported):
    return exported("pt2", fixed=SIZE)


@lru_cache(maxsize=1)
def loaded(path):
    """Return the program as torch loads it, and the metadata that it finds. Loading takes seconds."""
    extra = {"variant": ""}
    return torch.export.load(path, extra_files=extra), extra


def read(path):
    """Return the records of a file, without the top folder."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def changed(path, folder, records, *, bare=True):
    """Write a copy with other records, None for none. A bare copy has no metadata, so no hash tells."""
    kept = {name: content for name, content in read(path).items() if not (bare and name.startswith("extra/"))}
    kept = {name: content for name, content in {**kept, **records}.items() if content is not None}
    copy = folder / "changed.pt2"
    copy.write_bytes(torch_archive({f"rvm/{name}": content for name, content in kept.items()}))
    return copy


def with_json(path, folder, change, name=PROGRAM):
    """Write a copy whose program, or other record of JSON, is changed in place."""
    value = json.loads(read(path)[name])
    change(value)
    return changed(path, folder, {name: json.dumps(value).encode()})


@pytest.mark.parametrize(
    ("variant", "refiner", "size"),
    [
        ("mobilenetv3", "deep_guided_filter", (160, 96, 0.5)),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in (
                ("mobilenetv3", "fast_guided_filter", (97, 65, 0.375)),
                ("mobilenetv3", "deep_guided_filter", (80, 61, 1.0)),
                ("resnet50", "deep_guided_filter", (64, 96, 0.7)),
            )
        ),
    ],
)
def test_loaded_by_torch_it_is_the_model_to_the_bit_at_any_batch(variant, refiner, size, exported):
    width, height, ratio = size
    fixed = Fixed(width=width, height=height, ratio=ratio)
    path = exported("pt2", variant=variant, refiner=refiner, fixed=fixed)
    artifact = describe(path)
    assert (artifact.variant, artifact.refiner) == (variant, refiner)
    assert artifact.fixed == fixed
    program = loaded(path)[0].module()
    model = load_checkpoint("seeded", variant, refiner).network()
    with torch.inference_mode():
        for batch in (1, 2, 3):
            states = [torch.zeros(shape) for shape in state_shapes(variant, height, width, ratio, batch)]
            expected = states
            for _ in range(3):
                src = torch.rand(batch, 3, height, width)
                given, wanted = program(src, *states), model(src, *expected, ratio)
                assert all(torch.equal(one, other) for one, other in zip(given, wanted, strict=True))
                states, expected = given[2:], wanted[2:]


@pytest.mark.long
def test_half_precision_takes_and_gives_half(exported):
    program = torch.export.load(exported("pt2", precision="fp16", fixed=SIZE)).module()
    states = [torch.zeros(shape).half() for shape in state_shapes("mobilenetv3", 96, 160, 0.5)]
    assert {output.dtype for output in program(torch.rand(1, 3, 96, 160).half(), *states)} == {torch.float16}


def test_it_has_the_networks_names_and_no_pickle(path):
    program, _ = loaded(path)
    expected = load_checkpoint("seeded").state_dict
    assert {name: tensor.shape for name, tensor in program.state_dict.items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }
    assert program.example_inputs is None
    assert not any(content.startswith(b"\x80\x02") or b"PK\x03\x04" in content[:4] for content in read(path).values())


def test_metadata_is_in_the_extra_files(path):
    _, extra = loaded(path)
    assert extra["variant"] == "mobilenetv3"
    assert (extra["resolution"], extra["downsample_ratio"], extra["batch"]) == ("160x96", "0.5", "any")
    assert extra["weights_sha256"] == load_checkpoint("seeded").weights_sha256
    assert {key: extra[key] for key in ("graph_sha256", "tensors_sha256")} == digests(read(path))
    assert "+" not in extra["torch_version"]


def test_nothing_tells_where_it_was_built(path):
    project = str(Path(__file__).resolve().parents[2]).encode()
    for content in read(path).values():
        assert project not in content
        assert b"stack_trace" not in content
        assert os.environ["HOME"].encode() + b"/" not in content
    with zipfile.ZipFile(path) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_its_size_is_needed_and_its_batch_is_not():
    options = {"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "fp32"}
    with pytest.raises(SpecError, match="give --resolution"):
        FORMATS["pt2"].spec(**options)
    with pytest.raises(SpecError, match="takes any batch, also 2"):
        FORMATS["pt2"].spec(**options, fixed=Fixed(width=96, height=64, ratio=0.5, batch=2))


def test_it_is_described_by_its_content(path, tmp_path):
    artifact = describe(path)
    assert (artifact.variant, artifact.refiner, artifact.precision) == ("mobilenetv3", "deep_guided_filter", "fp32")
    assert artifact.fixed == SIZE
    assert artifact.inputs[1].shape == ("batch", 16, 24, 40)
    bare = describe(changed(path, tmp_path, {}))
    assert (bare.fixed, bare.metadata) == (artifact.fixed, {})


def test_written_again_by_torch_it_is_still_known(path, tmp_path):
    torch.export.save(loaded(path)[0], tmp_path / "again.pt2")
    again = describe(tmp_path / "again.pt2")
    assert (again.fixed, again.metadata) == (describe(path).fixed, {})


def test_its_weights_are_read_without_torch_loading_it(path):
    named = load_recovery("pt2").dataflow(describe(path)).named
    expected = load_checkpoint("seeded").state_dict
    assert all(np.array_equal(named[key], tensor.numpy()) for key, tensor in expected.items())


def test_a_changed_file_does_not_match_its_hashes(path, tmp_path):
    records = read(path)
    first = "data/weights/weight_0"
    flipped = bytes([records[first][0] ^ 1]) + records[first][1:]
    with pytest.raises(ArtifactError, match="was changed after its export: its tensors"):
        describe(changed(path, tmp_path, {first: flipped}, bare=False))
    with pytest.raises(ArtifactError, match="was changed after its export: its graph"):
        describe(changed(path, tmp_path, {PROGRAM: records[PROGRAM] + b"\n"}, bare=False))
    with pytest.raises(ArtifactError, match="was changed after its export: its graph"):
        describe(changed(path, tmp_path, {"extra/graph_sha256": None}, bare=False))
    assert describe(changed(path, tmp_path, {first: flipped})).metadata == {}


def test_a_torch_of_before_is_named(path, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.6.0+cu124")
    artifact = describe(path)
    with (
        pytest.raises(
            MissingPackage, match=r"need torch 2.9 or later, and 2.6.0\+cu124 is installed; run: pip install"
        ),
        load_runtime("pt2").load(artifact, "cpu", 0.5),
    ):
        pass
    with pytest.raises(MissingPackage, match=r"need torch 2.9 or later"):
        load_exporter("pt2").export(
            load_checkpoint("seeded"),
            FORMATS["pt2"].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", fixed=SIZE),
            tmp_path / "never.pt2",
        )


@pytest.mark.parametrize(
    "name", ["serialized_exported_program.json", "archive/data/weights/model.pt", "archive/data/constants/model.pt"]
)
def test_layouts_of_before_are_named(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("archive/archive_format", "pt2")
        archive.writestr(name, b"{}")
    assert recognise(tmp_path / "old.pt2") == "pt2"
    with pytest.raises(ArtifactError, match=r"of torch 2.8 or earlier, whose weights are pickles; export it again"):
        describe(tmp_path / "old.pt2")


def test_another_networks_file_is_refused(tmp_path):
    program = torch.export.export(torch.nn.Conv2d(3, 4, 1), (torch.rand(1, 3, 4, 4),))
    program.example_inputs = None
    torch.export.save(program, tmp_path / "other.pt2")
    assert recognise(tmp_path / "other.pt2") == "pt2"
    with pytest.raises(ArtifactError, match="holds what no exported matting network does"):
        describe(tmp_path / "other.pt2")


@pytest.mark.parametrize("suffix", [".onnx", ".torchscript", ".mlpackage"])
def test_another_suffix_is_a_lie(path, suffix, tmp_path):
    (tmp_path / f"a{suffix}").write_bytes(path.read_bytes())
    with pytest.raises(ArtifactError, match=r"is torch.export by its content"):
        describe(tmp_path / f"a{suffix}")


class Touch:
    """An object whose pickle makes a file."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


def pickled(place):
    """Return a checkpoint of torch that makes a file when it is loaded."""
    buffer = io.BytesIO()
    torch.save(Touch(place), buffer)
    return buffer.getvalue()


def guard(program, place):
    program["guards_code"].append(f"open({str(place)!r}, 'w') is not None")


def expression(program, place):
    size = program["graph_module"]["graph"]["tensor_values"]["src"]["sizes"][0]
    size["as_expr"]["expr_str"] = f"open({str(place)!r}, 'w') and Symbol('s1')"


def keyword(program, place):
    program["graph_module"]["graph"]["nodes"][0]["inputs"][1] |= {
        "name": f"align_corners=open({str(place)!r}, 'w') is None, a",
        "kind": 2,
    }


CODE_IN_JSON = (guard, expression, keyword)


@pytest.mark.parametrize("change", CODE_IN_JSON, ids=lambda change: change.__name__)
def test_code_in_the_program_is_refused(change, path, tmp_path):
    copy = with_json(path, tmp_path, lambda program: change(program, tmp_path / "escaped"))
    with pytest.raises(ArtifactError, match=r"holds what no exported matting network does, at (guards|graph)"):
        describe(copy)
    with pytest.raises(ArtifactError), load_runtime("pt2").load(replace(describe(path), path=copy), "cpu", 0.5):
        pass
    assert not (tmp_path / "escaped").exists()


def test_a_padding_that_takes_gigabytes_is_refused(path, tmp_path):
    def widen(program):
        nodes = program["graph_module"]["graph"]["nodes"]
        inputs = next(node["inputs"] for node in nodes if node["target"].endswith("conv2d.default"))
        next(each for each in inputs if each["name"] == "padding")["arg"]["as_ints"][1] = 4_000_000

    with pytest.raises(ArtifactError, match=r"at graph_module.graph.nodes.\d+.inputs.4"):
        describe(with_json(path, tmp_path, widen))


@pytest.mark.long
@pytest.mark.parametrize("change", [guard, expression], ids=lambda change: change.__name__)
def test_torch_itself_runs_that_code(change, path, tmp_path):
    """Check that the attacks are real: else refusing them proves nothing."""
    shapes = [(1, 3, 96, 160), *state_shapes("mobilenetv3", 96, 160, 0.5)]
    examples = io.BytesIO()  # torch checks the guards of programs with example inputs
    torch.save((tuple(map(torch.zeros, shapes)), {}), examples)
    program = json.loads(read(path)[PROGRAM])
    change(program, tmp_path / "escaped")
    records = {PROGRAM: json.dumps(program).encode(), "data/sample_inputs/model.pt": examples.getvalue()}
    copy = changed(path, tmp_path, records)
    code = f"import torch; torch.export.load({str(copy)!r}).module()(*map(torch.zeros, {shapes}))"
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=200)
    assert (tmp_path / "escaped").exists()


def as_pickle(payload, path_name):
    payload |= {"use_pickle": True, "path_name": path_name}


@pytest.mark.parametrize(
    ("record", "content"),
    [
        ("data/sample_inputs/model.pt", pickled),
        ("data/constants/custom_obj_0", pickled),
        ("data/constants/opaque_obj_0", lambda place: pickle.dumps(Touch(place))),
        ("data/aotinductor/model/code.so", lambda _: b"\x7fELF"),
        ("data/constants/../tensor_0", lambda _: b"1"),
        ("models/other.json", lambda _: b"{}"),
    ],
)
def test_other_records_are_refused(record, content, path, tmp_path):
    copy = changed(path, tmp_path, {record: content(tmp_path / "escaped")})
    with pytest.raises(ArtifactError, match=r"is refused: (its record|it holds example inputs)"):
        describe(copy)
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(("name", "key"), [(WEIGHTS, "project_mat.conv.bias"), (WEIGHTS, "aspp.aspp1.0.weight")])
def test_pickled_tensors_are_refused(name, key, path, tmp_path):
    value = json.loads(read(path)[name])
    as_pickle(value["config"][key], "weight_1")
    copy = changed(
        path, tmp_path, {name: json.dumps(value).encode(), "data/weights/weight_1": pickled(tmp_path / "escaped")}
    )
    with pytest.raises(ArtifactError, match=f"holds what no exported matting network does, at config.{key}.use_pickle"):
        describe(copy)
    assert not (tmp_path / "escaped").exists()


def foreign_operator(program):
    program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.evil.run.default"


def function_of_torch(program):
    program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"


def name_of_torch(program):
    program["graph_module"]["graph"]["nodes"][0]["outputs"][0]["as_tensor"]["name"] = "torch"


def unknown_key(program):
    program["graph_module"]["graph"]["nodes"][0]["more"] = 1


def other_tree(program):
    signature = program["graph_module"]["module_call_graph"][0]["signature"]
    signature["in_spec"] = signature["in_spec"].replace("builtins.dict", "collections.defaultdict")


def flag_for_number(program):
    program["schema_version"]["major"] = True


def endless_number(program):
    program["schema_version"]["major"] = 10**30


@pytest.mark.parametrize(
    "change",
    [foreign_operator, function_of_torch, name_of_torch, unknown_key, other_tree, flag_for_number, endless_number],
    ids=lambda change: change.__name__,
)
def test_other_programs_are_refused(change, path, tmp_path):
    with pytest.raises(ArtifactError, match="holds what no exported matting network does"):
        describe(with_json(path, tmp_path, change))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "is no JSON"),
        (b'{"a": NaN}', "is no JSON"),
        (b'{"a": 1, "a": 2}', "a key is given twice"),
        (b"\xff\xfe", "is no JSON"),
        (b" " * 5_000_000, "has 5000000 bytes"),
    ],
)
def test_other_json_is_refused(content, message, path, tmp_path):
    with pytest.raises(ArtifactError, match=message):
        describe(changed(path, tmp_path, {PROGRAM: content}))


def too_large(meta):
    meta["sizes"][0]["as_int"] = 2**40


def negative(meta):
    meta["sizes"][0]["as_int"] *= -1


def beyond_its_numbers(meta):
    meta["storage_offset"]["as_int"] = 8


def strided(meta):
    meta["strides"][0]["as_int"] = 0


@pytest.mark.parametrize(
    "change", [too_large, negative, beyond_its_numbers, strided], ids=lambda change: change.__name__
)
def test_tensors_that_their_numbers_do_not_fill_are_refused(change, path, tmp_path):
    def wrong(config):
        change(config["config"]["project_mat.conv.weight"]["tensor_meta"])

    with pytest.raises(ArtifactError, match=r"the numbers of its project_mat.conv.weight do not fill its shape"):
        describe(with_json(path, tmp_path, wrong, WEIGHTS))


def test_an_entry_given_twice_is_refused(path, tmp_path):
    copy = changed(path, tmp_path, {})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(copy, "a") as archive:
        archive.writestr(f"rvm/{PROGRAM}", b"{}")
    with pytest.raises(ArtifactError, match=r"holds 'rvm/models/model.json' twice"):
        describe(copy)


def test_a_second_top_folder_is_refused(path, tmp_path):
    copy = changed(path, tmp_path, {})
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr("other/models/model.json", b"{}")
    with pytest.raises(ArtifactError, match=r"its record 'other/models/model.json'"):
        describe(copy)


def test_torch_gets_no_byte_that_was_not_checked(path, tmp_path):
    """Check that what follows the archive's end, or precedes its beginning, does not reach torch."""
    copy = tmp_path / "longer.pt2"
    copy.write_bytes(b"#!/bin/sh\n" * 100 + path.read_bytes())
    artifact = describe(copy)
    frame = np.zeros((1, 3, 96, 160), np.float32)
    with load_runtime("pt2").load(artifact, "cpu", 0.5) as step:
        matte, _ = step(frame, None)
    assert matte.pha.shape == (1, 1, 96, 160)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_archive_is_none(share, path, tmp_path):
    content = path.read_bytes()
    (tmp_path / "short.pt2").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArtifactError, match=r"none of the formats known here|is damaged"):
        describe(tmp_path / "short.pt2")


def test_a_missing_record_is_named(path, tmp_path):
    with pytest.raises(ArtifactError, match="it lacks byteorder"):
        describe(changed(path, tmp_path, {"byteorder": None}))


def test_a_program_that_contradicts_itself_does_not_load(path, tmp_path, capfd):
    def change(program):
        program["graph_module"]["graph"]["nodes"][5]["inputs"][0]["arg"]["as_tensor"]["name"] = "nobody"

    artifact = describe(with_json(path, tmp_path, change))
    with (
        pytest.raises(ArtifactError, match=r"does not load in torch 2\."),
        load_runtime("pt2").load(artifact, "cpu", 1),
    ):
        pass
    assert capfd.readouterr().err == ""


def test_a_program_of_wrong_sizes_does_not_run(path, tmp_path):
    def change(program):
        nodes = program["graph_module"]["graph"]["nodes"]
        (node, *_) = [node for node in nodes if node["target"].endswith("conv2d.default")]
        node["inputs"][3]["arg"]["as_ints"] = [5, 5]  # the strides

    artifact = describe(with_json(path, tmp_path, change))
    with (
        load_runtime("pt2").load(artifact, "cpu", 0.5) as step,
        pytest.raises(ArtifactError, match="does not run: "),
    ):
        step(np.zeros((1, 3, 96, 160), np.float32), None)


def test_a_scan_names_foreign_operators(path, tmp_path):
    assert load_scan("pt2")(path).custom == set()
    assert load_scan("pt2")(with_json(path, tmp_path, foreign_operator)).custom == {"torch.ops.evil.run.default"}
