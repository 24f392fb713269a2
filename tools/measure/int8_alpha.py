"""Measure the error of int8 alpha on the real clip, at the timed sizes: part of `make speed`.

Writes `results/onnx_int8_alpha_cpu.csv`: for each size and weights, the mean absolute difference of alpha from
fp32 PyTorch's, and the dtSSD of both against the alpha that the clip was composed with. Files are calibrated on the
frames that the exporter draws. The clip is enlarged to each size. Exits with 1 if a mean exceeds 1e-3, or if dtSSD
exceeds fp32's by more than 5 %. For another clip, named by RVM_CLIP, the true alpha is unknown, and dtSSD and MAD stay
empty.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters import load_exporter, load_runtime
from exporters.onnx import OnnxSpec
from exporters.spec import Fixed
from parity_tests.cases import case_checkpoint, needed_shared_folder, real_clip
from parity_tests.clips import Clip, load_clip
from parity_tests.compare import AlphaMetrics, AlphaTally
from parity_tests.play import play_artifact, play_reference
from tools.measure.table import measure
from tools.shared.machine import machine, versions

TABLE = "onnx_int8_alpha_cpu.csv"
SIZES = (Fixed(width=1920, height=1080, ratio=0.25), Fixed(width=1280, height=720, ratio=0.375))
TRUE_ALPHA = "clip/alpha_true"
WEIGHTS = ("given",) if os.environ.get("RVM_WEIGHTS") else ("from_tfjs", "from_coreml", "consensus_fp16")
MOST_ERROR, MOST_DTSSD = 1e-3, 0.05
MACHINE = {"processor": machine("cpu")["processor"]} | versions()
COLUMNS = [
    *("weights", "resolution", "downsample_ratio", "file", "frames", "clip", "calibration"),
    *("alpha_mean_error", "fp32_dtssd", "int8_dtssd", "dtssd_change", "fp32_mad", "int8_mad", "ok"),
    *MACHINE,
]


def main() -> None:
    """Measure, write, judge."""
    cases = [(weights, size) for weights in WEIGHTS for size in SIZES]
    sys.exit(measure(TABLE, COLUMNS, cases, lambda case: lines(*case), judged=["ok"]))


def lines(weights: str, size: Fixed) -> Iterator[dict[str, str]]:
    """Measure two files, one for this size only and one for any. Yield a line for each."""
    checkpoint = case_checkpoint(weights, "mobilenetv3", "deep_guided_filter")
    clip = load_clip(real_clip()).fitted(size.width, size.height, 1)
    true = _true_alpha(clip)
    expected = [frame["pha"] for frame in play_reference(checkpoint.network(), clip, size.ratio)]
    fp32 = _metrics(true, expected) if true else None
    for fixed in (size, None):
        spec = OnnxSpec(variant="mobilenetv3", refiner="deep_guided_filter", precision="int8", fixed=fixed, banded=True)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            load_exporter("onnx").export(checkpoint, spec, path)
            artifact = load_runtime("onnx").inspect(path)
            given = [frame["pha"] for frame in play_artifact(artifact, clip, size.ratio)]
        error = _metrics(expected, given).mad
        quality, change = {}, 0.0
        if fp32 is not None:
            int8 = _metrics(true, given)
            change = int8.dtssd / fp32.dtssd - 1
            quality = {
                "fp32_dtssd": f"{fp32.dtssd:.3e}",
                "int8_dtssd": f"{int8.dtssd:.3e}",
                "dtssd_change": f"{change:+.2%}",
                "fp32_mad": f"{fp32.mad:.3e}",
                "int8_mad": f"{int8.mad:.3e}",
            }
        yield {
            "weights": weights,
            "resolution": f"{size.width}x{size.height}",
            "downsample_ratio": f"{size.ratio:g}",
            "file": spec.file_name(".onnx", seeded=False),
            "frames": str(len(clip)),
            "clip": "given" if os.environ.get("RVM_CLIP") else "real",
            "calibration": artifact.metadata["calibration"],
            "alpha_mean_error": f"{error:.2e}",
            **quality,
            "ok": "yes" if error <= MOST_ERROR and change <= MOST_DTSSD else "no",
            **MACHINE,
        }


def _true_alpha(clip: Clip) -> list[NDArray[np.float32]]:
    """Return the alpha that the clip was composed with, in the clip's size; empty for a clip that RVM_CLIP names."""
    if os.environ.get("RVM_CLIP"):
        return []
    height, width = clip.size
    files = sorted((needed_shared_folder() / TRUE_ALPHA).iterdir())[: len(clip)]
    pictures = [Image.open(file, formats=("PNG", "JPEG")).convert("L") for file in files]
    images = [picture.resize((width, height), Image.Resampling.BICUBIC) for picture in pictures]
    return [np.asarray(image, np.float32)[None, None] / np.float32(255) for image in images]


def _metrics(expected: Sequence[NDArray[np.floating]], given: Sequence[NDArray[np.floating]]) -> AlphaMetrics:
    tally = AlphaTally()
    for pair in zip(expected, given, strict=True):
        tally.add(*pair)
    return tally.metrics()


if __name__ == "__main__":
    main()
