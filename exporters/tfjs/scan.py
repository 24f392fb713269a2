"""Describe what a TensorFlow.js model holds, without running it."""

from collections import Counter
from pathlib import Path

from exporters.support.archive import unpacked
from exporters.support.contents import Contents
from exporters.tensorflow.allowed_ops import OPERATIONS
from exporters.tfjs import MODEL
from exporters.tfjs.load import read

_FUSED = {"_FusedConv2D", "FusedDepthwiseConv2dNative"}
"""Operations that the converter makes of several of TensorFlow's."""


def scan(path: Path) -> Contents:
    """Return its operations. Custom is what a matting network does not need. Raises ArtifactError.

    Weights in other files than its own are refused.
    """
    with unpacked(path, MODEL) as folder:
        operations = Counter(read(folder, path).operations)
    return Contents(operations=operations, custom={*operations} - OPERATIONS - _FUSED)
