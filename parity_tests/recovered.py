"""A file held against the network that was rebuilt from it.

The weights are the file's own, so that only arithmetic may differ. Released files that are known to compute something
else than the network, whatever their weights, are held against it where that plays no part, or against a network that
does the same.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from exporters.dataflow import ALIGNED_CORNERS, ROUNDED_NORMALISATION, UNPADDED_MEAN
from exporters.recover import Recovered
from exporters.spec import Artifact
from parity_tests.clips import Clip, builtin_clip
from parity_tests.compare import NAMES, FrameOutputs
from parity_tests.play import play_reference
from parity_tests.tolerances import ABSORBED
from parity_tests.verify import BUILTIN_RATIO, ParityReport, fit_size, reference_network, verify
from rvm_model.checkpoint import Checkpoint

_STATES = NAMES[2:]

# Files of these formats are rounded as they are stored; what runs them computes in float32 with the rounded weights.
_STORED = ("tfjs", "coreml")


def verify_recovered(recovered: Recovered) -> Iterator[ParityReport]:
    """Play the built-in clip through every file that weights were recovered from, and through the network.

    A file in eight bits, of several, is played with the weights that are the middle of all: within its own limits.

    Raises:
        UserError: as `verify.verify`.
    """
    for artifact in recovered.artifacts:
        quirks = recovered.quirks[artifact.path]
        own = len(recovered.artifacts) == 1
        checkpoint = recovered.checkpoint
        if artifact.refiner != checkpoint.refiner and artifact.refiner == "fast_guided_filter":
            checkpoint = checkpoint.with_fast_guided_filter()
        for each in (artifact, *artifact.others):
            # The fast guided filter's mean is rounded in such files too, and its division makes much of that.
            exact = own and (each.refiner == "deep_guided_filter" or UNPADDED_MEAN in quirks)
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
    absorbed = ABSORBED if ROUNDED_NORMALISATION in quirks else None
    if UNPADDED_MEAN in quirks:
        # The guided filter is left out at a ratio of 1, and states know nothing of it.
        yield verify(artifact, checkpoint, clip, 1.0, at_least=absorbed)
        yield verify(artifact, checkpoint, clip, ratio, outputs=_STATES, at_least=absorbed)
    elif ALIGNED_CORNERS in quirks:
        reference = _aligned(artifact, checkpoint, clip)
        yield verify(artifact, checkpoint, clip, ratio, reference=reference, at_least=absorbed)
    else:
        yield verify(artifact, checkpoint, clip, ratio, at_least=absorbed)


def _aligned(artifact: Artifact, checkpoint: Checkpoint, clip: Clip) -> list[FrameOutputs]:
    """The network's outputs if it resized as the file does."""
    clip, ratio = fit_size(artifact, clip, None)
    with _AlignedCorners():
        return [*play_reference(reference_network(artifact, checkpoint), clip, ratio)]


class _AlignedCorners(TorchFunctionMode):
    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if function is F.interpolate:
            given["align_corners"] = True
        return function(*args, **given)


def describe(quirks: Collection[str]) -> Iterator[str]:
    """For people: what a file is known to compute otherwise, and what is compared therefore."""
    if UNPADDED_MEAN in quirks:
        yield f"{UNPADDED_MEAN}: compared are all outputs at ratio 1, which leaves it out, and the states below"
    if ALIGNED_CORNERS in quirks:
        yield f"{ALIGNED_CORNERS}, not as the network was trained: compared is a network that does so too"
