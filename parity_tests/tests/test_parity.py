"""Every case in every format: a new row in `cases.py` or a new format is a new test."""

from dataclasses import replace

import pytest

from exporters import FORMATS, load_exporter, load_runtime, open_artifact
from exporters.spec import Fixed
from parity_tests.cases import (
    CASES,
    ODD_CASES,
    REAL_CLIP,
    affordable,
    artifact_name,
    case_checkpoint,
    case_clip,
    case_spec,
)
from parity_tests.clips import builtin_clip, load_clip
from parity_tests.judging.references import References
from parity_tests.verify import verify

CHEAP = ("onnx", "torchscript")
"""Formats that play every row in every precision. The others do so in their usual one, and all play the first row."""

SEEDED = next(case for case in CASES if case.weights == "seeded" and case.variant == "mobilenetv3")


def cases():
    """Yield a case, a format and a precision. All are long but the first row in ONNX in its usual precision."""
    for case in (*CASES, *ODD_CASES):
        for name, description in FORMATS.items():
            if description.one_size and (case in ODD_CASES or case.batch > 1):
                continue
            for precision in description.precisions:
                first, usual = case == CASES[0], precision == description.precisions[0]
                # ResNet50 costs most, and its precisions repeat those of MobileNetV3.
                other = name in CHEAP and case.variant == "mobilenetv3"
                if (first or usual or other) and affordable(case, name, precision):
                    short = name == "onnx" and first and usual
                    marks = [] if short else [pytest.mark.long]
                    yield pytest.param(case, name, precision, id=f"{case}-{name}-{precision}", marks=marks)


LATE = ("pt2", "tensorflow")
"""Formats whose proof is long here: TensorFlow.js's files were TensorFlow's, and torch.export's are PyTorch's own."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in LATE else []) for name in FORMATS]
)
def test_the_file_that_many_tests_share_matches_the_reference(name, request, exported):
    if name == "tfjs":
        request.getfixturevalue("node")
    fixed = Fixed(width=SEEDED.width, height=SEEDED.height, ratio=SEEDED.ratio)
    options = {"fixed": fixed} if FORMATS[name].one_size else {}
    options |= {"zip": True} if name in ("coreml", "ncnn", "openvino") else {}
    artifact = open_artifact(exported(name, **options), trust=True)
    checkpoint = case_checkpoint("seeded", SEEDED.variant, SEEDED.refiner)
    clip = builtin_clip(SEEDED.frames, fixed.width, fixed.height)
    report = verify(artifact, checkpoint, clip, None if artifact.fixed else fixed.ratio)
    assert report.comparison.frames == SEEDED.frames
    assert report.ok, report.comparison.failures


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return the folder of artifacts, made once for all plays."""
    return tmp_path_factory.mktemp("artifacts")


@pytest.mark.parametrize(("case", "name", "precision"), [*cases()])
def test_clip_matches_reference(case, name, precision, request, folder):
    if case.weights != "seeded":
        request.getfixturevalue("shared")
    if name == "tfjs":
        request.getfixturevalue("node")
    checkpoint = case_checkpoint(case.weights, case.variant, case.refiner)
    path = folder / artifact_name(case, name, precision)
    if not path.exists():
        load_exporter(name).export(checkpoint, case_spec(case, name, precision), path)
    artifact = open_artifact(path, trust=True)
    report = verify(artifact, checkpoint, case_clip(case), None if artifact.fixed else case.ratio)
    assert report.comparison.frames == case.frames
    assert report.ok, report.comparison.failures
    if case.refiner == "deep_guided_filter" and case.weights != "seeded" and name in ("onnx", "torchscript"):
        # Sharper than the limits: files of these formats lie near 1, whatever their size, ratio and precision.
        assert max(report.multiples.values()) < 2


def test_a_verdict_does_not_depend_on_how_much_is_remembered(exported):
    """Play a clip that is too large to keep again for the next file, and get the same figures."""
    case = replace(SEEDED, batch=1)
    checkpoint = case_checkpoint(case.weights, case.variant, case.refiner)
    artifact = load_runtime("onnx").inspect(exported("onnx"))
    clip = case_clip(case)
    reports = [
        verify(artifact, checkpoint, clip, case.ratio, references=References(most_bytes=most)) for most in (0, 1 << 30)
    ]
    again = verify(artifact, checkpoint, clip, case.ratio)
    assert reports[0] == reports[1] == again


@pytest.mark.parametrize("precision", [pytest.param("fp32", marks=pytest.mark.long), "fp16"])
@pytest.mark.parametrize(
    "fixed",
    [
        pytest.param(Fixed(width=256, height=144, ratio=1.0), marks=pytest.mark.long),
        Fixed(width=331, height=217, ratio=0.375, batch=2),
    ],
    ids=lambda fixed: f"{fixed.width}x{fixed.height}-{fixed.ratio:g}-batch{fixed.batch}",
)
def test_fixed_onnx_matches_reference(fixed, precision, shared, tmp_path):
    checkpoint = case_checkpoint("from_tfjs", "mobilenetv3", "deep_guided_filter")
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
    checkpoint = case_checkpoint("from_tfjs", "mobilenetv3", "deep_guided_filter")
    spec = FORMATS["onnx"].spec(variant="mobilenetv3", refiner="deep_guided_filter", precision="fp32", fixed=fixed)
    load_exporter("onnx").export(checkpoint, spec, tmp_path / "artifact")
    report = verify(
        load_runtime("onnx").inspect(tmp_path / "artifact"), checkpoint, load_clip(shared / REAL_CLIP, 12), None
    )
    assert report.ok, report.comparison.failures
    assert max(report.multiples.values()) < 2
