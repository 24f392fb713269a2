"""Defects of the weights: export changed weights that claim to be the right ones."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from torch import Tensor

from parity_tests.mutants.exporting import export
from parity_tests.mutants.mutant import OfFile, Subject
from rvm_model.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class Reweighted(OfFile):
    """Weights with `change` applied to every tensor whose key begins with `key`."""

    key: str
    change: Callable[[Tensor], Tensor]

    def write(self, subject: Subject, path: Path) -> None:
        """Export the changed weights. Raise ValueError if no weight changes. See `Defect`."""
        good = subject.checkpoint
        values = {field.name: getattr(good, field.name) for field in fields(good)}
        state_dict = {
            key: self.change(tensor.clone()) if key.startswith(self.key) and tensor.is_floating_point() else tensor
            for key, tensor in good.state_dict.items()
        }
        if all(state_dict[key].equal(tensor) for key, tensor in good.state_dict.items()):
            raise ValueError(f"nothing changed in {self.key} of {good.name}")
        values["state_dict"] = state_dict
        export(subject.format, _Impostor(**values, claimed=good.weights_sha256), subject.spec, path)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Impostor(Checkpoint):
    """A checkpoint with the hash of other weights, so that the file's metadata name those."""

    claimed: str

    @property
    def weights_sha256(self) -> str:
        return self.claimed
