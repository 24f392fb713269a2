"""Loose hairs of the person in `portrait.py`: fine curves whose alpha is exact at any size.

Coordinates are pixels of the picture unless they are called pixels of the frame.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]
Point = tuple[float, float]

STRAND_COLOUR = (0.56, 0.47, 0.32)

_OUTLINE = (
    *((277, 110), (283, 99), (287, 86), (287, 73), (283, 60), (280, 47), (274, 36), (264, 27)),
    *((253, 20), (242, 15), (230, 10), (218, 9), (206, 11), (194, 14), (183, 19), (175, 28)),
    *((165, 33), (154, 39), (145, 48), (139, 60), (139, 73), (139, 86), (143, 98), (151, 108)),
)
"""The outline of the hair, from below the right ear over the top of the head to the left one."""

_CENTRE = (212.0, 80.0)
_PICTURE_WIDTH = 364
_COUNT = 64
_PIECES = 6
_WIDTH_AT_ROOT, _WIDTH_AT_TIP = 0.7, 0.3
_LONGEST = 26.0
_SEED = 1995


def strand_cover(
    left: float, top: float, scale: float, mirrored: bool, wind: float, rows: slice, columns: slice
) -> tuple[tuple[slice, slice], Planes] | None:
    """Return where in a layer the strands lie, and their joint alpha there, (h, w) in [0, 1].

    A strand thinner than a pixel covers at most its width of it. Return None if no strand is in the layer.

    Args:
        left: Column of the picture's left edge, in pixels of the frame.
        top: Row of its upper edge.
        scale: Pixels of the frame for one pixel of the picture.
        mirrored: The picture is turned left to right.
        wind: Sideways displacement of the tips.
        rows: Rows of the frame that the layer has.
        columns: Columns of the frame that the layer has.
    """

    def in_layer(point: Point) -> Point:
        x = _PICTURE_WIDTH - point[0] if mirrored else point[0]
        return left + x * scale - columns.start, top + point[1] * scale - rows.start

    curves = [[in_layer((x + wind * (k / _PIECES) ** 2, y)) for k, (x, y) in enumerate(curve)] for curve in _strands()]
    head = _box([point for curve in curves for point in curve], rows.stop - rows.start, columns.stop - columns.start)
    if head is None:
        return None
    cover = np.zeros((head[0].stop - head[0].start, head[1].stop - head[1].start), np.float32)
    for curve in curves:
        for k in range(_PIECES):
            width = (_WIDTH_AT_ROOT + (_WIDTH_AT_TIP - _WIDTH_AT_ROOT) * (k + 0.5) / _PIECES) * scale
            ends = [(x - head[1].start, y - head[0].start) for x, y in curve[k : k + 2]]
            _draw_piece(cover, ends[0], ends[1], width)
    return head, cover


def _draw_piece(cover: Planes, begin: Point, end: Point, width: float) -> None:
    """Draw a straight piece with round ends, one pixel soft, over the existing alpha."""
    box = _box([begin, end], cover.shape[0], cover.shape[1], margin=width / 2 + 1)
    if box is None:
        return
    x = np.arange(box[1].start, box[1].stop) + (0.5 - begin[0])
    y = np.arange(box[0].start, box[0].stop)[:, None] + (0.5 - begin[1])
    dx, dy = end[0] - begin[0], end[1] - begin[1]
    along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
    across_x, across_y = x - along * dx, y - along * dy
    distance = np.sqrt(across_x * across_x + across_y * across_y)
    piece = np.clip(width / 2 + 0.5 - distance, 0, min(1, width)).astype(np.float32)
    np.maximum(cover[box], piece, out=cover[box])


def _box(points: list[Point], height: int, width: int, margin: float = 2) -> tuple[slice, slice] | None:
    """Return the rows and columns around these points that lie within a height and a width, None if there are none."""
    spans = []
    for values, size in (([y for _, y in points], height), ([x for x, _ in points], width)):
        begin = min(max(int(min(values) - margin), 0), size)
        end = min(max(int(max(values) + margin) + 1, 0), size)
        if begin >= end:
            return None
        spans.append(slice(begin, end))
    return spans[0], spans[1]


@cache
def _strands() -> tuple[tuple[Point, ...], ...]:
    """Return the points of each strand from root to tip, along a parabola that leaves the head and is swept aside."""
    noise = np.random.PCG64(_SEED)

    def random() -> float:
        return float(int(noise.random_raw()) >> 11) / 2**53

    strands = []
    for k in range(_COUNT):
        place = (k + random()) / _COUNT * (len(_OUTLINE) - 1)
        a, b, part = _OUTLINE[int(place)], _OUTLINE[int(place) + 1], place - int(place)
        edge = a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part
        out = (edge[0] - _CENTRE[0]) / 75, (edge[1] - _CENTRE[1]) / 75
        length = _LONGEST * (0.3 + 0.7 * random() * random())
        sweep = length * (random() - 0.5) * 3
        root = edge[0] - 5 * out[0], edge[1] - 5 * out[1]
        points = []
        for piece in range(_PIECES + 1):
            u = piece / _PIECES
            points.append(
                (
                    root[0] + (length + 5) * u * out[0] - sweep * u * u * out[1],
                    root[1] + (length + 5) * u * out[1] + sweep * u * u * out[0] + 0.25 * length * u * u,
                )
            )
        strands.append(tuple(points))
    return tuple(strands)
