"""Compare a file with the network that was rebuilt from it.

The weights are the file's own, so only arithmetic may differ. Some released files are known to compute something other
than the network, whatever their weights. Those are compared where that has no effect, or with a network that does the
same.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from exporters.artifact import Artifact
from exporters.recover import Recovered, recover
from exporters.recovery.dataflow import ALIGNED_CORNERS, UNPADDED_MEAN
from parity_tests.clips import builtin_clip
from parity_tests.compare import NAMES
from parity_tests.judging.yardstick import Departure
from parity_tests.verify import BUILTIN_RATIO, ParityReport, verify
from rvm_model.weights.checkpoint import Checkpoint

_STATES = NAMES[2:]

# Files of these formats are rounded when stored; their runtimes compute in float32 with the rounded weights.
_STORED = ("tfjs", "coreml", "litert")
_IN_INT8 = "convolutions in int8"


def verify_recovered(recovered: Recovered) -> Iterator[ParityReport]:
    """Play the built-in clip through every file that weights were recovered from, and through the network.

    If there are several files, each is compared with the network that it gives alone. No file computes the middle of
    all, but every file allows it: that was checked number by number when they were merged.

    Raises:
        UserError: as in `verify.verify`.
    """
    several = len(recovered.artifacts) > 1
    for artifact in recovered.artifacts:
        quirks, remainder = recovered.quirks[artifact.path], recovered.weights[artifact.path].remainder
        checkpoint = recover([artifact]).checkpoint if several else recovered.checkpoint
        if artifact.refiner != checkpoint.refiner and artifact.refiner == "fast_guided_filter":
            checkpoint = checkpoint.with_fast_guided_filter()
        for each in (artifact, *artifact.others):
            # The fast guided filter's mean is rounded in such files too, and its division amplifies that.
            exact = each.refiner == "deep_guided_filter" or UNPADDED_MEAN in quirks
            claimed = _claiming(each, checkpoint, exact)
            if exact and claimed.facts.get(_IN_INT8):
                # Nothing in eight bits comes before the last state, so it is judged as float32.
                in_float = replace(claimed, precision="fp32")
                yield from _reports(in_float, checkpoint, quirks, remainder, NAMES[-1:])
                yield from _reports(claimed, checkpoint, quirks, remainder, NAMES[:-1])
            else:
                yield from _reports(claimed, checkpoint, quirks, remainder)


def _claiming(artifact: Artifact, checkpoint: Checkpoint, exact: bool) -> Artifact:
    """Return the file as one of the recovered weights, for its limits. With `exact` weights only arithmetic differs."""
    metadata = dict(artifact.metadata)
    if "weights_sha256" in metadata:
        metadata["weights_sha256"] = checkpoint.weights_sha256
    refiner, precision = artifact.refiner, artifact.precision
    if artifact.baked_ratio == 1:
        refiner = checkpoint.refiner  # the file holds no refiner, whatever its metadata say
    states = {tensor.dtype for tensor in artifact.outputs if tensor.name not in NAMES[:2]}
    in_float = states == {"float32"} and not artifact.facts.get(_IN_INT8)
    if exact and artifact.format in _STORED and in_float:
        precision = "fp32"
    return replace(artifact, metadata=metadata, refiner=refiner, precision=precision)


def _reports(
    artifact: Artifact,
    checkpoint: Checkpoint,
    quirks: Collection[str],
    remainder: NDArray[np.float64] | None,
    outputs: Collection[str] = NAMES,
) -> Iterator[ParityReport]:
    clip = builtin_clip()
    ratio = None if artifact.baked_ratio is not None else BUILTIN_RATIO
    departure = Departure(aligned=ALIGNED_CORNERS in quirks, remainder=remainder)
    if UNPADDED_MEAN in quirks:
        # At a ratio of 1 the guided filter is left out, and the states never depend on it.
        yield verify(artifact, checkpoint, clip, 1.0, departure=departure)
        yield verify(artifact, checkpoint, clip, ratio, outputs=_STATES, departure=departure)
    else:
        yield verify(artifact, checkpoint, clip, ratio, outputs=outputs, departure=departure)


def describe(quirks: Collection[str]) -> Iterator[str]:
    """Yield sentences for people: what a file is known to compute differently, and what is compared therefore."""
    if UNPADDED_MEAN in quirks:
        yield f"{UNPADDED_MEAN}: compared are all outputs at ratio 1, which leaves it out, and the states below"
    if ALIGNED_CORNERS in quirks:
        yield f"{ALIGNED_CORNERS}, not as the network was trained: compared is a network that does so too"
