"""What `--checkpoint` may name: weights in a file, the released ones, seeded ones, or any file of the network.

`rvm_model` knows the first three. The last is here, for all commands at once.
"""

from dataclasses import replace
from pathlib import Path

from exporters import FORMATS, recognise
from exporters.recover import recover
from exporters.spec import ArtifactError
from rvm_model.weights.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from tools.commands.recover import prove_recovered, say_recovered
from tools.shared.console import stderr_console, working

_NAMED = ("official", "seeded", "auto")
SUFFIXES = (".pth", ".safetensors")


def maybe_seeded(source: str) -> tuple[bool, ...]:
    """Return what `Checkpoint.seeded` can be, as far as the name of a source tells without opening it."""
    if source == "seeded":
        return (True,)
    if source == "official" or Path(source).suffix in SUFFIXES:
        return (False,)
    return (False, True)


def open_checkpoint(source: str, variant: str, refiner: str, *, trust: bool = False, prove: bool = False) -> Checkpoint:
    """Weights for a variant and refiner.

    Args:
        source: As `load_checkpoint` takes it; or a file or folder of any format, ours or released.
        variant: `mobilenetv3` or `resnet50`.
        refiner: `deep_guided_filter` or `fast_guided_filter`.
        trust: Open an artifact that is code.
        prove: Play an artifact against the network with the weights taken from it.

    Raises:
        UserError: as `load_checkpoint` and `recover`; or an artifact of another variant or refiner.
        ExportFailed: the network does not compute what the artifact computes.
    """
    path = Path(source)
    if source in _NAMED:
        return load_checkpoint(source, variant, refiner)  # a download shows a bar of its own
    if path.suffix in SUFFIXES or not path.exists():
        with working(stderr_console(), f"loading {path}"):
            return load_checkpoint(source, variant, refiner)
    try:
        recognise(path)
    except ArtifactError as error:
        formats = ", ".join(description.title for description in FORMATS.values())
        raise CheckpointError(
            f"{path} is neither a checkpoint (.pth, .safetensors) nor of a format known here ({formats}), or is damaged"
        ) from error
    with working(stderr_console(), f"taking the weights out of {path}"):
        recovered = recover([path], trust=trust)
    checkpoint = recovered.checkpoint
    if (checkpoint.variant, checkpoint.refiner) != (variant, refiner):
        raise CheckpointError(
            f"{path} holds the weights of {checkpoint.variant} with {checkpoint.refiner}, not of {variant} with "
            f"{refiner}; use --variant {checkpoint.variant} --refiner {checkpoint.refiner}"
        )
    say_recovered(recovered)
    if prove:
        prove_recovered(recovered)
    return replace(checkpoint, name=str(path))
