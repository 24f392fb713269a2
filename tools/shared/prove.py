"""Compare one file with PyTorch, and keep a picture of the frames."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from exporters.artifact import Artifact
from parity_tests.clips import Clip
from parity_tests.verify import ParityReport, auto_ratio, fit_size, verify
from rvm_model.weights.checkpoint import Checkpoint
from tools.shared.pictures import Album, Picture


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Reports of one file, one for each size that it has the network at; `picture` belongs to the first."""

    artifact: Artifact
    reports: tuple[ParityReport, ...]
    picture: Picture


def prove(
    artifact: Artifact,
    checkpoint: Checkpoint,
    clip: Clip,
    ratio: float | None = None,
    on_frame: Callable[[int], object] = lambda _: None,
) -> Proof:
    """Compare a file with PyTorch. The reports name it without its folder.

    Args:
        artifact: The file, opened to play it.
        checkpoint: The weights that it should hold.
        clip: The clip to play.
        ratio: Downsample ratio of a file for any ratio; None for the one that suits the clip.
        on_frame: Called with each frame's number before it is played.

    Raises:
        ArtifactError, ParityError, DeviceError, MissingPackage: see `parity_tests.verify.verify`.
    """
    reports, pictures = [], []
    for each in (artifact, *artifact.others):
        played, its_ratio = fit_size(each, clip, (ratio or auto_ratio(clip)) if each.baked_ratio is None else None)
        album = Album(played)
        report = verify(each, checkpoint, clip, its_ratio, watch=album.add, on_frame=on_frame)
        reports.append(replace(report, artifact=Path(artifact.path.name)))
        pictures.append(album.picture())
    return Proof(artifact=artifact, reports=tuple(reports), picture=pictures[0])
