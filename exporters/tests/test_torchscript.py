"""Test the TorchScript file from the consumer's side."""

import io
import os
import zipfile
from pathlib import Path

import pytest
import torch

from exporters import load_runtime
from exporters.artifact import ArtifactError
from rvm_model import load_checkpoint
from rvm_model.state import REFINERS, VARIANTS


@pytest.fixture(scope="module")
def path(exported):
    return exported("torchscript")


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
def test_loaded_and_frozen_it_is_called_like_the_model(variant, refiner, exported):
    model = load_checkpoint("seeded", variant, refiner).network()
    loaded = torch.jit.load(exported("torchscript", variant=variant, refiner=refiner))
    frozen = torch.jit.freeze(loaded)
    src = torch.rand(1, 2, 3, 61, 97)
    for ratio in (1, 0.5):
        # Freezing folds batch norm, which rounds anew; the fast guided filter divides by small variances.
        limit = 1e-5 if refiner == "deep_guided_filter" or ratio == 1 else 5e-3
        expected = model(src, None, None, None, None, ratio)
        for module in (loaded, frozen):
            given = module(src, None, None, None, None, ratio)
            assert [output.shape for output in given] == [output.shape for output in expected]
            assert max((a - b).abs().max() for a, b in zip(expected, given, strict=True)) < limit


def test_half_precision_takes_and_gives_half(exported):
    loaded = torch.jit.load(exported("torchscript", precision="fp16"))
    outputs = loaded(torch.rand(1, 3, 32, 32).half(), None, None, None, None, 0.5)
    assert {output.dtype for output in outputs} == {torch.float16}


def test_metadata_is_in_the_extra_files(path):
    extra = {"variant": "", "weights_sha256": "", "licence": "", "torch_version": ""}
    torch.jit.load(path, _extra_files=extra)
    assert extra["variant"] == b"mobilenetv3"
    assert extra["weights_sha256"].decode() == load_checkpoint("seeded").weights_sha256
    assert b"+" not in extra["torch_version"]


def test_nothing_tells_where_it_was_built(path):
    project = str(Path(__file__).resolve().parents[2]).encode()
    with zipfile.ZipFile(path) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".debug_pkl")]
        for name in archive.namelist():
            content = archive.read(name)
            assert project not in content
            assert os.environ["HOME"].encode() + b"/" not in content
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_tensors_are_aligned(path):
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for entry in archive.infolist():
            file.seek(entry.header_offset + 26)
            name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
            assert (entry.header_offset + 30 + name + extra) % 64 == 0


def test_a_frozen_file_without_metadata_is_recognised(path, tmp_path):
    frozen = tmp_path / "frozen"
    torch.jit.save(torch.jit.freeze(torch.jit.load(path)), frozen)
    artifact = load_runtime("torchscript").inspect(frozen)
    assert (artifact.variant, artifact.refiner, artifact.precision) == ("mobilenetv3", "deep_guided_filter", "fp32")
    assert (artifact.metadata, artifact.facts["frozen"]) == ({}, "yes")


def test_another_networks_file_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Conv2d(3, 4, 1)), tmp_path / "other.torchscript")
    with pytest.raises(ArtifactError, match="not a matting network"):
        load_runtime("torchscript").inspect(tmp_path / "other.torchscript")


def test_a_module_without_forward_is_refused(tmp_path):
    class Silent(torch.nn.Module):
        @torch.jit.export
        def speak(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.jit.save(torch.jit.script(Silent()), tmp_path / "silent.torchscript")
    with pytest.raises(ArtifactError, match="not a matting network"):
        load_runtime("torchscript").inspect(tmp_path / "silent.torchscript")


def test_an_archive_that_torch_cannot_load_is_refused(path, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            if not name.endswith("matting_network.py"):
                target.writestr(name, source.read(name))
    (tmp_path / "hollow.torchscript").write_bytes(buffer.getvalue())
    with pytest.raises(ArtifactError, match="does not load"):
        load_runtime("torchscript").inspect(tmp_path / "hollow.torchscript")


def rewritten(path, changed, suffix, content):
    """Write the archive with another content of the records that end in this suffix."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, content if name.endswith(suffix) else source.read(name))
    return changed


def test_what_it_says_is_what_the_loaded_module_has(exported, tmp_path):
    """Describe a plain and a frozen file in both precisions, and compare with the module that torch loads."""
    for precision, dtype in (("fp32", torch.float32), ("fp16", torch.float16)):
        plain, frozen = exported("torchscript", precision=precision), tmp_path / "frozen"
        module = torch.jit.load(plain)
        torch.jit.save(torch.jit.freeze(module), frozen)
        assert {tensor.dtype for tensor in module.parameters()} == {dtype}
        for file, is_frozen in ((plain, "no"), (frozen, "yes")):
            artifact = load_runtime("torchscript").inspect(file)
            assert (artifact.precision, artifact.facts["frozen"]) == (precision, is_frozen)
            assert artifact.inputs[0].dtype == str(dtype).removeprefix("torch.")


DOUBLED = b"(I1\nt" + b"2\x86" * 60
"""A tuple of two tuples of two tuples, sixty deep: short to write, and no machine can hash or print it."""
CLASS = b"c__torch__.rvm_model.network.matting_network\nMattingNetwork\n)\x81"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
        b"\x80\x02" + DOUBLED + b"Q.",
        b"\x80\x02" + DOUBLED + b")\x81.",
        b"\x80\x02" + CLASS + b"ctorch._utils\n_rebuild_tensor_v2\n(" + DOUBLED + b"K\x00" + DOUBLED + b"tR.",
        b"\x80\x02Nr\xff\xff\xff\x7f" + CLASS + b".",
        b"\x80\x02h\x07.",
        b"\x80\x02tttt.",
        b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        bytes(5_000_000),
    ],
    ids=["empty", "cut", "call", "storage", "class", "dtype", "memo", "no memo", "no mark", "long", "large"],
)
@pytest.mark.timeout(60)
def test_a_hostile_pickle_is_only_read(content, path, tmp_path):
    for record in ("/data.pkl", "/constants.pkl"):
        changed = rewritten(path, tmp_path / "changed.torchscript", record, content)
        try:
            load_runtime("torchscript").inspect(changed)
        except ArtifactError as error:
            assert len(str(error)) < 500
            assert "\n" not in str(error)
        else:
            assert record == "/constants.pkl"


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_a_bomb_is_not_unpacked(method, tmp_path, monkeypatch):
    path = tmp_path / "bomb.torchscript"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in ("a/constants.pkl", "a/data.pkl", "a/code/a.py"):
            archive.writestr(name, "x")
        archive.writestr("a/data/0", bytes(60_000_000))
    monkeypatch.setattr(zipfile.ZipFile, "testzip", None)
    with pytest.raises(ArtifactError, match=r"is refused: .*(packed by method 14|would unpack to 6000\d+)"):
        load_runtime("torchscript").inspect(path)


def test_a_sparse_file_is_refused_by_its_size(tmp_path):
    path = tmp_path / "sparse.torchscript"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/code/a.py", "x")
    content = path.read_bytes()
    with path.open("wb") as file:
        file.seek(300_000_000_000)
        file.write(content)
    with pytest.raises(ArtifactError, match=r"cannot be read: it has 300000000\d+ bytes; at most 1000000000 are read"):
        load_runtime("torchscript").inspect(path)


def test_metadata_without_measure_is_not_unpacked(path, tmp_path):
    """A thousand entries of a few kilobytes could unpack to a gigabyte of text."""
    flooded = tmp_path / "flooded.torchscript"
    flooded.write_bytes(path.read_bytes())
    with zipfile.ZipFile(flooded, "a", zipfile.ZIP_DEFLATED) as archive:
        root = archive.namelist()[0].partition("/")[0]
        for number in range(3):
            archive.writestr(f"{root}/extra/{number}", bytes(2_000_000))
    with pytest.raises(ArtifactError, match=r"its metadata has 600\d+ bytes; at most 4000000 are read"):
        load_runtime("torchscript").inspect(flooded)
