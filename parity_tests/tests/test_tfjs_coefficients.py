"""TensorFlow.js models that end at the line: what they hold, and that they are proved and recovered like others."""

import zipfile

import pytest

from exporters import load_runtime
from exporters.recover import recover
from exporters.spec import SpecError
from exporters.tfjs import TfjsSpec
from parity_tests.clips import builtin_clip
from parity_tests.verify import verify
from rvm_model import load_checkpoint


@pytest.fixture(scope="module")
def path(exported, node):
    return exported("tfjs", outputs="coefficients")


def test_it_says_what_it_is_and_brings_the_shaders(path):
    assert path.name == "rvm_mobilenetv3_tfjs_coefficients_fp32_seeded.zip"
    artifact = load_runtime("tfjs").inspect(path)
    assert (artifact.gives_line, artifact.fixed, artifact.refine) == (True, None, "always")
    assert artifact.metadata["downsample_ratio"] == "in (0, 1]: the caller reduces the source"
    assert [each.name for each in artifact.inputs] == ["src", "r1i", "r2i", "r3i", "r4i"]
    assert [each.name for each in artifact.outputs] == ["A", "b", "r1o", "r2o", "r3o", "r4o"]
    with zipfile.ZipFile(path) as file:
        names = {name.rpartition("/")[2] for name in file.namelist()}
    assert {"model.json", "rvm.js", "full_size.js", "full_size_webgpu.js"} < names


def test_it_is_proved_with_the_full_size_steps_around_it(path):
    report = verify(load_runtime("tfjs").inspect(path), load_checkpoint("seeded"), builtin_clip(12, 97, 64), 0.375)
    assert report.ok, report.comparison.failures


def test_its_weights_are_recovered(path):
    assert recover([load_runtime("tfjs").inspect(path)]).weights[path] is not None


def test_other_outputs_are_refused():
    with pytest.raises(SpecError, match="outputs 'pha': give fgr,pha or coefficients; the states always stay"):
        TfjsSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="int8", outputs="pha")
