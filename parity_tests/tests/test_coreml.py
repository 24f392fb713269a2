"""CoreML files against PyTorch: at the released sizes on trained weights in the evaluator, and on a Mac in CoreML.

Four frames, with figures of their own.
"""

import pytest

from exporters import load_exporter, load_runtime
from exporters.coreml import CoremlSpec
from exporters.spec import Fixed
from parity_tests.cases import REAL_CLIP, case_checkpoint
from parity_tests.clips import builtin_clip, load_clip
from parity_tests.compare import compare
from parity_tests.play import play_artifact, play_reference
from parity_tests.verify import verify

pytestmark = pytest.mark.timeout(1800)

HD, FULL_HD = Fixed(width=1280, height=720, ratio=0.375), Fixed(width=1920, height=1080, ratio=0.25)
FILES = {
    # options, weights, largest and mean error of alpha, largest and mean of the foreground
    "fp32": ({"precision": "fp32", "fixed": HD}, "from_tfjs", (2e-5, 1e-7), (2e-5, 1e-6)),
    "fp16": ({"precision": "fp16", "fixed": FULL_HD}, "from_tfjs", (3e-2, 5e-5), (4e-2, 2e-3)),
    "int8": ({"precision": "int8", "fixed": HD}, "consensus_fp16", (0.15, 3e-4), (0.2, 1.5e-2)),
    "network int8": (
        {"precision": "int8", "fixed": FULL_HD, "target": "ios14"},
        *("consensus_fp16", (0.15, 3e-4), (0.2, 1.5e-2)),
    ),
}


def export(folder, checkpoint, **options):
    spec = CoremlSpec(variant="mobilenetv3", refiner="deep_guided_filter", **options)
    path = folder / spec.file_name(spec.suffix(".mlpackage"), checkpoint.seeded)
    load_exporter("coreml").export(checkpoint, spec, path)
    return path


@pytest.mark.parametrize(
    ("options", "weights", "pha", "fgr"),
    [pytest.param(*each, id=name, marks=pytest.mark.long) for name, each in FILES.items()],
)
def test_at_the_released_sizes_it_is_as_close_as_expected(options, weights, pha, fgr, shared, tmp_path):
    checkpoint = case_checkpoint(weights, "mobilenetv3", "deep_guided_filter")
    artifact = load_runtime("coreml", "evaluator").inspect(export(tmp_path, checkpoint, **options))
    size = options["fixed"]
    clip = load_clip(shared / REAL_CLIP, 16).fitted(size.width, size.height, 1)
    clip = clip.first(4)
    reference = play_reference(checkpoint.network(), clip, size.ratio)
    outputs = compare(reference, play_artifact(artifact, clip, size.ratio, runtime="evaluator")).outputs
    for name, (most, mean) in (("pha", pha), ("fgr", fgr)):
        assert 0 < outputs[name].max_abs <= most, name
        assert 0 < outputs[name].mean_abs <= mean, name


APPLE_FILES = (
    {"precision": "fp32"},
    {"precision": "fp16"},
    {"precision": "int8"},
    {"precision": "fp16", "target": "ios14"},
    {"precision": "fp16", "stateful": True},
    {"precision": "fp16", "multifunction": True, "others": (Fixed(width=96, height=160, ratio=0.5),)},
)
# fp32 on the CPU alone: its limits were measured with float32 on a CPU, and Apple's GPUs and Neural Engine may compute
# in half precision, which those limits do not allow for.
APPLE = [
    pytest.param(options, runtime, id=f"{options}-{runtime}")
    for options in APPLE_FILES
    for runtime in ("coreml", "coreml-cpu", "coreml-gpu", "coreml-ne")
    if runtime == "coreml-cpu" or options["precision"] != "fp32"
]


@pytest.mark.parametrize(("options", "runtime"), APPLE)
def test_in_coreml_itself(options, runtime, macos, tmp_path):
    """Verify in CoreML itself, which runs on a Mac only."""
    checkpoint = case_checkpoint("seeded", "mobilenetv3", "deep_guided_filter")
    path = export(tmp_path, checkpoint, **{"fixed": Fixed(width=160, height=96, ratio=0.5), **options})
    artifact = load_runtime("coreml", runtime).inspect(path)
    for each in (artifact, *artifact.others):
        report = verify(each, checkpoint, builtin_clip(16, 160, 96), None, runtime=runtime)
        assert report.runtime == runtime
        assert report.ok, report.comparison.failures


@pytest.mark.long
def test_a_resize_by_aligned_corners_fails_on_the_matte(shared):
    """Verify the released file unchanged. Its weights are PyTorch's, but its resize samples at other places."""
    path = shared / "official/coreml/rvm_mobilenetv3_1280x720_s0.375_int8.mlmodel"
    artifact = load_runtime("coreml", "evaluator").inspect(path)
    checkpoint = case_checkpoint("from_coreml", "mobilenetv3", "deep_guided_filter")
    report = verify(artifact, checkpoint, load_clip(shared / REAL_CLIP, 16), None, runtime="evaluator")
    assert [failure for failure in report.comparison.failures if failure.startswith("pha is off")]
