"""Every case in every format: a new row in `cases.py` or a new format is a new test."""

import pytest

from exporters import FORMATS, load_exporter, load_runtime
from exporters.spec import Fixed
from parity_tests.cases import (
    CASES,
    ODD_CASES,
    REAL_CLIP,
    affordable,
    artifact_name,
    play_checkpoint,
    play_clip,
    play_spec,
)
from parity_tests.clips import load_clip
from parity_tests.judging.references import References
from parity_tests.verify import verify

CHEAP = ("onnx", "torchscript")
"""Formats that play every row in every precision. The others do so in their usual one, and all play the first row."""


def cases():
    """Yield a play, a format and a precision. Those with neither the first row nor the usual precision are long."""
    for play in (*CASES, *ODD_CASES):
        for name, description in FORMATS.items():
            if description.one_size and (play in ODD_CASES or play.batch > 1):
                continue
            for precision in description.precisions:
                usual = play == CASES[0] or precision == description.precisions[0]
                # ResNet50 costs most, and its precisions repeat those of MobileNetV3.
                other = name in CHEAP and play.variant == "mobilenetv3"
                if (usual or other) and affordable(play, name, precision):
                    marks = [] if usual else [pytest.mark.long]
                    yield pytest.param(play, name, precision, id=f"{play}-{name}-{precision}", marks=marks)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return the folder of artifacts, made once for all plays."""
    return tmp_path_factory.mktemp("artifacts")


@pytest.mark.parametrize(("play", "name", "precision"), [*cases()])
def test_clip_matches_reference(play, name, precision, request, folder):
    if play.weights != "seeded":
        request.getfixturevalue("shared")
    if name == "tfjs":
        request.getfixturevalue("node")
    checkpoint = play_checkpoint(play.weights, play.variant, play.refiner)
    path = folder / artifact_name(play, name, precision)
    if not path.exists():
        load_exporter(name).export(checkpoint, play_spec(play, name, precision), path)
    artifact = load_runtime(name).inspect(path)
    report = verify(artifact, checkpoint, play_clip(play), None if artifact.fixed else play.ratio)
    assert report.comparison.frames == play.frames
    assert report.ok, report.comparison.failures
    if play.refiner == "deep_guided_filter" and play.weights != "seeded" and name in ("onnx", "torchscript"):
        # Sharper than the limits: files of these formats lie near 1, whatever their size, ratio and precision.
        assert max(report.multiples.values()) < 2


def test_a_verdict_does_not_depend_on_how_much_is_remembered(shared, tmp_path):
    """Play a clip that is too large to keep again for the next file, and get the same figures."""
    play = CASES[0]
    checkpoint = play_checkpoint(play.weights, play.variant, play.refiner)
    load_exporter("onnx").export(checkpoint, play_spec(play, "onnx", "fp32"), tmp_path / "artifact")
    artifact = load_runtime("onnx").inspect(tmp_path / "artifact")
    clip = play_clip(play)
    reports = [
        verify(artifact, checkpoint, clip, play.ratio, references=References(most_bytes=most)) for most in (0, 1 << 30)
    ]
    again = verify(artifact, checkpoint, clip, play.ratio)
    assert reports[0] == reports[1] == again


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "fixed",
    [
        Fixed(width=256, height=144, ratio=1.0),
        Fixed(width=331, height=217, ratio=0.375, batch=2),
    ],
    ids=lambda fixed: f"{fixed.width}x{fixed.height}-{fixed.ratio:g}-batch{fixed.batch}",
)
def test_fixed_onnx_matches_reference(fixed, precision, shared, tmp_path):
    checkpoint = play_checkpoint("from_tfjs", "mobilenetv3", "deep_guided_filter")
    spec = FORMATS["onnx"].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision=precision, fixed=fixed)
    load_exporter("onnx").export(checkpoint, spec, tmp_path / "artifact")
    artifact = load_runtime("onnx").inspect(tmp_path / "artifact")
    report = verify(artifact, checkpoint, load_clip(shared / REAL_CLIP, 12), ratio=None)
    assert report.size == (fixed.height, fixed.width)
    assert report.ok, report.comparison.failures


@pytest.mark.long
def test_full_hd_at_the_automatic_ratio_passes(shared, tmp_path):
    """Verify at a ratio where every implementation samples at rounded places. A table of past errors rejected this."""
    fixed = Fixed(width=1920, height=1080, ratio=512 / 1920)
    checkpoint = play_checkpoint("from_tfjs", "mobilenetv3", "deep_guided_filter")
    spec = FORMATS["onnx"].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", fixed=fixed)
    load_exporter("onnx").export(checkpoint, spec, tmp_path / "artifact")
    report = verify(
        load_runtime("onnx").inspect(tmp_path / "artifact"), checkpoint, load_clip(shared / REAL_CLIP, 12), None
    )
    assert report.ok, report.comparison.failures
    assert max(report.multiples.values()) < 2
