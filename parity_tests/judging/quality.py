"""Compare the mattes of PyTorch and of a file with the truth, if a clip has one."""

from dataclasses import dataclass, fields

from parity_tests.clips import Clip
from parity_tests.compare import FrameOutputs
from parity_tests.judging.metrics import MatteMetrics, MatteQuality

SCALES = {"mad": 1e3, "mse": 1e3, "grad": 1e-3, "conn": 1e-3, "dtssd": 1e2}
"""The factor by which papers multiply each figure."""

HEADINGS = {"mad": "MAD", "mse": "MSE", "grad": "Grad", "conn": "Conn", "dtssd": "dtSSD"}


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Figures of alpha against the truth: of float64 PyTorch, and of the file."""

    pytorch: MatteQuality
    file: MatteQuality


class QualityTally:
    """The figures of a clip, collected frame by frame."""

    def __init__(self, clip: Clip) -> None:
        self._truths = (shot.truth for shot in clip.shots)
        self._pytorch, self._file = MatteMetrics(), MatteMetrics()
        self._frames = 0

    def add(self, expected: FrameOutputs, given: FrameOutputs) -> None:
        """Compare one frame of both sides with its truth, if it has one and the file gives an alpha."""
        truth = next(self._truths)
        if truth is None or "pha" not in expected:
            return
        for metrics, outputs in ((self._pytorch, expected), (self._file, given)):
            metrics.add(truth.pha, outputs["pha"], *((truth.fgr, outputs["fgr"]) if "fgr" in outputs else ()))
        self._frames += 1

    def quality(self) -> Quality | None:
        """Return the figures, or None if no frame had a truth."""
        return Quality(pytorch=self._pytorch.quality(), file=self._file.quality()) if self._frames else None


def in_papers(quality: MatteQuality) -> dict[str, float]:
    """Return the five figures by their names, scaled as papers print them."""
    return {HEADINGS[name]: getattr(quality, name) * scale for name, scale in SCALES.items()}


def as_dict(quality: MatteQuality) -> dict[str, float]:
    """Return all figures unscaled, by field name."""
    return {each.name: getattr(quality, each.name) for each in fields(quality)}
