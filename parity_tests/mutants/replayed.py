"""Defects of the loop: play a good file in a wrong way."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from unittest.mock import patch

from exporters.artifact import Artifact
from exporters.runtime import Device, Runtime, Step
from parity_tests.mutants.mutant import Subject


@dataclass(frozen=True)
class Replayed:
    """A runtime whose step is `wrong(step)`, and whose ratio is multiplied by `ratio`."""

    wrong: Callable[[Step], Step]
    ratio: float = 1.0

    def write(self, subject: Subject, path: Path) -> None:
        """Copy the good file."""
        shutil.copy(subject.good, path)

    @contextmanager
    def playing(self, runtime: Runtime) -> Iterator[None]:
        """See `Defect`."""
        load = runtime.load

        @contextmanager
        def wrongly(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:
            with load(artifact, device, ratio * self.ratio) as step:
                yield self.wrong(cast(Step, step))  # no mutant is a file of coefficients

        with patch.object(runtime, "load", wrongly):
            yield
