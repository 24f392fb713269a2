"""Prove one artifact: play it beside float64 PyTorch, and judge its error by that of PyTorch in its own arithmetic."""

from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from exporters import FORMATS
from exporters.artifact import Artifact
from exporters.recover import Recovered
from exporters.runtime import Device
from exporters.support.calibration import calibrated_with
from parity_tests.clips import BUILTIN_NAME, Clip
from parity_tests.compare import NAMES, Comparison, FrameOutputs, compare
from parity_tests.judging import judge, rounded
from parity_tests.judging.drift import Error
from parity_tests.judging.quality import Quality, QualityTally
from parity_tests.judging.references import REFERENCES, References
from parity_tests.judging.yardstick import NO_DEPARTURE, Departure, sampled_ratio, stored_weights, truth, yardstick
from parity_tests.play import play_artifact
from rvm_model.errors import UserError
from rvm_model.network.matting_network import Refine
from rvm_model.state import auto_graph_ratio, float32_size, internal_size, safe_ratio
from rvm_model.weights.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """The result of comparing an artifact with PyTorch, in numbers; `parity_report.py` renders it.

    `function` is empty if the file holds the network once. By output: `units` is the yardstick's error, `limits` the
    largest that passes. `quality` is None for a clip without a known truth.
    """

    artifact: Path
    function: str
    format: str
    runtime: str
    variant: str
    refiner: str
    precision: str
    weights: Literal["trained", "seeded"]
    clip: str
    size: tuple[int, int]
    ratio: float
    device: Device
    units: Mapping[str, Error]
    limits: Mapping[str, Error]
    comparison: Comparison
    quality: Quality | None = None

    @property
    def ok(self) -> bool:
        return self.comparison.ok

    @property
    def multiples(self) -> dict[str, float]:
        """Each output's error as a multiple of PyTorch's own rounding, in the worst statistic.

        Empty if the play stopped early, since there is no yardstick then.
        """
        drifts = self.comparison.outputs
        return {
            name: float(np.max([*judge.multiples(drifts[name], self.units[name]).values()]))
            for name in drifts
            if name in self.units
        }

    @property
    def name(self) -> str:
        """Name of the file, and of the function if the file has several."""
        return self._named(self.artifact.name)

    @property
    def place(self) -> str:
        """Path of the file as it was given, and name of the function if the file has several."""
        return self._named(str(self.artifact))

    def _named(self, file: str) -> str:
        return f"{file}, {self.function}" if self.function else file


LEVEL = 1 / 255
"""The step between two of the 256 levels of a byte."""

BUILTIN_RATIO = 0.5
"""The ratio for the built-in clip: below 1, so that resize and refiner take part."""


class ParityError(UserError):
    """A comparison that cannot be made as requested. The message is one line for the user."""


def verify(
    artifact: Artifact,
    checkpoint: Checkpoint,
    clip: Clip,
    ratio: float | None,
    device: Device = "cpu",
    runtime: str | None = None,
    watch: Callable[[FrameOutputs, FrameOutputs], None] | None = None,
    outputs: Collection[str] = NAMES,
    departure: Departure = NO_DEPARTURE,
    on_frame: Callable[[int], object] = lambda _: None,
    references: References = REFERENCES,
) -> ParityReport:
    """Play a clip through PyTorch and through the artifact, and compare all outputs that it has.

    Args:
        artifact: From a runtime's `inspect`.
        checkpoint: The weights it should hold.
        clip: At least 12 frames. For an artifact of a fixed size it is resized (see `Clip.resized`) and batched to fit.
        ratio: Downsample ratio in (0, 1]; None for the one that the artifact has baked in.
        device: The device of both sides.
        runtime: The artifact's runtime; None for its format's default.
        watch: See `compare`.
        outputs: The outputs to compare, of `compare.NAMES`.
        departure: Compare with a network that departs from ours in the same way as the artifact.
        on_frame: Called with each frame's number before it is played.
        references: A cache of PyTorch's outputs on clips that were played before.

    Raises:
        ParityError: other weights than the artifact was made from, a clip that it was calibrated on, or a size and
            ratio that float32 rounds differently.
        ArtifactError, DeviceError, MissingPackage, UnknownRuntime: see `play.py`.
    """
    refuse_calibrated(artifact, clip)
    clip, ratio = fit(artifact, checkpoint, clip, ratio)
    refine, stored = refine_of(artifact), stored_weights(artifact)
    played = references.play(
        truth(checkpoint, refine, departure),
        yardstick(artifact, checkpoint, refine, stored, departure),
        clip,
        ratio,
        sampled_ratio(artifact, ratio),
        device,
        on_frame,
    )
    # Always compare states: a file without state outputs shows them to its runtime.
    names = [name for name in NAMES if name in artifact.mattes or name not in NAMES[:2]]
    names = [name for name in names if name in outputs]
    left_out = [name for name in NAMES if name not in outputs]
    reference = ({name: frame[name] for name in names} for frame in played.frames)
    runtime = runtime or FORMATS[artifact.format].default_runtime
    # Rounding alone may move a byte by half a level.
    slack = dict.fromkeys(NAMES[:2], LEVEL / 2) if artifact.image_bytes else {}
    tally = QualityTally(clip)

    def look(expected: FrameOutputs, ours: FrameOutputs) -> None:
        tally.add(expected, ours)
        if watch is not None:
            watch(expected, ours)

    with closing(play_artifact(artifact, clip, ratio, device, runtime)) as given_frames:
        compared = ({name: array for name, array in frame.items() if name not in left_out} for frame in given_frames)
        comparison = compare(reference, compared, look, slack)
    units: Mapping[str, Error] = {}
    limits: Mapping[str, Error] = {}
    trained = not checkpoint.seeded
    if played.units is not None:
        units = judge.with_floor({name: played.units[name] for name in names})
        limits = judge.limits_of(units, artifact.precision)
        found = [
            *judge.failures(comparison, units, limits, artifact.precision, trained),
            *judge.saturation_failures(played.saturated),
            *_weight_failures(stored, checkpoint),
        ]
        comparison = replace(comparison, failures=(*comparison.failures, *found))
    return ParityReport(
        artifact=artifact.path,
        function=artifact.function,
        format=artifact.format,
        runtime=runtime,
        variant=artifact.variant,
        refiner=artifact.refiner,
        precision=artifact.precision,
        weights=weights_kind(checkpoint),
        clip=clip.name,
        size=clip.size,
        ratio=ratio,
        device=device,
        units=units,
        limits=limits,
        comparison=comparison,
        quality=tally.quality(),
    )


def _weight_failures(stored: Recovered | None, checkpoint: Checkpoint) -> list[str]:
    """Compare the weights that a file of reduced precision stores with the checkpoint's."""
    if stored is None:
        return []
    return [failure for weights in stored.weights.values() for failure in rounded.failures(weights, checkpoint)]


def refuse_calibrated(artifact: Artifact, clip: Clip) -> None:
    """Raise ParityError if a file was made with frames of this clip."""
    if calibrated_with(artifact.metadata, (image for images in clip.images() for image in images)):
        raise ParityError(
            f"{artifact.path} was calibrated with frames of {clip.name}, on which nothing can be said of it; give "
            "another clip"
        )


def weights_kind(checkpoint: Checkpoint) -> Literal["trained", "seeded"]:
    return "seeded" if checkpoint.seeded else "trained"


def fit(artifact: Artifact, checkpoint: Checkpoint, clip: Clip, ratio: float | None) -> tuple[Clip, float]:
    """Return the clip and the ratio to play an artifact with. Arguments and errors are those of `verify`."""
    claimed = artifact.metadata.get("weights_sha256")
    if claimed is not None and claimed != checkpoint.weights_sha256:
        raise ParityError(
            f"{artifact.path} was made from other weights than {checkpoint.name} (sha256 {claimed[:12]}..., not "
            f"{checkpoint.weights_sha256[:12]}...); give its checkpoint with --checkpoint"
        )
    return fit_size(artifact, clip, ratio)


def fit_size(artifact: Artifact, clip: Clip, ratio: float | None) -> tuple[Clip, float]:
    """Return the clip and the ratio as `fit` does, without checking the weights."""
    fixed, baked = artifact.fixed, artifact.baked_ratio
    if baked is not None:
        if ratio not in (None, baked):
            raise ParityError(f"{artifact.path} has ratio {baked:g} baked in; it cannot run at {ratio:g}")
        ratio = baked
    if fixed is not None:
        fixed.refuse_beyond_memory()
        clip = clip.fitted(fixed.width, fixed.height, fixed.batch)
    if ratio is None:
        raise ParityError(f"{artifact.path} takes any downsample ratio; give one")
    check_size(artifact, clip, ratio)
    return clip, ratio


def auto_ratio(clip: Clip) -> float:
    """Return the ratio that suits a clip, for a file that takes any. Raises UserError for a clip that is too narrow."""
    if clip.name == BUILTIN_NAME:
        return BUILTIN_RATIO
    try:
        return auto_graph_ratio(*clip.size)
    except ValueError as error:
        raise UserError(f"{clip.name} is too narrow for ratio auto; give a --downsample-ratio ({error})") from error


def check_size(artifact: Artifact, clip: Clip, ratio: float) -> None:
    """Raise ParityError if no pixel is left, or if a float32 ratio gives another internal size than PyTorch's."""
    height, width = clip.size
    try:
        expected = internal_size(height, width, ratio)
    except ValueError as error:
        raise ParityError(str(error)) from error
    takes_float32 = artifact.ratio is not None or any(
        tensor.name == "downsample_ratio" and tensor.dtype == "float32" for tensor in artifact.inputs
    )
    if takes_float32 and (given := float32_size(height, width, ratio)) != expected:
        raise ParityError(
            f"{width}x{height} at ratio {ratio:g} is {expected[1]}x{expected[0]} in PyTorch but {given[1]}x{given[0]} "
            f"in {artifact.path}, whose ratio is float32; use ratio {safe_ratio(height, width, ratio):g}"
        )


def refine_of(artifact: Artifact) -> Refine:
    """Return PyTorch's behaviour at ratio 1 that matches the artifact's."""
    return "always" if artifact.refine == "always" else "auto"
