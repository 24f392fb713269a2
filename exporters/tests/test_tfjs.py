"""Test recognising and inspecting TensorFlow.js models, and refusing bad ones."""

import json
import os
import shutil
import stat
import zipfile
from types import SimpleNamespace

import pytest

from exporters import recognise
from exporters.artifact import INPUTS, OUTPUTS, ArtifactError
from exporters.support.archive import unpacked
from exporters.tests.tfjs_files import RELEASED, SHARD, copied, zipped
from exporters.tfjs import load
from exporters.tfjs.artifact import inspect
from exporters.tfjs.recovery import dataflow
from rvm_model import zip_files


@pytest.fixture
def released(shared):
    return shared / RELEASED


@pytest.fixture(params=["folder", "zip", "zip with a top folder"])
def guise(request, released, tmp_path):
    if request.param == "folder":
        return released
    return zipped(released, tmp_path / "model.any", top="rvm" if "top" in request.param else "")


def test_the_released_model_in_every_guise(guise):
    assert recognise(guise) == "tfjs"
    artifact = inspect(guise)
    assert (artifact.path, artifact.format) == (guise, "tfjs")
    assert (artifact.variant, artifact.refiner, artifact.precision) == ("mobilenetv3", "fast_guided_filter", "int8")
    assert (artifact.refine, artifact.fixed, dict(artifact.metadata)) == ("auto", None, {})
    assert tuple(tensor.name for tensor in artifact.inputs) == INPUTS
    assert tuple(tensor.name for tensor in artifact.outputs) == OUTPUTS
    assert {tensor.dtype for tensor in (*artifact.inputs, *artifact.outputs)} == {"float32"}
    assert artifact.inputs[0].shape == ("any", "any", "any", 3)
    assert artifact.outputs[5].shape == ("any", "any", "any", 64)
    assert artifact.facts["control flow"] == "yes"


@pytest.mark.parametrize(
    ("stored", "expected"), [("uint8", "int8"), ("float16", "fp16"), ("uint16", "fp16"), (None, "fp32")]
)
def test_the_precision_is_that_of_the_kernels(stored, expected, released, tmp_path):
    """The precision is the coarsest one: some kernels may be kept finer."""

    def change(model):
        kernels = [entry for entry in model["weightsManifest"][0]["weights"] if len(entry["shape"]) == 4]
        for kernel in kernels[1:]:
            kernel["quantization"]["dtype"] = stored
            if stored is None:
                del kernel["quantization"]
        del kernels[0]["quantization"]

    path = copied(released, tmp_path / "model", change)
    model = json.loads((path / "model.json").read_text())
    sizes = [load._weight(path, entry).nbytes for entry in model["weightsManifest"][0]["weights"]]
    (path / SHARD).write_bytes(bytes(sum(sizes)))
    assert inspect(path).precision == expected


def test_metadata_and_clean_names_are_read(released, tmp_path):
    def change(model):
        model["userDefinedMetadata"] = {"variant": "mobilenetv3", "weights_sha256": "abc", "signature": {}}
        inputs = model["signature"]["inputs"]
        model["signature"]["inputs"] = {key.removesuffix(":0"): inputs[key] for key in sorted(inputs)}

    artifact = inspect(copied(released, tmp_path / "model", change))
    assert dict(artifact.metadata) == {"variant": "mobilenetv3", "weights_sha256": "abc"}
    assert tuple(tensor.name for tensor in artifact.inputs) == INPUTS


def drop_an_input(model):
    del model["signature"]["inputs"]["src"]


def swap_axes(model):
    entry = model["weightsManifest"][0]["weights"][0]
    entry["shape"] = entry["shape"][::-1]


def no_shape(model):
    model["weightsManifest"][0]["weights"][0]["shape"] = [3, -3, 3, 16]


def text_for_a_shape(model):
    model["weightsManifest"][0]["weights"][0]["shape"] = "3333"


def other_dtype(model):
    model["weightsManifest"][0]["weights"][0]["dtype"] = "int32"


def unknown_dtype(model):
    model["weightsManifest"][0]["weights"][0]["dtype"] = "complex64"


def unknown_quantization(model):
    model["weightsManifest"][0]["weights"][0]["quantization"]["dtype"] = "int4"


def unknown_weight(model):
    model["weightsManifest"][0]["weights"][0]["name"] = "other"


def coarser(model):
    del model["weightsManifest"][0]["weights"][0]["quantization"]


def other_shard(model):
    model["weightsManifest"][0]["paths"] = ["group1-shard2of2.bin"]


def shard_outside(model):
    model["weightsManifest"][0]["paths"] = [f"../model/{SHARD}"]


def shard_from_the_root(model):
    model["weightsManifest"][0]["paths"] = ["/etc/passwd"]


def layers_model(model):
    model["format"] = "layers-model"


def other_network(model):
    for node in model["modelTopology"]["node"]:
        if node["name"] == model["weightsManifest"][0]["weights"][0]["name"]:
            node["attr"]["value"]["tensor"]["tensorShape"]["dim"].reverse()
    swap_axes(model)


def weight_without_an_entry(model):
    model["weightsManifest"][0]["weights"].pop()


def whole_numbers(model):
    """Turn kernels into int32, in graph and manifest alike, with the same number of bytes."""
    entries = {entry["name"]: entry for entry in model["weightsManifest"][0]["weights"]}
    for node in model["modelTopology"]["node"]:
        if node["name"] in entries and len(entries[node["name"]]["shape"]) == 4:
            node["attr"]["value"]["tensor"]["dtype"] = "DT_INT32"
            node["attr"]["dtype"]["type"] = "DT_INT32"
            entries[node["name"]]["dtype"] = "int32"


SPOILED = {
    weight_without_an_entry: "no weights for '.*', a constant of its graph",
    whole_numbers: "not of a matting network",
    drop_an_input: "not of a matting network",
    swap_axes: r"of float32 \(16, 3, 3, 3\) in its manifest, but of DT_FLOAT \(3, 3, 3, 16\) in its graph",
    other_network: "not of a matting network",
    no_shape: r"the impossible shape \(3, -3, 3, 16\)",
    text_for_a_shape: "the impossible shape",
    other_dtype: r"of int32 .* in its manifest, but of DT_FLOAT",
    unknown_dtype: "unknown dtype 'complex64'",
    unknown_quantization: r"unknown dtype 'float32' \('int4'\)",
    unknown_weight: "'other' that its graph does not know",
    coarser: "truncated: group1-shard1of1.bin should have 3740651 bytes together, and has 3739355",
    other_shard: "lacks its weights in 'group1-shard2of2.bin': No such file",
    shard_outside: "names weights outside its folder",
    shard_from_the_root: "names weights outside its folder: '/etc/passwd'",
    layers_model: "of format 'layers-model'; give a TensorFlow.js graph-model",
    lambda model: model.pop("modelTopology"): "no graph model as converters write it: KeyError 'modelTopology'",
    lambda model: model.update(weightsManifest=5): "no graph model as converters write it: TypeError",
    lambda model: model["modelTopology"].update(node=["src"]): "no graph model as converters write it: TypeError",
}


def test_a_padding_that_takes_gigabytes_is_refused(released, tmp_path):
    path = copied(released, tmp_path / "model")
    weights, content = load.read(path, path).weights, bytearray((path / SHARD).read_bytes())
    padding = next(k for k, weight in enumerate(weights) if weight.name.endswith("paddings"))
    at = sum(weight.nbytes for weight in weights[:padding])
    content[at : at + 4] = (1 << 21).to_bytes(4, "little")
    (path / SHARD).write_bytes(content)
    with pytest.raises(ArtifactError, match="paddings' has the number 2097152; expected at most 64"):
        inspect(path)


@pytest.mark.parametrize(("change", "message"), SPOILED.items())
def test_a_spoiled_model_is_refused_in_a_line(change, message, released, tmp_path):
    path = copied(released, tmp_path / "model", change)
    assert recognise(path) == "tfjs"
    with pytest.raises(ArtifactError, match=message) as error:
        inspect(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def shard_elsewhere(path):
    (path / SHARD).rename(path.parent / "elsewhere")
    (path / SHARD).symlink_to(path.parent / "elsewhere")


def shard_of_a_device(path):
    (path / SHARD).unlink()
    (path / SHARD).symlink_to("/dev/zero")


def shard_that_is_a_pipe(path):
    (path / SHARD).unlink()
    os.mkfifo(path / SHARD)


def shard_that_is_a_folder(path):
    (path / SHARD).unlink()
    (path / SHARD).mkdir()


def stranger_of_200_gigabytes(path):
    with (path / "stranger").open("wb") as file:
        file.truncate(200_000_000_000)


FOLDERS = {
    shard_elsewhere: f"it points outside itself, to '{SHARD}'",
    shard_of_a_device: f"it points outside itself, to '{SHARD}'",
    shard_that_is_a_pipe: f"'{SHARD}' is no regular file",
    shard_that_is_a_folder: f"lacks its weights in '{SHARD}': Is a directory",
    stranger_of_200_gigabytes: "with 'stranger' it holds",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("attack", "message"), FOLDERS.items())
@pytest.mark.parametrize(
    "read", [inspect, lambda path: dataflow(SimpleNamespace(path=path))], ids=["inspect", "dataflow"]
)
def test_a_shard_that_is_no_file_of_the_folder_is_not_opened(read, attack, message, released, tmp_path):
    path = copied(released, tmp_path / "model")
    attack(path)
    with pytest.raises(ArtifactError, match=message):
        read(path)


@pytest.mark.parametrize("name", ["", ".", "..", "a/../b"])
def test_the_folder_itself_is_no_shard(name, released, tmp_path):
    path = copied(released, tmp_path / "model", lambda model: model["weightsManifest"][0].update(paths=[name]))
    with pytest.raises(ArtifactError, match="names weights outside its folder"):
        inspect(path)


def test_a_shard_that_is_named_again_and_again(released, tmp_path):
    path = copied(released, tmp_path / "model", lambda model: model["weightsManifest"][0].update(paths=[SHARD] * 1000))
    with pytest.raises(ArtifactError, match="names a file of weights twice"):
        inspect(path)


@pytest.mark.parametrize("length", [100, 3739354])
def test_a_truncated_shard(length, released, tmp_path):
    path = copied(released, tmp_path / "model")
    (path / SHARD).write_bytes((released / SHARD).read_bytes()[:length])
    with pytest.raises(ArtifactError, match=f"truncated: {SHARD} should have 3739355 bytes together, and has {length}"):
        inspect(path)


def test_a_shard_that_is_too_long(released, tmp_path):
    path = copied(released, tmp_path / "model")
    (path / SHARD).write_bytes((released / SHARD).read_bytes() + b"1")
    with pytest.raises(ArtifactError, match="not this model's"):
        inspect(path)


@pytest.mark.parametrize("text", ["", '{"format": "graph-model", ', "[" * 100_000, "\xff", "[]", "3"])
def test_a_model_json_that_is_none(text, tmp_path):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"has a model\.json") as error:
        inspect(tmp_path)
    assert "\n" not in str(error.value)


def test_a_model_json_of_any_length(monkeypatch, released):
    monkeypatch.setattr(load, "MOST_JSON", 1000)
    with pytest.raises(
        ArtifactError, match=r"'model\.json' cannot be read: it has 626575 bytes; at most 1000 are read"
    ):
        inspect(released)


@pytest.mark.parametrize("names", [[], ["readme.txt"], ["a/model.json", "b/model.json"], ["a/b/model.json"]])
def test_a_zip_file_of_something_else(names, tmp_path):
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as zip_file:
        for name in names:
            zip_file.writestr(name, "{}")
    with pytest.raises(ArtifactError, match="none of the formats known here"):
        recognise(path)
    with pytest.raises(ArtifactError, match=r"model\.zip holds no model\.json"):
        inspect(path)


@pytest.mark.parametrize("name", ["../model.bin", "a/../../b", "/etc/b", "..\\b", "C:/b", "a/.."])
def test_a_zip_file_that_would_write_elsewhere(name, tmp_path):
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as zip_file:
        zip_file.writestr("model.json", "{}")
        zip_file.writestr(name, "boo")
    with pytest.raises(ArtifactError, match=r"is refused: its entry .* lies outside the archive"):
        inspect(path)
    assert [*tmp_path.iterdir()] == [path]


def test_a_link_in_a_zip_file_is_none_when_unpacked(tmp_path):
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as zip_file:
        zip_file.writestr("model.json", "{}")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zip_file.writestr(link, "/etc/passwd")
    with unpacked(path, "model.json") as folder:
        assert not (folder / "link").is_symlink()
        assert (folder / "link").read_text() == "/etc/passwd"
    assert not folder.exists()


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zip_file:
        zip_file.writestr("model.json", " " * 10_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "extractall", None)
    with pytest.raises(ArtifactError, match=r"is refused: 1 entries of \d+ bytes would unpack to 10000000"):
        inspect(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_more_than_they_claim(method, tmp_path, monkeypatch):
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w", method) as zip_file:
        zip_file.writestr("model.json", "{}")
    monkeypatch.setattr(zipfile.ZipFile, "extractall", None)
    with pytest.raises(ArtifactError, match=f"'model.json' is packed by method {method}; pack it stored or deflated"):
        inspect(path)


def test_packed_sizes_that_are_made_up(tmp_path, monkeypatch):
    """A false packed size makes any ratio look small."""
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zip_file:
        zip_file.writestr("model.json", " " * 10_000_000)
    with zipfile.ZipFile(path) as zip_file:
        packed = zip_file.getinfo("model.json").compress_size
    content, directory = path.read_bytes(), path.read_bytes().rindex(b"PK\1\2")
    claim = content[directory:].replace(packed.to_bytes(4, "little"), (5_000_000).to_bytes(4, "little"), 1)
    path.write_bytes(content[:directory] + claim)
    monkeypatch.setattr(zipfile.ZipFile, "extractall", None)
    with pytest.raises(ArtifactError, match="is refused: 1 entries"):
        inspect(path)


@pytest.mark.parametrize(("name", "most"), [("MOST_BYTES", 4_000_000), ("MOST_ENTRIES", 1), ("MOST_RATIO", 1.5)])
def test_other_bounds_on_zip_files(name, most, released, tmp_path, monkeypatch):
    path = zipped(released, tmp_path / "model.zip")
    inspect(path)
    monkeypatch.setattr(zip_files, name, most)
    with pytest.raises(ArtifactError, match=r"is refused: 2 entries|it lists more than 1 entries"):
        inspect(path)


def test_a_damaged_zip_file(released, tmp_path):
    path = zipped(released, tmp_path / "model.zip", compression=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model\.zip is damaged: Bad CRC-32"):
        inspect(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match="none of the formats known here"):
        recognise(path)
    with pytest.raises(ArtifactError, match=r"model\.zip is damaged: "):
        inspect(path)


def test_nothing_is_left_of_what_was_unpacked(released, tmp_path, monkeypatch):
    path = zipped(released, tmp_path / "model.zip")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    inspect(path)
    with unpacked(path, "model.json") as folder:
        assert folder.is_relative_to(tmp_path / "temporary")
        assert {file.name for file in folder.iterdir()} == {"model.json", SHARD}
    assert [*(tmp_path / "temporary").iterdir()] == []


def test_a_disk_that_is_full(released, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    path = zipped(released, tmp_path / "model.zip")
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(ArtifactError, match=r"cannot unpack .*model\.zip: No space left on device"):
        inspect(path)
