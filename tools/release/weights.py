"""Which weights a release is made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rvm_model.checkpoint import Checkpoint, CheckpointError, Origin, load_checkpoint, load_checkpoint_file
from rvm_model.state import REFINERS, VARIANTS

_NAMED = ("auto", *(origin for origin in get_args(Origin) if origin != "file"))


def load_weights(source: str, variant: str, refiner: str) -> Checkpoint:
    """As `load_checkpoint`; but a file of the other refiner serves the fast guided filter, which has no weights.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    deep, fast = REFINERS
    if refiner == fast:
        return load_checkpoint(source, variant, deep).with_fast_guided_filter()
    return load_checkpoint(source, variant, refiner)


def parse_checkpoints(given: Sequence[str], variants: Sequence[str]) -> dict[str, str]:
    """Sources as `load_weights` takes them, by variant.

    Args:
        given: `VARIANT=SOURCE`, or a source alone: a file is of the variant that its keys tell; `official`, `seeded`
            and `auto` are for every one.
        variants: Those that can be wanted.

    Raises:
        CheckpointError: no such variant or file, or two for one variant.
    """
    sources: dict[str, str] = {}
    for each in given:
        variant, equals, source = each.partition("=")
        if not equals or variant not in VARIANTS:
            if equals and "/" not in variant:
                raise CheckpointError(f"--checkpoint {each}: {variant} is not one of {', '.join(VARIANTS)}")
            named = variants if each in _NAMED else [load_checkpoint_file(Path(each)).variant]
            new = dict.fromkeys(named, each)
        else:
            new = {variant: source}
        for variant, source in new.items():
            if variant in sources:
                raise CheckpointError(f"--checkpoint {each}: there is one for {variant} already; give one for each")
            sources[variant] = source if source in _NAMED else str(Path(source).absolute())
    return sources


def settled(source: str, variant: str) -> str:
    """`auto` is decided once, not by each job."""
    return load_checkpoint(source, variant).origin if source == "auto" else source
