"""A file held against the network that was rebuilt from it.

The weights are the file's own, so that only arithmetic may differ. Released files that are known to compute something
else than the network, whatever their weights, are held against it where that plays no part, or against a network that
does the same.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

from exporters.recover import Recovered, recover
from exporters.recovery.dataflow import ALIGNED_CORNERS, ROUNDED_NORMALISATION, UNPADDED_MEAN
from exporters.spec import Artifact
from parity_tests.clips import builtin_clip
from parity_tests.compare import NAMES
from parity_tests.judging.drift import Error
from parity_tests.verify import BUILTIN_RATIO, ParityReport, verify
from rvm_model.weights.checkpoint import Checkpoint

_STATES = NAMES[2:]

ABSORBED = {
    "fgr": Error(max_abs=1.1e-3, mean_abs=2.3e-5, high_abs=1.1e-3),
    "pha": Error(max_abs=9.0e-4, mean_abs=2.6e-5, high_abs=9.0e-4),
    **dict.fromkeys(_STATES, Error(max_abs=9.0e-3, mean_abs=6.6e-5, high_abs=9.0e-3)),
}
"""What a file and the network rebuilt from it may differ by in any case where its normalisation is rounded: the
network's first convolution makes up for that, but not at the border. Three times what the released TensorFlow.js file
and files of ours showed."""

# Files of these formats are rounded as they are stored; what runs them computes in float32 with the rounded weights.
_STORED = ("tfjs", "coreml")


def verify_recovered(recovered: Recovered) -> Iterator[ParityReport]:
    """Play the built-in clip through every file that weights were recovered from, and through the network.

    Each of several is held against the network that it gives alone. The middle of all is what none of them computes,
    and lies where every one of them allows: that was looked at number by number when they were brought together.

    Raises:
        UserError: as `verify.verify`.
    """
    several = len(recovered.artifacts) > 1
    for artifact in recovered.artifacts:
        quirks = recovered.quirks[artifact.path]
        # It has been opened before, so that whoever asked for it trusts it.
        checkpoint = recover([artifact.path], trust=True).checkpoint if several else recovered.checkpoint
        if artifact.refiner != checkpoint.refiner and artifact.refiner == "fast_guided_filter":
            checkpoint = checkpoint.with_fast_guided_filter()
        for each in (artifact, *artifact.others):
            # The fast guided filter's mean is rounded in such files too, and its division makes much of that.
            exact = each.refiner == "deep_guided_filter" or UNPADDED_MEAN in quirks
            yield from _reports(_claiming(each, checkpoint, exact), checkpoint, quirks)


def _claiming(artifact: Artifact, checkpoint: Checkpoint, exact: bool) -> Artifact:
    """The file as one of the recovered weights, by whose limits it is judged: of `exact` ones only arithmetic is."""
    metadata = dict(artifact.metadata)
    if "weights_sha256" in metadata:
        metadata["weights_sha256"] = checkpoint.weights_sha256
    refiner, precision = artifact.refiner, artifact.precision
    if artifact.fixed is not None and artifact.fixed.ratio == 1:
        refiner = checkpoint.refiner  # of which there is nothing in the file, whatever its metadata say
    states = {tensor.dtype for tensor in artifact.outputs if tensor.name not in NAMES[:2]}
    if exact and artifact.format in _STORED and states == {"float32"}:
        precision = "fp32"
    return replace(artifact, metadata=metadata, refiner=refiner, precision=precision)


def _reports(artifact: Artifact, checkpoint: Checkpoint, quirks: Collection[str]) -> Iterator[ParityReport]:
    clip = builtin_clip()
    ratio = None if artifact.fixed is not None else BUILTIN_RATIO
    allowed = ABSORBED if ROUNDED_NORMALISATION in quirks else {}
    if UNPADDED_MEAN in quirks:
        # The guided filter is left out at a ratio of 1, and states know nothing of it.
        yield verify(artifact, checkpoint, clip, 1.0, allowed=allowed)
        yield verify(artifact, checkpoint, clip, ratio, outputs=_STATES, allowed=allowed)
    else:
        yield verify(artifact, checkpoint, clip, ratio, allowed=allowed, aligned=ALIGNED_CORNERS in quirks)


def describe(quirks: Collection[str]) -> Iterator[str]:
    """For people: what a file is known to compute otherwise, and what is compared therefore."""
    if UNPADDED_MEAN in quirks:
        yield f"{UNPADDED_MEAN}: compared are all outputs at ratio 1, which leaves it out, and the states below"
    if ALIGNED_CORNERS in quirks:
        yield f"{ALIGNED_CORNERS}, not as the network was trained: compared is a network that does so too"
