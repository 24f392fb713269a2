"""Determine the variant and refiner of a network from the shapes of its weights: released files carry no metadata."""

from collections.abc import Collection

Shape = tuple[int, ...]

# The first convolution, which only this network has: three input channels, or four if the source is widened.
_STEMS = {
    "mobilenetv3": {(16, 3, 3, 3), (16, 4, 3, 3)},
    "resnet50": {(64, 3, 7, 7), (64, 4, 7, 7)},
}
# The recurrent units: as the network has them, or as `folding.py` divides them.
_STATES = {
    "mobilenetv3": (
        {(64, 128, 3, 3), (40, 80, 3, 3), (20, 40, 3, 3)},
        {(128, 64, 3, 3), (80, 40, 3, 3), (40, 20, 3, 3)},
    ),
    "resnet50": ({(128, 256, 3, 3), (32, 64, 3, 3)}, {(256, 128, 3, 3), (64, 32, 3, 3)}),
}
# The first convolution of the deep guided filter, or the part for the statistics if it is divided.
_DEEP_GUIDED_FILTER = {(16, 24, 1, 1), (16, 8, 1, 1)}


def identify(shapes: Collection[Shape]) -> tuple[str, str] | None:
    """Return (variant, refiner), or None if these are not the weights of a matting network.

    Args:
        shapes: The shapes of all weights: (out, in / groups, height, width) for a convolution.
    """
    shapes = set(shapes)
    for variant, stems in _STEMS.items():
        if shapes & stems and any(states <= shapes for states in _STATES[variant]):
            return variant, "deep_guided_filter" if shapes & _DEEP_GUIDED_FILTER else "fast_guided_filter"
    return None
