"""Check the weights that a file of reduced precision holds: each must be the checkpoint's, rounded.

The yardstick of such a file has rounded weights too, so it would hide a layer whose scale is wrong.
"""

from collections.abc import Iterator

import numpy as np

from exporters.lowering.folding import Array, folded_convs
from exporters.recovery.dataflow import ROUNDED_NORMALISATION, Interval
from exporters.recovery.match import STEM, Weights
from rvm_model.weights.checkpoint import Checkpoint

_SLACK = 2.0**-9
"""Most that a weight may be off beyond half a step, as a share of its tensor's largest: scales, products and batch
norms are rounded too. Files of all formats were off by at most 1.1e-3 (CoreML in eight bits)."""

_STEM_SLACK = 2.0**-8
"""The share for the first convolution of a file that rounds the image's normalisation: recovered weights make up for
that. Files were off by at most 2.2e-3 (CoreML)."""

_LISTED = 3


def failures(weights: Weights, checkpoint: Checkpoint) -> Iterator[str]:
    """Yield one sentence if a file's weights are not the checkpoint's, rounded.

    Args:
        weights: From `recover`, with the interval of each number.
        checkpoint: The checkpoint that the file should have been made from.
    """
    convs = folded_convs(checkpoint.network().double())
    stem = STEM[checkpoint.variant]
    wrong = {}
    for name, kernel in weights.kernels.items():
        if name not in convs:
            continue
        slack = _STEM_SLACK if name == stem and ROUNDED_NORMALISATION in weights.quirks else _SLACK
        pairs = ((kernel, convs[name].weight), (weights.offsets[name], convs[name].bias))
        excess = max(_excess(known, true, slack) for known, true in pairs if known is not None and true is not None)
        if not excess <= 0:
            wrong[name] = excess
    if wrong:
        worst = sorted(wrong, key=lambda name: -wrong[name])
        more = f" and {len(worst) - _LISTED} more" if len(worst) > _LISTED else ""
        yield (
            f"the weights in the file are not the checkpoint's, rounded: {', '.join(worst[:_LISTED])}{more} "
            f"({worst[0]} by {wrong[worst[0]]:.1e} of its largest weight, beyond rounding)"
        )


def _excess(known: Interval, true: Array, slack: float) -> float:
    """Return how far the worst number is outside its interval, in units of the tensor's largest, less the slack."""
    if known.values.shape != true.shape:
        return float("inf")
    largest = float(np.abs(true).max()) or 1.0
    return float(((np.abs(known.values - true) - known.half) / largest).max()) - slack
