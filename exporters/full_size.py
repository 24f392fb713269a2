"""Give a file of coefficients the full-size steps around it, in PyTorch."""

from typing import cast

import torch

from exporters.artifact import Artifact, ArtifactError
from exporters.runtime import FileStep, Frame, Line, Matte, State, Step
from rvm_model.full_size import finished, reduced


def at_full_size(artifact: Artifact, ratio: float, step: FileStep) -> Step:
    """Return the step for full-size frames: that of the file, unless it is one of coefficients.

    The step raises ArtifactError for a frame that the ratio does not reduce to the file's one internal size.
    """
    if not artifact.gives_line:
        return cast(Step, step)

    def full_size_step(frame: Frame, state: State) -> tuple[Matte, State]:
        src = torch.from_numpy(frame)
        small = reduced(src, ratio)
        _check_reduced(artifact, *small.shape[2:])
        line, state = step(small.numpy(), state)
        assert isinstance(line, Line)
        fgr, pha = finished(torch.from_numpy(line.A), torch.from_numpy(line.b), src)
        return Matte(fgr=fgr.numpy(), pha=pha.numpy()), state

    return full_size_step


def _check_reduced(artifact: Artifact, height: int, width: int) -> None:
    """Raise ArtifactError if a file of coefficients takes frames of another internal size."""
    if artifact.fixed is None:
        return
    inside = artifact.fixed.internal()
    if (height, width) != (inside.height, inside.width):
        raise ArtifactError(
            f"{artifact.path} takes frames that reduce to {inside.width}x{inside.height}, not {width}x{height}; "
            "give another ratio, or a file of that size"
        )
