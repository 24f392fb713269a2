"""Scans of files: ours hold nothing that they should not, and what is put into them is found. Nothing of it runs."""

import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from exporters import FORMATS
from exporters.coreml.package import DIGEST
from exporters.coreml.protobufs import protobuf_module
from exporters.support.contents import members_of
from tools.release.scan import scan_file

pytestmark = pytest.mark.timeout(600)


def with_member(path, name, content, folder):
    """Return a copy of a zip file with one more member, or another content of one."""
    copy = folder / path.name
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry.filename, old.read(entry))
        new.writestr(name, content)
    return copy


def member(path, suffix):
    """Return name and content of a zip file's member."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(suffix)]
        return name, archive.read(name)


@pytest.mark.parametrize("name", FORMATS)
def test_our_files_hold_nothing_else(name, seeded_artifacts):
    scan = scan_file(seeded_artifacts[name], name)
    assert (scan.external, scan.custom) == ((), ())
    assert sum(scan.operations.values()) > 100
    pickles = {Path(each).name for each in scan.pickles}
    assert pickles == ({"data.pkl", "constants.pkl"} if FORMATS[name].is_code else set())


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("extra/data", pickle.dumps({"a": 1}, protocol=2), True),
        ("extra/data", pickle.dumps({"a": 1}, protocol=5), True),
        ("extra/data", pickle.dumps({"a": 1}, protocol=4) + b"and more", True),
        ("extra/data.PKL", pickle.dumps({"a": 1}, protocol=0), True),
        ("extra/data", b"\x80\x02" + bytes(100), False),
        ("extra/data", b"\x80", False),
        ("extra/data", np.zeros(10, np.float32).tobytes(), False),
    ],
    ids=["protocol 2", "protocol 5", "and more", "by name", "no pickle", "one byte", "numbers"],
)
def test_a_pickle_in_an_archive_a_folder_or_by_itself_is_found(name, content, found, seeded_artifacts, tmp_path):
    top = member(seeded_artifacts["tensorflow"], "saved_model.pb")[0].partition("/")[0]
    archive = with_member(seeded_artifacts["tensorflow"], f"{top}/{name}", content, tmp_path)
    assert scan_file(archive, "tensorflow").pickles == ((f"{top}/{name}",) if found else ())
    single = tmp_path / Path(name).name
    single.write_bytes(content)
    assert members_of(single) == (1, [single.name] if found else [])
    single.rename(tmp_path / "folder.bin")
    (tmp_path / "folder").mkdir()
    shutil.move(tmp_path / "folder.bin", tmp_path / "folder" / single.name)
    (tmp_path / "folder" / "link.pkl").symlink_to("/dev/zero")
    assert members_of(tmp_path / "folder") == (1, [single.name] if found else [])


def test_an_operator_that_onnx_does_not_define_is_found(seeded_artifacts, tmp_path):
    model = onnx.load(seeded_artifacts["onnx"])
    del model.metadata_props[:]
    model.opset_import.append(onnx.helper.make_opsetid("evil", 1))
    model.graph.node.append(onnx.helper.make_node("Run", ["src"], ["ran"], domain="evil"))
    onnx.save(model, tmp_path / "model.onnx")
    assert scan_file(tmp_path / "model.onnx", "onnx").custom == ("evil::Run",)


def test_an_operation_from_outside_of_pytorch_is_found_and_does_not_run(tmp_path):
    ran = []
    library = torch.library.Library("rvm_evil", "DEF")
    library.define("run(Tensor x) -> Tensor")
    library.impl("run", lambda x: ran.append(x) or x, "CompositeExplicitAutograd")

    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.rvm_evil.run(torch.relu(x))

    torch.jit.save(torch.jit.script(Module()), tmp_path / "model.torchscript")
    scan = scan_file(tmp_path / "model.torchscript", "torchscript")
    assert scan.custom == ("ops.rvm_evil.run",)
    assert scan.operations["torch.relu"] == 1
    assert ran == []


def test_an_operation_that_no_network_needs_is_found_in_tensorflow_js(seeded_artifacts, tmp_path):
    name, content = member(seeded_artifacts["tfjs"], "model.json")
    model = json.loads(content)
    next(node for node in model["modelTopology"]["node"] if node["op"] == "Relu")["op"] = "Evil"
    copy = with_member(seeded_artifacts["tfjs"], name, json.dumps(model), tmp_path)
    assert scan_file(copy, "tfjs").custom == ("Evil",)


def test_foreign_operations_and_files_are_found_in_a_program_of_coreml(seeded_artifacts, tmp_path):
    name, content = member(seeded_artifacts["coreml"], ".mlmodel")
    model = protobuf_module("Model").Model.FromString(content)
    del model.description.metadata.userDefined[DIGEST]
    (function,) = model.mlProgram.functions.values()
    operations = function.block_specializations[function.opset].operations
    next(each for each in operations if each.type == "relu").type = "evil"
    value = next(each.attributes["val"] for each in operations if each.attributes["val"].HasField("blobFileValue"))
    value.blobFileValue.fileName = "/etc/passwd"
    scan = scan_file(with_member(seeded_artifacts["coreml"], name, model.SerializeToString(), tmp_path), "coreml")
    assert scan.custom == ("evil",)
    assert scan.external == ("/etc/passwd",)


def test_a_zip_file_that_is_no_archive_of_ours_has_members_too(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.pkl", b"")
        archive.writestr("b", b"")
    (tmp_path / "x").write_bytes(content.getvalue())
    assert members_of(tmp_path / "x") == (2, ["a.pkl"])
