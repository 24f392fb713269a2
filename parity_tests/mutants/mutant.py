"""The definition of a mutant: a wrong network, as data."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from exporters.runtime import Runtime
from exporters.spec import ExportSpec
from parity_tests.cases import Case, case_spec
from rvm_model.weights.checkpoint import Checkpoint

GRAPHS = ("torchscript", "onnx", "tensorflow")
FAST = ("torchscript", "onnx")

TRAINED = Case(weights="from_tfjs", clip="real", width=331, height=217, ratio=0.375, frames=16)
"""Its internal size is 124x81: the pool, the strides and the crops all meet odd sizes."""

SEEDED = Case(weights="seeded", clip="builtin", width=331, height=217, ratio=0.375, frames=16)
"""A machine without trained weights plays this. The batch norm of these weights is not the identity."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A good file, and what it was made from."""

    format: str
    spec: ExportSpec
    checkpoint: Checkpoint
    good: Path


class Defect(Protocol):
    """A way to make a network wrong."""

    def write(self, subject: Subject, path: Path) -> None:
        """Write the wrong file. Its metadata claim the weights of the good one."""

    def playing(self, runtime: Runtime) -> AbstractContextManager[None]:
        """Make the runtime wrong while this is open."""


class OfFile:
    """A defect in the file. The runtime is right."""

    @contextmanager
    def playing(self, runtime: Runtime) -> Iterator[None]:  # noqa: ARG002 (the other kind uses it)
        yield


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A wrong network: `why` says what is wrong, `formats` which files are made, `play` what they are played on."""

    name: str
    why: str
    defect: Defect
    formats: tuple[str, ...] = FAST
    precision: str = "fp32"
    play: Case = TRAINED

    def spec(self, format_name: str) -> ExportSpec:
        """Return the options of its file, which are also those of the good one."""
        return case_spec(self.play, format_name, self.precision)
