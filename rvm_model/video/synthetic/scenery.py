"""Drawn backgrounds: soft shades under fine structure, which moves as if a camera turned.

All arithmetic is exact, as in `portrait.py`. Lengths are in units, of which 320 by 180 fit into a frame.
"""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]
Scene = Literal["net", "bricks"]


def scenery(scene: Scene, t: float, x: Planes, y: Planes) -> Planes:
    """Draw a part of a background.

    Args:
        scene: The background.
        t: Time in frames.
        x: (1, w), columns in units.
        y: (h, 1), rows in units.

    Returns: (3, h, w) in [0, 1].
    """
    return _net(t, x, y) if scene == "net" else _bricks(t, x, y)


def triangle(value: Planes) -> Planes:
    """Return 0 at whole numbers, 1 halfway between them, and linear values in between."""
    f = value - np.floor(value)
    f -= np.float32(0.5)
    np.abs(f, out=f)
    f *= np.float32(-2)
    f += np.float32(1)
    return f


def _net(t: float, x: Planes, y: Planes) -> Planes:
    """Draw a net of thin threads before a wall in changing light."""
    threads = np.maximum(_threads((x + y) + _number(1.5 * t), 11), _threads((x - y) + _number(0.5 * t), 11))
    light = triangle((x + y * _number(0.5) + _number(2 * t)) * _number(1 / 96))
    shades = ((0.20, 0.24, 0.0004), (0.36, 0.16, 0.0003), (0.34, 0.10, 0.0008))
    planes = np.empty((3, *light.shape), np.float32)
    for plane, (dark, bright, slope) in zip(planes, shades, strict=True):
        np.multiply(light, _number(bright), out=plane)
        plane += _number(dark) + x * _number(slope)
        plane += threads * _number(0.22)
    return planes


def _threads(across: Planes, distance: int) -> Planes:
    """Draw soft lines, a unit wide on each side, `distance` units apart."""
    lines = triangle(across * _number(1 / distance))
    lines -= _number(1 - 2 / distance)
    np.maximum(lines, np.float32(0), out=lines)
    lines *= _number(distance / 2)
    return lines


def _bricks(t: float, x: Planes, y: Planes) -> Planes:
    """Draw a wall of bricks, each of a shade of its own, with mortar between them."""
    x, y = x + _number(3 * t), y + _number(400 - t)
    course = np.floor(y * _number(1 / 11))
    along = x * _number(1 / 27) + triangle(course * _number(0.5)) * _number(0.5)
    brick = np.floor(along)
    shade = _brick_shades()[(brick.astype(np.int32) * 7 + course.astype(np.int32) * 29) % 256]
    up, side = y * _number(1 / 11) - course, along - brick
    # Distances to the nearest joint in units; the mortar is 1.6 units wide, and soft.
    joint = np.minimum(np.minimum(up, 1 - up) * _number(11), np.minimum(side, 1 - side) * _number(27))
    joint *= np.float32(-1)
    joint += _number(1.3)
    np.clip(joint, np.float32(0), np.float32(1), out=joint)
    colours = ((0.42, 0.30, 0.74), (0.34, 0.16, 0.72), (0.36, 0.10, 0.68))
    planes = np.empty((3, *joint.shape), np.float32)
    for plane, (dark, bright, mortar) in zip(planes, colours, strict=True):
        np.multiply(shade, _number(bright), out=plane)
        plane += _number(dark)
        plane += (_number(mortar) - plane) * joint
    return planes


@cache
def _brick_shades() -> Planes:
    raw = np.random.PCG64(27).random_raw(256) >> np.uint64(56)
    shades: Planes = raw.astype(np.float32) / np.float32(255)
    return shades


def _number(value: float) -> np.float32:
    return np.float32(value)
