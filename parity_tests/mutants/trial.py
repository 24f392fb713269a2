"""Make a mutant, verify it, and report whether it is caught."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from exporters import load_runtime, open_artifact
from parity_tests.cases import Case, case_checkpoint, case_clip, has_real_data
from parity_tests.clips import Clip
from parity_tests.judging.judge import figure
from parity_tests.judging.limits import STATISTICS
from parity_tests.mutants.exporting import export
from parity_tests.mutants.mutant import Mutant, OfFile, Subject
from parity_tests.verify import ParityReport, verify


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The result of one mutant. `margin` is the worst figure divided by its limit, `output` whose figure it is."""

    mutant: Mutant
    format: str
    caught: bool
    margin: float
    output: str


class Court:
    """A trial of mutants against good files, which are made in `folder` and verified once each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._good: dict[tuple[Path, Case], ParityReport] = {}

    def trial(self, mutant: Mutant, format_name: str) -> Trial:
        """Make and verify a mutant.

        Raises:
            ValueError: the good file fails, or the mutant's outputs equal those of the good file.
        """
        mutant = playable(mutant)
        subject = self._subject(mutant, format_name)
        good = self._good_report(mutant, subject)
        path = self.folder / f"mutant{subject.good.suffix}"
        mutant.defect.write(subject, path)
        report = _verified(mutant, subject, path)
        if report.comparison == good.comparison:
            raise ValueError(f"{mutant.name} in {format_name} gives what the good file gives, to the last bit")
        output, worst = margin(report)
        return Trial(mutant=mutant, format=format_name, caught=not report.ok, margin=worst, output=output)

    def _subject(self, mutant: Mutant, format_name: str) -> Subject:
        spec = mutant.spec(format_name)
        checkpoint = case_checkpoint(mutant.play.weights, mutant.play.variant, mutant.play.refiner)
        good = self.folder / f"{mutant.play.weights}_{spec.file_name('', checkpoint.seeded)}.{format_name}"
        if not good.exists():
            export(format_name, checkpoint, spec, good)
        return Subject(format=format_name, spec=spec, checkpoint=checkpoint, good=good)

    def _good_report(self, mutant: Mutant, subject: Subject) -> ParityReport:
        key = subject.good, mutant.play
        if key not in self._good:
            report = _verified(replace(mutant, defect=_NONE), subject, subject.good)
            if not report.ok:
                raise ValueError(f"the good {subject.good.name} is refused: {'; '.join(report.comparison.failures)}")
            self._good[key] = report
        return self._good[key]


def playable(mutant: Mutant) -> Mutant:
    """Return the mutant, with seeded weights and the built-in clip if this machine has no others."""
    if has_real_data():
        return mutant
    return replace(mutant, play=replace(mutant.play, weights="seeded", clip="builtin"))


def margin(report: ParityReport) -> tuple[str, float]:
    """Return the worst output, and its worst figure divided by the limit. The name is empty if nothing was compared."""
    margins = {
        name: max(_over(figure(drift, each), figure(report.limits[name], each)) for each in STATISTICS)
        for name, drift in report.comparison.outputs.items()
        if report.limits
    }
    if not margins:
        return "", math.inf
    return max(margins.items(), key=lambda pair: pair[1])


def _over(error: float, limit: float) -> float:
    """Return error / limit, infinite for NaN."""
    return math.inf if math.isnan(error) else error / limit


@lru_cache(maxsize=4)
def _clip(play: Case) -> Clip:
    """Return one object per play, so that verify can reuse its reference."""
    return case_clip(play)


def _verified(mutant: Mutant, subject: Subject, path: Path) -> ParityReport:
    artifact = open_artifact(path, trust=True)
    with mutant.defect.playing(load_runtime(subject.format)):
        ratio = mutant.play.ratio if artifact.baked_ratio is None else None
        return verify(artifact, subject.checkpoint, _clip(mutant.play), ratio)


class _Right(OfFile):
    """A right file in a right runtime."""

    def write(self, subject: Subject, path: Path) -> None:  # noqa: ARG002 (nothing to write)
        raise AssertionError("the good file is there")


_NONE = _Right()
