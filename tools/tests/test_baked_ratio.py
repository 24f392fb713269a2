"""Files that take any size at the one ratio that they have baked in, through every command that plays a file."""

import json
from pathlib import Path

import numpy as np
import pytest

from exporters import FORMATS, describe, load_exporter
from parity_tests.clips import builtin_clip
from parity_tests.verify import ParityError, fit_size
from rvm_model import load_checkpoint
from rvm_model.tests.clips import drawn, write_clip
from rvm_model.video.source import open_source
from tools.tests.release_made import built_of

RATIO = 0.5
OTHER = ("--downsample-ratio", "0.3")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Return an ncnn model of seeded weights. Tests must not change it."""
    spec = FORMATS["ncnn"].spec(
        variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", ratio=RATIO, zip=True
    )
    path = tmp_path_factory.mktemp("baked") / spec.file_name(".ncnn.zip", seeded=True)
    load_exporter("ncnn").export(load_checkpoint("seeded"), spec, path)
    return path


def alphas(path):
    with open_source(path) as source:
        return np.array([frame.pixels for frame in source]).astype(int)


def test_a_command_makes_one_file_for_each_ratio(run, tmp_path):
    options = ("--checkpoint", "seeded", "--no-verify", "--downsample-ratio", "0.5", "--downsample-ratio", "0.25")
    result = run("ncnn", *options, "--output", tmp_path)
    assert result.code == 0
    names = [f"rvm_mobilenetv3_s{ratio}_fp32_seeded.ncnn" for ratio in ("0.5", "0.25")]
    assert result.out.split() == [str(tmp_path / name) for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_verify_plays_it_at_its_ratio_whatever_the_size(model, run, tmp_path):
    for width, height in ((96, 64), (83, 71)):
        clip = write_clip(tmp_path / f"{width}.mkv", drawn(12, width, height))
        result = run("verify", model, "--clip", clip, "--frames", 12, "--json", "-")
        (report,) = json.loads(result.out)
        assert (result.code, report["ok"], report["downsample_ratio"]) == (0, True, RATIO), result.err
    refused = run("verify", model, *OTHER)
    assert (refused.code, "has ratio 0.5 baked in; it cannot run at 0.3" in refused.error) == (2, True)


def test_matte_takes_its_ratio_and_no_other(model, run, tmp_path):
    clip = write_clip(tmp_path / "clip.mkv", drawn(4, 97, 65))
    for name, each in (("given", [model]), ("expected", ["seeded", "--downsample-ratio", "0.5"])):
        result = run("matte", clip, "--model", *each, "--alpha", tmp_path / name)
        assert result.code == 0, result.err
    assert abs(alphas(tmp_path / "given") - alphas(tmp_path / "expected")).max() <= 1
    refused = run("matte", clip, "--model", model, "--alpha", tmp_path / "no", *OTHER)
    assert (refused.code, "has the ratio 0.5 baked in; leave --downsample-ratio out" in refused.error) == (2, True)


def test_compare_plays_both_sides_at_its_ratio(model, run, tmp_path):
    result = run("compare", model, "seeded", "--frames", 12, "--output", tmp_path / "a.png")
    assert result.code == 0, result.err
    assert "alpha differs by 0 at most" in result.err or "e-0" in result.err
    refused = run("compare", model, "seeded", "--output", tmp_path / "b.png", *OTHER)
    assert (refused.code, "has ratio 0.5 baked in" in refused.error) == (2, True)


def test_bench_races_it_at_its_ratio_alone(model, run):
    refused = run("bench", model, "--resolution", "96x64", "--downsample-ratio", "0.25", "--rounds", 1)
    assert refused.code == 2
    assert "has the ratio 0.5 baked in, and this bench is of 96x64 at ratio 0.25; give a --resolution" in refused.error


def test_info_says_the_ratio(model, run):
    told = json.loads(run("info", model, "--json").out)
    assert (told["ratio"], told["metadata"]["downsample_ratio"], told["metadata"]["resolution"]) == (
        "0.5",
        "0.5",
        "any",
    )
    assert [tensor["name"] for tensor in told["inputs"]] == ["src", "r1i", "r2i", "r3i", "r4i"]


def test_a_size_that_float32_rounds_otherwise_is_refused(tmp_path):
    """Its graph multiplies in float32, where 0.35 of 720 is 252; PyTorch has 251."""
    spec = FORMATS["ncnn"].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", ratio=0.35)
    load_exporter("ncnn").export(load_checkpoint("seeded"), spec, tmp_path / "model.ncnn")
    with pytest.raises(ParityError, match=r"at ratio 0\.35 is .* in PyTorch but .* whose ratio is float32; use ratio"):
        fit_size(describe(tmp_path / "model.ncnn"), builtin_clip(12, 720, 96), None)


def test_a_release_names_its_ratio(model, seeded_artifacts):
    built = built_of(model, "ncnn", seeded_artifacts["onnx"])
    assert (built.entry.spec["fixed"], built.entry.spec["ratio"]) == (None, RATIO)
