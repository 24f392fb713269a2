"""Which weights a release is made from."""

from rvm_model.checkpoint import Checkpoint, load_checkpoint
from rvm_model.state import REFINERS


def load_weights(source: str, variant: str, refiner: str) -> Checkpoint:
    """As `load_checkpoint`; but a file of the other refiner serves the fast guided filter, which has no weights.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    deep, fast = REFINERS
    if refiner == fast:
        return load_checkpoint(source, variant, deep).with_fast_guided_filter()
    return load_checkpoint(source, variant, refiner)
