"""Defects of the forward pass: export with a copy of our code in which a few words are changed."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import import_module, invalidate_caches
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from parity_tests.mutants.exporting import export
from parity_tests.mutants.mutant import OfFile, Subject

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("exporters", "rvm_model")


@dataclass(frozen=True)
class Edit:
    """A replacement of `old` by `new` in a source file that has it `count` times."""

    path: str
    old: str
    new: str
    count: int = 1

    def apply(self, root: Path) -> None:
        """Change the file below `root`. Raise ValueError if the code has changed since the edit was written."""
        file = root / self.path
        text = file.read_text()
        if text.count(self.old) != self.count:
            raise ValueError(f"{self.path} has {text.count(self.old)} times {self.old!r}; expected {self.count}")
        file.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True)
class Rewritten(OfFile):
    """An export with all edits. Each format uses the code that it is made from, and ignores the other edits."""

    edits: tuple[Edit, ...]

    def write(self, subject: Subject, path: Path) -> None:
        """See `Defect`."""
        good = subject.checkpoint
        with rewritten(self.edits):
            checkpoint = import_module("rvm_model.weights.checkpoint").Checkpoint
            copy = checkpoint(**{field.name: getattr(good, field.name) for field in fields(good)})
            export(subject.format, copy, subject.spec, path)


@contextmanager
def rewritten(edits: tuple[Edit, ...]) -> Iterator[None]:
    """Import `exporters` and `rvm_model` from an edited copy within the block, then restore the imported modules."""
    before = _ours()
    with TemporaryDirectory() as desk:
        for package in PACKAGES:
            shutil.copytree(
                ROOT / package, Path(desk) / package, ignore=shutil.ignore_patterns("tests", "node_modules")
            )
        for edit in edits:
            edit.apply(Path(desk))
        for name in before:
            del sys.modules[name]
        sys.path.insert(0, desk)
        invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(desk)
            for name in _ours():
                del sys.modules[name]
            sys.modules.update(before)


def _ours() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES}
