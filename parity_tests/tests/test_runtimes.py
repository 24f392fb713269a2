"""ONNX files in the runtimes other than the default, by the same limits."""

import pytest

from exporters import load_exporter
from exporters.onnx import OnnxSpec
from exporters.onnx.artifact import inspect
from exporters.spec import Fixed
from exporters.support import tensor_pipe
from parity_tests.clips import builtin_clip
from parity_tests.judging.references import Played, References
from parity_tests.play import play_artifact
from parity_tests.verify import verify
from rvm_model import load_checkpoint

CLIP = builtin_clip(12, 96, 64)
FILES = {
    "dynamic-fp32": {"precision": "fp32"},
    "dynamic-fp16": {"precision": "fp16"},
    "dynamic-int8": {"precision": "int8"},
    "half-inside": {"precision": "fp16", "io_dtype": "fp32"},
    "fixed-fp32": {"precision": "fp32", "fixed": Fixed(width=97, height=61, ratio=0.375, batch=2)},
}


def export(folder, **options):
    spec = OnnxSpec(**{"variant": "mobilenetv3", "refiner": "deep_guided_filter", **options})
    load_exporter("onnx").export(load_checkpoint("seeded"), spec, folder / "model.onnx")
    return inspect(folder / "model.onnx")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(each, id=name, marks=[] if name == "dynamic-fp32" else [pytest.mark.long])
        for name, each in FILES.items()
    ],
)
def test_clip_matches_reference(options, other_runtime, tmp_path):
    artifact = export(tmp_path, **options)
    ratio = None if artifact.fixed else 0.5
    report = verify(artifact, load_checkpoint("seeded"), CLIP, ratio, runtime=other_runtime)
    assert report.runtime == other_runtime
    assert report.comparison.frames == 12
    assert report.ok, report.comparison.failures


def test_no_process_is_left_where_a_comparison_ends_early(other_runtime, tmp_path, monkeypatch):
    processes, popen = [], tensor_pipe.Popen
    monkeypatch.setattr(tensor_pipe, "Popen", lambda *a, **k: processes.append(popen(*a, **k)) or processes[-1])
    artifact, checkpoint = export(tmp_path, precision="fp32"), load_checkpoint("seeded")
    frames = play_artifact(artifact, CLIP, 0.5, runtime=other_runtime)
    other = [{**next(frames), "pha": next(frames)["fgr"]}] * 12
    monkeypatch.setattr(References, "play", lambda *_: Played(frames=iter(other)))
    report = verify(artifact, checkpoint, CLIP, 0.5, runtime=other_runtime)
    assert "has shape" in report.comparison.failures[0]
    consumed, verified = processes
    assert (consumed.returncode, verified.returncode is None) == (None, False)
    frames.close()
    assert consumed.returncode is not None
