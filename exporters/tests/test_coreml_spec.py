"""Test CoreML's options and names, and recognising its files. Nothing is converted."""

import sys

import pytest

from exporters import FORMATS, load_exporter, load_runtime, recognise
from exporters.coreml import CoremlSpec
from exporters.format import MissingPackage
from exporters.spec import Fixed, SpecError
from exporters.tests.coreml_files import OTHER, SIZE, spec_of

HD, FULL_HD = Fixed(width=1280, height=720, ratio=0.375), Fixed(width=1920, height=1080, ratio=0.25)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "rvm_mobilenetv3_1280x720_s0.375_fp16.mlpackage"),
        ({"precision": "int8", "fixed": FULL_HD}, "rvm_mobilenetv3_1920x1080_s0.25_int8.mlpackage"),
        ({"target": "ios16"}, "rvm_mobilenetv3_1280x720_s0.375_fp16.mlpackage"),
        ({"target": "ios18"}, "rvm_mobilenetv3_1280x720_s0.375_ios18_fp16.mlpackage"),
        ({"target": "ios14", "precision": "int8"}, "rvm_mobilenetv3_1280x720_s0.375_int8.mlmodel"),
        ({"stateful": True}, "rvm_mobilenetv3_1280x720_s0.375_fp16_stateful.mlpackage"),
        ({"stateful": True, "target": "ios18"}, "rvm_mobilenetv3_1280x720_s0.375_fp16_stateful.mlpackage"),
        ({"zip": True}, "rvm_mobilenetv3_1280x720_s0.375_fp16.mlpackage.zip"),
        ({"tensor_io": True}, "rvm_mobilenetv3_1280x720_s0.375_tensors_fp16.mlpackage"),
        ({"preprocess_fp32": True}, "rvm_mobilenetv3_1280x720_s0.375_pre32_fp16.mlpackage"),
        ({"refiner": "fast_guided_filter"}, "rvm_mobilenetv3_fgf_1280x720_s0.375_fp16.mlpackage"),
        ({"outputs": "coefficients"}, "rvm_mobilenetv3_1280x720_s0.375_coefficients_fp16.mlpackage"),
        (
            {"multifunction": True, "others": (FULL_HD,)},
            "rvm_mobilenetv3_1280x720_s0.375_1920x1080_s0.25_fp16.mlpackage",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-",
)
def test_names(options, name):
    spec = spec_of(**{"fixed": HD, **options})
    assert spec.file_name(spec.suffix(FORMATS["coreml"].suffix), seeded=False) == name
    assert spec.is_folder == name.endswith(".mlpackage")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fixed": None}, "is for one size; give --resolution"),
        ({"target": "ios15"}, "'ios15' is not one of ios14, ios16, ios18"),
        ({"stateful": True, "target": "ios16"}, "--stateful needs iOS 18; give --target ios18"),
        ({"multifunction": True, "target": "ios14"}, "--multifunction needs iOS 18"),
        ({"stateful": True, "precision": "fp32"}, "states in fp16 only; give --precision fp16 or int8"),
        ({"preprocess_fp32": True, "precision": "fp32"}, "of precision fp32 computes in fp32 throughout"),
        ({"preprocess_fp32": True, "target": "ios14"}, "for iOS 14 computes in fp32 throughout"),
        ({"zip": True, "target": "ios14"}, "one file, not a package; leave --zip out"),
        ({"fixed": Fixed(width=64, height=64, ratio=0.5, batch=2)}, "one frame at a time, not 2"),
        ({"outputs": "pha"}, "outputs 'pha': give fgr,pha or coefficients; the states always stay"),
        ({"outputs": "coefficients", "tensor_io": True}, "at one internal size; leave --tensor-io or --outputs out"),
        ({"outputs": "coefficients", "multifunction": True}, "internal size; leave --multifunction or --outputs out"),
    ],
)
def test_what_excludes_each_other_is_refused(options, message):
    with pytest.raises(SpecError, match=message) as caught:
        spec_of(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "near"),
    [
        (Fixed(width=1281, height=721, ratio=0.375), "give 1280x720 or 1288x728"),
        (Fixed(width=1280, height=719, ratio=0.375), "give 1280x712 or 1280x720"),
        (Fixed(width=1000, height=700, ratio=0.512), "give 1000x625 or 1000x750"),
        (Fixed(width=3, height=64, ratio=0.25), "give 4x64$"),
        (Fixed(width=100, height=100, ratio=0.3331), "give a rounder ratio, such as 0.375"),
    ],
    ids=str,
)
def test_a_size_that_leaves_parts_of_pixels_is_refused_with_the_nearest_that_do_not(size, near):
    for options in ({"fixed": size}, {"multifunction": True, "others": (size,)}):
        with pytest.raises(SpecError, match=rf"inside, and CoreML needs whole numbers; {near}"):
            spec_of(**options)


def test_several_sizes_are_one_file_if_asked_for():
    one, other = spec_of(multifunction=True), spec_of(multifunction=True, fixed=OTHER)
    (spec,) = CoremlSpec.together([one, other])
    assert spec.sizes == (SIZE, OTHER)
    assert CoremlSpec.together([spec_of(), spec_of(fixed=OTHER)]) == [spec_of(), spec_of(fixed=OTHER)]
    with pytest.raises(SpecError, match="more than one --resolution"):
        CoremlSpec.together([one])
    with pytest.raises(SpecError, match="one size is given twice"):
        CoremlSpec.together([one, one])


@pytest.mark.parametrize("load", [lambda: load_exporter("coreml"), lambda: load_runtime("coreml", "evaluator")])
def test_without_coremltools_a_line_says_what_to_install(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingPackage, match=r"needs coremltools; run: pip install 'rvm-export\[coreml\]'$"):
        load()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x08", b"\x08\x05", b"\xff" * 40, b"\x00\x00", b"\x08\x05\xa0\x1f\x01", b"\xa2\x1f\x00", b"hello"],
    ids=["empty", "no version", "version alone", "no end", "number 0", "no message", "no version before", "text"],
)
def test_what_is_no_model_is_not_recognised(content, tmp_path):
    (tmp_path / "x.mlmodel").write_bytes(content)
    assert not FORMATS["coreml"].recognise(tmp_path / "x.mlmodel")


def test_a_kind_of_model_tells_it_from_onnx(tmp_path):
    """Both formats begin with a version, and CoreML's is also a valid one in ONNX."""
    (tmp_path / "any").write_bytes(b"\x08\x05\xa2\x1f\x00")
    assert recognise(tmp_path / "any") == "coreml"
    (tmp_path / "any").write_bytes(b"\x08\x05\xa2\x1f\xff\xff\x7f and so on")
    assert recognise(tmp_path / "any") == "coreml", "cut off"
    (tmp_path / "any").write_bytes(b"\x08\x05\x3a\x00")
    assert recognise(tmp_path / "any") == "onnx"
