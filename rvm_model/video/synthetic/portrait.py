"""A person to lay over a background: the picture `portrait.png` beside this file, sampled at any scale.

`portrait.png` is a cut-out of the official portrait of the astronaut Eileen Collins by NASA, which is in the public
domain; scikit-image ships the portrait as `skimage.data.astronaut`. The alpha is our own, by closed-form matting
(Levin et al., 2008) within a band around the network's alpha, mended by hand; colours in that band are un-mixed.

Sampling uses only float32 additions, multiplications and comparisons, one after another, so that it gives the same
bytes on any machine. A matrix product or a filter of a library would add in an order of its own.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvm_model.video.synthetic.strands import STRAND_COLOUR, strand_cover

Planes = NDArray[np.float32]

WIDTH, HEIGHT = 364, 340
"""Size of the picture. Its left, right and upper margins are empty; its last row is cut through the body."""

_SURE = np.float32(1e-4)
"""Alpha that is closer than this to 0 or 1 becomes 0 or 1, so that rounding leaves no haze."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The place of a person in a frame.

    Args:
        left: Column of the picture's left edge, in pixels of the frame.
        top: Row of the picture's upper edge.
        scale: Pixels of the frame for one pixel of the picture.
        usual_scale: The scale around which `scale` varies in a clip. It chooses how far the picture is averaged before
            it is sampled, so that sharpness does not jump while `scale` changes.
        mirrored: The picture is turned left to right.
        light: Factors of red, green and blue.
        wind: Sideways displacement of the tips of the strands, in pixels of the picture.
    """

    left: float
    top: float
    scale: float
    usual_scale: float
    mirrored: bool
    light: tuple[float, float, float]
    wind: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """The part of a frame that a person covers.

    `rows` and `columns` say which. `pha`: (h, w) in [0, 1]. `colour`: (3, h, w) in [0, 1], multiplied by `pha`.
    """

    rows: slice
    columns: slice
    pha: Planes
    colour: Planes


def person_layer(place: Placement, width: int, height: int) -> Layer | None:
    """Return the person as seen in a frame of this size, or None if it lies outside.

    Below its last row the picture is continued, so that a body never ends within the frame.
    """
    columns = _covered(place.left, place.scale * WIDTH, width)
    rows = slice(_covered(place.top, place.scale * HEIGHT, height).start, height)
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return None
    level = 0
    while place.usual_scale * 2 ** (level + 1) <= 1:
        level += 1
    planes = _sampled(_levels(level), 1, _positions(rows, place.top, place.scale, level))
    across = _positions(columns, place.left, place.scale, level)
    if place.mirrored:
        across = WIDTH / 2**level - 1 - across
    planes = _sampled(planes, 2, across)
    colour, pha = planes[:3], planes[3]
    for plane, light in zip(colour, place.light, strict=True):
        plane *= np.float32(light)
    cover = strand_cover(place.left, place.top, place.scale, place.mirrored, place.wind, rows, columns)
    if cover is not None:
        head, strands = cover
        # Behind the head, so that their roots do not show.
        strands = strands * (1 - pha[head])
        pha[head] += strands
        for plane, light, hair in zip(colour, place.light, STRAND_COLOUR, strict=True):
            plane[head] += strands * np.float32(light * hair)
    pha[pha > 1 - _SURE] = 1
    none = pha < _SURE
    pha[none] = 0
    colour[:, none] = 0
    np.minimum(colour, pha, out=colour)
    return Layer(rows=rows, columns=columns, pha=pha, colour=colour)


def _covered(begin: float, length: float, size: int) -> slice:
    return slice(min(max(int(begin), 0), size), min(max(int(begin + length) + 1, 0), size))


def _positions(pixels: slice, begin: float, scale: float, level: int) -> NDArray[np.float64]:
    """Return where the centres of these pixels lie in the averaged picture, counted from its first pixel's centre."""
    centres = np.arange(pixels.start, pixels.stop) + 0.5
    positions: NDArray[np.float64] = (centres - begin) / scale / 2**level - 0.5
    return positions


def _sampled(planes: Planes, axis: int, positions: NDArray[np.float64]) -> Planes:
    """Sample (4, h, w) along an axis with the cubic B-spline.

    Its weights are never negative, so that alpha and colours stay between those of the picture.
    """
    whole = np.floor(positions)
    f = positions - whole
    g = 1 - f
    weights = (g * g * g, 4 - 6 * f * f + 3 * f * f * f, 4 - 6 * g * g + 3 * g * g * g, f * f * f)
    shape = (-1, 1) if axis == 1 else (-1,)
    total: Planes | None = None
    for k, weight in enumerate(weights):
        index = np.clip(whole.astype(np.int64) - 1 + k, 0, planes.shape[axis] - 1)
        part = planes.take(index, axis=axis)
        part *= (weight / 6).astype(np.float32).reshape(shape)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total


@cache
def _levels(level: int) -> Planes:
    """Return red, green and blue times alpha, and alpha, (4, h, w) in [0, 1], halved `level` times. Read-only."""
    if level == 0:
        with Image.open(Path(__file__).with_name("portrait.png"), formats=("PNG",)) as picture:
            pixels = np.asarray(picture.convert("RGBA"))
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
        planes[:3] *= planes[3]
        return planes
    planes = _levels(level - 1)
    odd = [(0, 0), *((0, size % 2) for size in planes.shape[1:])]
    planes = np.pad(planes, odd, mode="edge")
    upper, lower = planes[:, ::2], planes[:, 1::2]
    quarter: Planes = (upper[..., ::2] + upper[..., 1::2] + lower[..., ::2] + lower[..., 1::2]) / np.float32(4)
    return quarter
