"""Which weights a release is made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from exporters import load_runtime
from exporters.recover import recognise_trusted
from rvm_model.state import REFINERS, VARIANTS
from rvm_model.weights.checkpoint import Checkpoint, CheckpointError, Origin, load_checkpoint, load_checkpoint_file
from tools.shared.checkpoints import SUFFIXES, open_checkpoint

_NAMED = ("auto", *(origin for origin in get_args(Origin) if origin != "file"))


def load_weights(source: str, variant: str, refiner: str, trust: bool) -> Checkpoint:
    """As `open_checkpoint`; but what has the other refiner serves the fast guided filter, which has no weights.

    Raises:
        UserError: as `open_checkpoint`.
    """
    return with_refiner(open_checkpoint(source, variant, REFINERS[0], trust=trust), refiner)


def with_refiner(checkpoint: Checkpoint, refiner: str) -> Checkpoint:
    """The same for the fast guided filter, or as it is."""
    return checkpoint if refiner == checkpoint.refiner else checkpoint.with_fast_guided_filter()


def parse_checkpoints(given: Sequence[str], variants: Sequence[str], trust: bool) -> dict[str, str]:
    """Sources as `load_weights` takes them, by variant.

    Args:
        given: `VARIANT=SOURCE`, or a source alone: a file is of the variant that it tells; `official`, `seeded` and
            `auto` are for every one.
        variants: Those that are wanted.
        trust: Open files that are code.

    Raises:
        CheckpointError: no such variant or file, one that nothing is made of, or two for one variant.
        UserError: a file that is none of the network.
    """
    sources: dict[str, str] = {}
    for each in given:
        variant, equals, source = each.partition("=")
        if not equals or variant not in VARIANTS:
            if equals and "/" not in variant:
                raise CheckpointError(f"--checkpoint {each}: {variant} is not one of {', '.join(VARIANTS)}")
            named = variants if each in _NAMED else [_variant_of(Path(each), trust)]
            new = dict.fromkeys(named, each)
        else:
            new = {variant: source}
        for variant, source in new.items():
            if variant not in variants:
                raise CheckpointError(
                    f"--checkpoint {each}: nothing that was asked for is made of {variant}; leave it out"
                )
            if variant in sources:
                raise CheckpointError(f"--checkpoint {each}: there is one for {variant} already; give one for each")
            sources[variant] = source if source in _NAMED else str(Path(source).absolute())
    return sources


def _variant_of(path: Path, trust: bool) -> str:
    if path.suffix in SUFFIXES or not path.exists():
        return load_checkpoint_file(path).variant
    return load_runtime(recognise_trusted(path, trust)).inspect(path).variant


def settled(source: str, variant: str, trust: bool) -> str:
    """`auto` is decided once, and an exported file proved once, not by each job."""
    if source == "auto":
        return load_checkpoint(source, variant).origin
    if source not in _NAMED and Path(source).suffix not in SUFFIXES:
        open_checkpoint(source, variant, REFINERS[0], trust=trust, prove=True)
    return source
