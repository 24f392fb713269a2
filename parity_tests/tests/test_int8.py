"""ONNX files whose decoder computes in eight bits: how they are judged, and what is recovered from them."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from exporters import describe, load_exporter, load_recovery, load_runtime
from exporters.onnx import OnnxSpec
from exporters.recover import recover
from exporters.recovery.match import match
from exporters.spec import Fixed
from exporters.support.calibration import calibrated_with, load_calibration
from exporters.tests.onnx_files import export
from parity_tests.clips import builtin_clip
from parity_tests.recovered import verify_recovered
from parity_tests.verify import verify
from rvm_model import load_checkpoint

SIZE, SMALL = Fixed(width=320, height=180, ratio=0.5), Fixed(width=160, height=96, ratio=0.5)
INT8 = {"variant": "mobilenetv3", "refiner": "deep_guided_filter", "precision": "int8"}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Export one network for one size in eight bits. Do not modify the file."""
    return export(tmp_path_factory.mktemp("int8"), precision="int8", fixed=SMALL)


@pytest.mark.long
def test_the_built_in_frames_are_none_that_are_judged():
    for fixed in (None, SIZE):
        calibration = load_calibration("builtin", fixed)
        height, width = calibration.pixels.shape[1:3]
        judged = builtin_clip(300 if fixed else 24, width, height).batched(2).pixels
        assert not calibrated_with(calibration.metadata(), (image for frame in judged for image in frame))
        assert calibrated_with(calibration.metadata(), calibration.pixels[-1:])
        # They differ by more than noise.
        apart = [np.abs(frame.astype(int) - calibration.pixels).mean() for frame in judged[:24, 0]]
        assert min(apart) > 10
    assert not calibrated_with({}, judged[0])


def test_what_stays_float32_is_judged_as_such(path, tmp_path):
    model = onnx.load(path)
    weight = next(each for each in model.graph.initializer if each.name == "decoder.decode4.gru.ih.0.h.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.1), weight.name))
    kept = [entry for entry in model.metadata_props if entry.key != "graph_sha256"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "changed.onnx")
    clip = builtin_clip(12, SMALL.width, SMALL.height)
    for each, ok in ((path, True), (tmp_path / "changed.onnx", False)):
        artifact = load_runtime("onnx").inspect(each)
        report = verify(artifact, load_checkpoint("seeded"), clip, None)
        assert report.ok == ok
        assert ok or [failure for failure in report.comparison.failures if "decoder.decode4.gru.ih.0" in failure]


def test_what_is_recovered_is_what_it_computes_with(path, tmp_path):
    tensors = {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    known = match(load_recovery("onnx").dataflow(describe(path))).kernels
    name = "decoder.decode3.conv.0"
    stored = tensors[f"{name}.weight.stored"].astype(np.float32)
    computed = stored * tensors[f"{name}.weight.scale"][:, None, None, None]
    assert np.array_equal(known[name].values, computed[:, :-1].astype(np.float64))
    parts = [f"decoder.decode2.gru.hh.0.{part}.weight" for part in ("x", "h")]
    joined = [tensors[f"{part}.stored"] * tensors[f"{part}.scale"][:, None, None, None] for part in parts]
    assert np.array_equal(known["decoder.decode2.gru.hh.0"].values, np.concatenate(joined, 1).astype(np.float64))
    recovered = recover([describe(path)])
    assert "8 bits, per channel" in " ".join(recovered.remarks)
    (report,) = verify_recovered(recovered)
    assert report.ok, report.comparison.failures
    # Between the two only activations are rounded; between the file and its source, weights are too.
    again = tmp_path / "again.onnx"
    load_exporter("onnx").export(recovered.checkpoint, OnnxSpec(**INT8, fixed=SMALL), again)
    for name, kernel in match(load_recovery("onnx").dataflow(describe(again))).kernels.items():
        assert np.abs(kernel.values - known[name].values).max() <= 1e-6 * np.abs(known[name].values).max(), name
