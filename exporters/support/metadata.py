"""Build the metadata of an artifact. It holds no date, path or machine: the same inputs give the same text."""

from exporters.spec import ExportSpec
from exporters.support.licence import LICENCE, SOURCE
from rvm_model import __version__
from rvm_model.state import STATE_CHANNELS
from rvm_model.weights.checkpoint import Checkpoint

BY_THE_CALLER = "in (0, 1]: the caller reduces the source"
"""The downsample ratio of a file that takes the source at the internal size, for any size."""


def identity(checkpoint: Checkpoint, spec: ExportSpec, **more: str) -> dict[str, str]:
    """Return the metadata, its keys in alphabetical order.

    `more` holds entries that only the format knows: tool versions, opset, another layout.
    """

    def shape(k: int, channels: int) -> str:
        size = f"ceil(h / {2**k}), ceil(w / {2**k})"
        return f"{size}, {channels}" if more.get("layout") == "NHWC" else f"{channels}, {size}"

    channels = STATE_CHANNELS[spec.variant]
    batch = "" if more.get("layout") == "CHW" else "batch, "
    states = "; ".join(f"r{k} ({batch}{shape(k, each)})" for k, each in enumerate(channels, start=1))
    metadata = {
        "batch": "any",
        "checkpoint": checkpoint.origin,
        "checkpoint_sha256": checkpoint.sha256,
        "description": "Robust Video Matting, arXiv:2108.11515",
        "downsample_ratio": "input, in (0, 1]",
        "layout": "NCHW",
        "licence": LICENCE,
        "precision": spec.precision,
        "producer": f"rvm-export {__version__}",
        "refiner": spec.refiner,
        "resolution": "any",
        "source": SOURCE,
        "state_shapes": f"{states}; h, w = floor(size * downsample_ratio); zeros before the first frame",
        "value_range": "src, fgr, pha: RGB and opacity in [0, 1], fgr not premultiplied",
        "variant": spec.variant,
        "weights_sha256": checkpoint.weights_sha256,
        **more,
    }
    return dict(sorted(metadata.items()))


def release(version: str) -> str:
    """Return a tool's version without its build: 2.13.0+cpu and 2.13.0+cu130 give the same."""
    return version.partition("+")[0]
