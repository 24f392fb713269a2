"""ONNX files that end at the line: their edges, their values, and what refuses them."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from exporters import load_exporter, load_runtime
from exporters.artifact import ArtifactError
from exporters.full_size import at_full_size
from exporters.onnx import OnnxSpec
from exporters.recover import recover
from exporters.spec import Fixed, SpecError
from rvm_model import load_checkpoint
from rvm_model.full_size import finished, reduced

FIXED = Fixed(width=90, height=61, ratio=0.375)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Return a function that makes a file of coefficients once."""
    folder = tmp_path_factory.mktemp("coefficients")

    def made(fixed=None, precision="fp32", refiner="deep_guided_filter"):
        spec = OnnxSpec(
            variant="mobilenetv3", refiner=refiner, precision=precision, fixed=fixed, outputs="coefficients"
        )
        path = folder / spec.file_name(".onnx", seeded=True)
        if not path.exists():
            load_exporter("onnx").export(load_checkpoint("seeded", refiner=refiner), spec, path)
        return path

    return made


@pytest.mark.parametrize("refiner", ["deep_guided_filter", "fast_guided_filter"])
@pytest.mark.parametrize("fixed", [None, FIXED], ids=["any size", "one size"])
def test_they_give_the_matte_with_the_full_size_steps_around_them(fixed, refiner, make):
    path = make(fixed, refiner=refiner)
    onnx.checker.check_model(path, full_check=True)
    session = ort.InferenceSession(path)
    assert [each.name for each in session.get_inputs()] == ["src", "r1i", "r2i", "r3i", "r4i"]
    assert [each.name for each in session.get_outputs()] == ["A", "b", "r1o", "r2o", "r3o", "r4o"]
    assert session.get_outputs()[0].shape == ([1, 4, 22, 33] if fixed else ["batch", 4, "height", "width"])
    states = [np.zeros(each.shape if fixed else (1, 1, 1, 1), np.float32) for each in session.get_inputs()[1:]]
    network = load_checkpoint("seeded", refiner=refiner).network("always")
    before, generator = [None] * 4, torch.Generator().manual_seed(2)
    for _ in range(3):
        src = torch.rand(1, 3, 61, 90, generator=generator)
        small = reduced(src, FIXED.ratio).numpy()
        A, b, *states = session.run(None, dict(zip(["src", "r1i", "r2i", "r3i", "r4i"], [small, *states], strict=True)))
        fgr, pha = finished(torch.from_numpy(A), torch.from_numpy(b), src)
        with torch.inference_mode():
            wanted_fgr, wanted_pha, *before = network(src, *before, FIXED.ratio)
        # The fast guided filter divides by nearly nothing in noise.
        most = 2e-5 if refiner == "deep_guided_filter" else 2e-4
        assert (fgr - wanted_fgr).abs().max() < most
        assert (pha - wanted_pha).abs().max() < most


@pytest.mark.parametrize(
    ("fixed", "precision"),
    [
        pytest.param(None, "fp32", id="any size-fp32"),
        pytest.param(FIXED, "int8", id="one size-int8"),
        *(
            pytest.param(fixed, precision, id=f"{size} size-{precision}", marks=pytest.mark.long)
            for fixed, size, precision in (
                *((None, "any", precision) for precision in ("fp16", "int8")),
                *((FIXED, "one", precision) for precision in ("fp32", "fp16")),
            )
        ),
    ],
)
def test_they_are_described_and_their_weights_recovered(fixed, precision, make):
    path = make(fixed, precision)
    artifact = load_runtime("onnx").inspect(path)
    assert artifact.metadata["downsample_ratio"] == ("0.375" if fixed else "in (0, 1]: the caller reduces the source")
    assert (artifact.gives_line, artifact.fixed, artifact.refine) == (True, fixed, "always")
    assert artifact.mattes == {"fgr", "pha"}
    weights = recover([artifact]).weights[path]
    assert weights is not None


def test_a_frame_that_reduces_to_another_size_is_refused(make):
    artifact = load_runtime("onnx").inspect(make(FIXED))
    with (
        load_runtime("onnx").load(artifact, "cpu", 0.5) as step,
        pytest.raises(ArtifactError, match="takes frames that reduce to 33x22, not 45x30; give another ratio"),
    ):
        at_full_size(artifact, 0.5, step)(np.zeros((1, 3, 61, 90), np.float32), None)


def test_a_size_that_does_not_reduce_to_its_input_is_damage(make, tmp_path):
    model = onnx.load(make(FIXED))
    for entry in model.metadata_props:
        if entry.key == "resolution":
            entry.value = "180x61"
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(ArtifactError, match="has shapes that do not go together: src"):
        load_runtime("onnx").inspect(tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"io": "uint8-nhwc"}, "has no full-size images; leave --io out"),
        ({"banded": True}, "has no full-size images; leave --banded out"),
    ],
)
def test_options_of_full_size_images_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        OnnxSpec(
            variant="mobilenetv3",
            refiner="deep_guided_filter",
            precision="fp32",
            outputs="coefficients",
            **options,
        )
