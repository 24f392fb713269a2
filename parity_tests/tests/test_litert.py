"""Test that LiteRT files compute what PyTorch computes, in all ways to store weights and all outputs."""

from dataclasses import replace

import pytest

from exporters import describe
from exporters.litert import recovery
from exporters.recover import recover
from exporters.spec import COEFFICIENTS, Fixed
from exporters.support.calibration import BUILTIN, load_calibration
from parity_tests.cases import case_checkpoint
from parity_tests.clips import Clip, builtin_clip
from parity_tests.judging.yardstick import yardstick
from parity_tests.play import play_artifact
from parity_tests.recovered import verify_recovered
from parity_tests.shots import Held
from parity_tests.verify import ParityError, verify

WIDTH, HEIGHT, RATIO, FRAMES = 160, 96, 0.5, 12
KIND = ("mobilenetv3", "deep_guided_filter")
SIZE = Fixed(width=WIDTH, height=HEIGHT, ratio=RATIO)


def checked(path, refiner="deep_guided_filter", variant="mobilenetv3", fixed=SIZE):
    clip = builtin_clip(FRAMES, fixed.width, fixed.height)
    report = verify(describe(path), case_checkpoint("seeded", variant, refiner), clip, None)
    assert report.ok, report.comparison.failures
    return report


@pytest.mark.parametrize("way", ["fp32", "fp16", "int8", "int8 weights"])
def test_every_way_to_store_weights_is_judged_by_its_own(way, litert_files):
    report = checked(litert_files[way])
    assert len(report.comparison.outputs) == 6


def test_wrong_steps_are_found(litert_files, monkeypatch):
    """The yardstick takes the steps from the file: others than those that the file computes by do not pass."""
    artifact = describe(litert_files["int8"])
    steps = recovery.activation_steps(artifact)
    checkpoint = case_checkpoint("seeded", *KIND)
    stored = recover([artifact])
    good = yardstick(artifact, checkpoint, "auto", stored).key
    finer = {name: replace(each, given=replace(each.given, scale=each.given.scale / 8)) for name, each in steps.items()}
    monkeypatch.setattr(recovery, "activation_steps", lambda _: finer)
    assert yardstick(artifact, checkpoint, "auto", stored).key != good
    clip = builtin_clip(FRAMES, WIDTH, HEIGHT)
    assert not verify(artifact, checkpoint, clip, None).ok


@pytest.mark.long
def test_weights_taken_out_of_a_file_give_its_mattes(litert_files):
    for way, path in litert_files.items():
        for report in verify_recovered(recover([describe(path)])):
            assert report.ok, (way, report.comparison.failures)


@pytest.mark.long
def test_coefficients_at_a_size_that_is_no_whole_number_inside(exported):
    fixed = Fixed(width=161, height=97, ratio=RATIO)
    path = exported("litert", fixed=fixed, outputs=COEFFICIENTS)
    assert describe(path).inputs[0].shape == (1, 48, 80, 3)
    checked(path, fixed=fixed)


@pytest.mark.long
@pytest.mark.parametrize("outputs", ["fgr", "pha"])
def test_one_matte_alone(outputs, exported):
    path = exported("litert", fixed=SIZE, outputs=outputs)
    artifact = describe(path)
    assert artifact.mattes == {outputs}
    assert {*next(iter(play_artifact(artifact, builtin_clip(FRAMES, WIDTH, HEIGHT), RATIO)))} >= {outputs}
    checked(path)


@pytest.mark.long
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(
    ("variant", "refiner", "ratio"),
    [
        ("mobilenetv3", "fast_guided_filter", 0.5),
        ("mobilenetv3", "deep_guided_filter", 1.0),
        ("resnet50", "deep_guided_filter", 0.5),
    ],
)
def test_other_networks(variant, refiner, ratio, precision, exported):
    fixed = Fixed(width=WIDTH, height=HEIGHT, ratio=ratio)
    options = {"variant": variant, "refiner": refiner, "precision": precision}
    checked(exported("litert", fixed=fixed, **options), refiner, variant, fixed)


@pytest.mark.long
def test_calibrated_on_another_clip(exported, shared):
    """Held out: ranges of the real clip, judged on the drawn one."""
    path = exported("litert", fixed=SIZE, precision="int8", calibration=str(shared / "clip/frames"))
    checked(path)


def test_a_clip_that_it_was_calibrated_with_does_not_judge_it(litert_files):
    drawn = Clip(name="drawn", shots=Held(pixels=load_calibration(BUILTIN, SIZE).pixels[:, None]))
    with pytest.raises(ParityError, match="was calibrated with frames of drawn"):
        verify(describe(litert_files["int8"]), case_checkpoint("seeded", *KIND), drawn, None)
