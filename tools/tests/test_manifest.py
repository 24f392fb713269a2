"""The manifest's schema: the published file is current, and invalid manifests are refused."""

import json
import os
from pathlib import Path

import jsonschema
import pytest

from tools.release.manifest import Manifest, ManifestError, read_manifest, schema, to_text

PUBLISHED = Path(__file__).parents[2] / "docs" / "manifest.schema.json"
SHA = "0" * 64
ENTRY = {
    "file": "rvm_mobilenetv3_fp32.onnx",
    "bytes": 5,
    "sha256": SHA,
    "format": "onnx",
    "spec": {"variant": "mobilenetv3", "fixed": None},
    "checkpoint_sha256": SHA,
    "weights_sha256": SHA,
    "licence": "GPL-3.0-or-later",
    "tools": {"torch": "2.13.0"},
    "inputs": [{"name": "src", "dtype": "float32", "shape": ["batch", 3, "height", "width"]}],
    "outputs": [{"name": "pha", "dtype": "float32", "shape": ["batch", 1, "height", "width"]}],
    "parity": [
        {
            "function": "",
            "runtime": "onnxruntime",
            "clip": "built-in clip",
            "frames": 24,
            "width": 320,
            "height": 180,
            "downsample_ratio": 0.5,
            "outputs": {
                "pha": {
                    **{"max_abs": 1e-6, "mean_abs": 0, "high_abs": 1e-6, "yardsticks": 1.0},
                    **{"limit_max_abs": 1e-5, "limit_mean_abs": 1e-6, "limit_high_abs": 1e-5},
                }
            },
            "alpha": {"mad": 0, "mse": 0, "dtssd": 1e-9},
            "truth": None,
        }
    ],
    "scan": {"members": 1, "pickles": [], "external": [], "custom": [], "operations": {"Conv": 3}},
}
GOOD = {
    "manifest": 2,
    "name": "Robust Video Matting",
    "version": "1.1.0",
    "licence": "GPL-3.0-or-later",
    "source": "https://example.org",
    "checkpoints": {"mobilenetv3": {"origin": "seeded", "sha256": SHA, "weights_sha256": SHA}},
    "artifacts": [ENTRY],
}


def write(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def with_entry(**changes):
    return {**GOOD, "artifacts": [{**ENTRY, **changes}]}


def test_the_published_schema_is_that_of_the_code():
    assert json.loads(PUBLISHED.read_text()) == schema()
    jsonschema.Draft202012Validator.check_schema(schema())


def test_what_is_written_is_read_and_holds_the_schema(tmp_path):
    manifest = read_manifest(write(tmp_path, GOOD))
    text = to_text(manifest)
    jsonschema.validate(json.loads(text), schema())
    assert Manifest.model_validate_json(text) == manifest


@pytest.mark.parametrize(
    "content",
    [
        {**GOOD, "manifest": 1},
        {**GOOD, "manifest": "2"},
        with_entry(scan={}),
        {**GOOD, "more": 1},
        {key: GOOD[key] for key in GOOD if key != "licence"},
        with_entry(file="../secret"),
        with_entry(file="/etc/passwd"),
        with_entry(file=".hidden"),
        with_entry(file="a/b"),
        with_entry(file="a\n"),
        with_entry(bytes=-1),
        with_entry(bytes="5"),
        with_entry(sha256=SHA[1:]),
        with_entry(parity=[{}]),
        {**GOOD, "artifacts": [ENTRY, ENTRY]},
        {**GOOD, "checkpoints": {"mobilenetv3": {"origin": "elsewhere", "sha256": SHA, "weights_sha256": SHA}}},
        json.dumps(GOOD).replace("1e-09", "NaN"),
        json.dumps(GOOD).replace("1e-09", "Infinity"),
        "[" * 100_000,
        "",
        "\0",
        "[]",
    ],
    ids=lambda content: repr(content)[:40],
)
def test_others_are_refused_in_one_line(content, tmp_path):
    path = write(tmp_path, content)
    with pytest.raises(ManifestError) as error:
        read_manifest(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_one_that_is_not_there_or_endless(tmp_path, monkeypatch):
    with pytest.raises(ManifestError, match="cannot read"):
        read_manifest(tmp_path / "none.json")
    monkeypatch.setattr("tools.release.manifest._MOST_BYTES", 100)
    with pytest.raises(ManifestError, match="at most 100 are read"):
        read_manifest(write(tmp_path, GOOD))


@pytest.mark.timeout(60)
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(ManifestError, match="it is no regular file; give the folder of a release"):
        read_manifest(tmp_path / "manifest.json")


def test_millions_of_wrong_entries_are_not_listed(tmp_path):
    """Pydantic takes a kilobyte and more for each."""
    path = write(tmp_path, '{"artifacts": [' + "0," * 600_000 + "0]}")
    with pytest.raises(ManifestError, match="at most 1000000 are read"):
        read_manifest(path)
