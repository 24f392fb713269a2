"""Every play through every format: a new row in `plays.py` or a new format is a new test."""

from functools import lru_cache

import pytest

from exporters import FORMATS, load_exporter, load_runtime
from exporters.spec import Fixed
from parity_tests.clips import load_clip
from parity_tests.play import play_reference
from parity_tests.plays import (
    PLAYS,
    REAL_CLIP,
    TEST_BUDGETS,
    affordable,
    artifact_name,
    play_checkpoint,
    play_clip,
    play_spec,
)
from parity_tests.verify import reference_network, verify
from rvm_model.state import REFINERS

MATRIX = [
    pytest.param(
        play,
        refiner,
        name,
        precision,
        id=f"{play}-{refiner}-{name}-{precision}",
        marks=[]
        if affordable(play, name, precision, TEST_BUDGETS) and (play.variant, refiner) != ("resnet50", REFINERS[1])
        else pytest.mark.skip("too slow for a test, or two parts that are each tested; `make soak` plays it"),
    )
    for play in PLAYS
    if not play.long
    for refiner in REFINERS
    for name, description in FORMATS.items()
    if not description.one_size  # see test_coreml.py
    for precision in description.precisions
]


@lru_cache(maxsize=2)
def reference(play, refiner, refine):
    """PyTorch's side of a play, which all formats share. The matrix is in an order that needs two at a time."""
    network = play_checkpoint(play.weights, play.variant, refiner).network(refine)
    return [*play_reference(network, play_clip(play), play.ratio)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where artifacts are made once for all plays."""
    return tmp_path_factory.mktemp("artifacts")


@pytest.mark.parametrize(("play", "refiner", "name", "precision"), MATRIX)
def test_clip_matches_reference(play, refiner, name, precision, request, folder):
    if play.kind == "trained":
        request.getfixturevalue("shared")
    if name == "tfjs":
        request.getfixturevalue("node")
    checkpoint = play_checkpoint(play.weights, play.variant, refiner)
    path = folder / artifact_name(play, name, refiner, precision)
    if not path.exists():
        load_exporter(name).export(checkpoint, play_spec(play, name, refiner, precision), path)
    artifact = load_runtime(name).inspect(path)
    expected = reference(play, refiner, reference_network(artifact, checkpoint).refine)
    report = verify(artifact, checkpoint, play_clip(play), play.ratio, reference=expected)
    assert report.comparison.frames == play.frames
    assert report.ok, report.comparison.failures


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_onnx_on_the_real_clip_is_as_close_as_it_was(precision, shared, tmp_path):
    """Sharper than the tolerances, whose rows also cover odd sizes, 4K and the built-in clip."""
    play = next(play for play in PLAYS if (play.clip, play.ratio, play.batch) == ("real", 0.5, 1))
    checkpoint = play_checkpoint(play.weights, play.variant, "deep_guided_filter")
    spec = FORMATS["onnx"].spec(variant=play.variant, refiner="deep_guided_filter", precision=precision)
    load_exporter("onnx").export(checkpoint, spec, tmp_path / "artifact")
    artifact = load_runtime("onnx").inspect(tmp_path / "artifact")
    outputs = verify(artifact, checkpoint, play_clip(play), play.ratio).comparison.outputs
    if precision == "fp32":
        assert all(outputs[name].max_abs <= 1e-5 for name in ("fgr", "pha"))
        assert all(outputs[name].max_abs <= 6e-5 for name in ("r1", "r2", "r3", "r4"))
    else:
        assert outputs["pha"].mean_abs <= 1.2e-5


@pytest.mark.parametrize("refiner", REFINERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "fixed",
    [
        Fixed(width=640, height=360, ratio=0.5),
        Fixed(width=256, height=144, ratio=1.0),
        Fixed(width=331, height=217, ratio=0.375, batch=2),
        Fixed(width=639, height=481, ratio=0.4),
    ],
    ids=lambda fixed: f"{fixed.width}x{fixed.height}-{fixed.ratio:g}-batch{fixed.batch}",
)
def test_fixed_onnx_matches_reference(fixed, precision, refiner, shared, tmp_path):
    checkpoint = play_checkpoint("from_tfjs", "mobilenetv3", refiner)
    spec = FORMATS["onnx"].spec(variant="mobilenetv3", refiner=refiner, precision=precision, fixed=fixed)
    load_exporter("onnx").export(checkpoint, spec, tmp_path / "artifact")
    artifact = load_runtime("onnx").inspect(tmp_path / "artifact")
    report = verify(artifact, checkpoint, load_clip(shared / REAL_CLIP), ratio=None)
    assert report.size == (fixed.height, fixed.width)
    assert report.ok, report.comparison.failures
