"""Judge a contender by float64 PyTorch, with limits in units of PyTorch's own rounding."""

from exporters.artifact import Artifact
from exporters.runtime import Device
from parity_tests.clips import Clip
from parity_tests.judging.judge import limits_of, with_floor
from parity_tests.judging.references import REFERENCES
from parity_tests.judging.yardstick import sampled_ratio, stored_weights, truth, yardstick
from parity_tests.verify import LEVEL
from rvm_model.weights.checkpoint import Checkpoint
from tools.bench.race import Contender, Judge


def make_judge(
    contender: Contender, traced: Artifact | None, checkpoint: Checkpoint, clip: Clip, ratio: float, device: Device
) -> Judge:
    """Play PyTorch over the frames of the warm-up, and return the judge of a contender.

    Args:
        contender: A file, or PyTorch itself.
        traced: The file by whose limits PyTorch itself is judged; None if PyTorch takes no part.
        checkpoint: The weights of all contenders.
        clip: The frames of the warm-up, at the size of the race.
        ratio: Downsample ratio below 1.
        device: The device of PyTorch.
    """
    artifact = contender.artifact or traced
    assert artifact is not None
    sampled = ratio if contender.artifact is None else sampled_ratio(artifact, ratio)
    own = yardstick(artifact, checkpoint, "always", stored_weights(artifact))
    played = REFERENCES.play(truth(checkpoint, "always"), own, clip, ratio, sampled, device)
    expected = [*played.frames]
    assert played.units is not None
    limits = limits_of(with_floor(played.units), artifact.precision)
    return Judge(expected=expected, limits=limits, slack=LEVEL / 2 if artifact.image_bytes else 0)
