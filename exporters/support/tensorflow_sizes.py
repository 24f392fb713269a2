"""TensorFlow's operations that enlarge an image, and the limits of the integers that say by how much."""

from collections.abc import Iterable

from exporters.support.enlarging import LARGEST_PADDING, LARGEST_SIDE

PADDINGS = "explicit_paddings"
"""The attribute of a convolution."""

_LIMITS = {
    **dict.fromkeys(("MirrorPad", "Pad", "PadV2", "SpaceToBatchND"), LARGEST_PADDING),
    **dict.fromkeys(("BroadcastTo", "Fill", "Range", "ResizeBilinear", "Tile"), LARGEST_SIDE),
}


def limits(nodes: Iterable[tuple[str, Iterable[str]]]) -> dict[str, int]:
    """Return the largest integer that a constant may have, by its name, for those that go to such operations.

    Args:
        nodes: The operation and the inputs of each node.
    """
    found: dict[str, int] = {}
    for op, inputs in nodes:
        if op in _LIMITS:
            for name in inputs:
                constant = name.partition(":")[0]
                found[constant] = min(found.get(constant, LARGEST_SIDE), _LIMITS[op])
    return found
