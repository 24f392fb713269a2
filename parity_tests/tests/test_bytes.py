"""Files with byte images are proved like any other."""

import onnx
import pytest

from exporters import load_runtime
from exporters.spec import Fixed
from exporters.tests.onnx_files import export
from parity_tests.clips import builtin_clip
from parity_tests.verify import BUILTIN_RATIO, verify
from rvm_model import load_checkpoint


@pytest.mark.parametrize(
    "options",
    [
        {"io": "uint8-nhwc-bgr", "precision": "fp16", "io_dtype": "fp32"},
        *(
            pytest.param(options, marks=pytest.mark.long)
            for options in (
                {"io": "uint8-nhwc"},
                {"io": "uint8-nhwc-bgr", "outputs": "fgr", "fixed": Fixed(width=97, height=61, ratio=0.5, batch=2)},
            )
        ),
    ],
    ids=str,
)
def test_it_is_proved_like_any_other_file(options, tmp_path):
    artifact = load_runtime("onnx").inspect(export(tmp_path, **options))
    assert artifact.image_bytes
    assert artifact.fixed == options.get("fixed")
    assert artifact.metadata["channel_order"] == ("BGR" if "bgr" in options["io"] else "RGB")
    ratio = None if artifact.fixed else BUILTIN_RATIO
    # In smaller frames, one pixel that rounds to the next level takes up much of the allowed mean.
    report = verify(artifact, load_checkpoint("seeded"), builtin_clip(12, 192, 128), ratio)
    assert report.ok, report.comparison.failures


def test_a_wrong_order_of_channels_is_noticed(tmp_path):
    model = onnx.load(export(tmp_path, io="uint8-nhwc-bgr"))
    for entry in model.metadata_props:
        entry.value = "RGB" if entry.key == "channel_order" else entry.value
    onnx.save(model, tmp_path / "lies.onnx")
    artifact = load_runtime("onnx").inspect(tmp_path / "lies.onnx")
    assert not verify(artifact, load_checkpoint("seeded"), builtin_clip(12, 96, 64), BUILTIN_RATIO).ok
