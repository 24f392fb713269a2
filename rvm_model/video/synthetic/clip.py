"""Frames that need no file: a person who moves over drawn backgrounds, with the alpha and foreground they are made of.

Every 24 frames tell one story. It begins with a person before a net, who is joined by another. Frame 10 is a cut to a
wall of bricks with nobody before it. From frame 11 on a person comes in from the side. Frame t is the same in a clip of
any length.

The arithmetic is exact, so that frames are the same on any machine; see `portrait.py`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rvm_model.video.synthetic.portrait import HEIGHT, WIDTH, Layer, Placement, person_layer
from rvm_model.video.synthetic.scenery import Scene, scenery

Pixels = NDArray[np.uint8]

VERSION = 1
"""The version of the drawing. Raise it whenever a pixel changes."""

SEED = 2108
STORY, CUT = 24, 10

_BAND_ROWS = 64
_NOISE_STEPS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnFrame:
    """`image`: (H, W, 3) RGB. `pha`: (H, W), float32 in [0, 1]. `fgr`: (3, H, W), float32 in [0, 1], 0 where `pha` is.

    Before it is rounded, `image` is 255 * (fgr * pha + bgr * (1 - pha)) and noise of less than 8.
    """

    image: Pixels
    pha: NDArray[np.float32]
    fgr: NDArray[np.float32]


def draw_frames(frames: int, width: int, height: int, *, begin: float = 0, seed: int = SEED) -> Pixels:
    """Draw the images of successive frames, (T, H, W, 3) RGB. Arguments as those of `draw_frame`, from `begin` on."""
    return np.array([draw_frame(begin + t, width, height, seed=seed).image for t in range(frames)])


def draw_frame(t: float, width: int, height: int, *, seed: int = SEED) -> DrawnFrame:
    """Draw one frame.

    Person and backgrounds scale with the frame, and keep their own proportions. Noise is of single pixels at every
    size.

    Args:
        t: Time in frames, from 0 on; a multiple of a half. No clip shows the frames between whole numbers.
        width: In pixels.
        height: In pixels.
        seed: Of the noise.
    """
    pha = np.zeros((height, width), np.float32)
    fgr = np.zeros((3, height, width), np.float32)
    for place in _placements(t, width, height):
        layer = person_layer(place, width, height)
        if layer is not None:
            _lay_over(fgr, pha, layer)
    image = _compose(_scene(t), t, fgr, pha, seed)
    some = pha > 0
    # Up to here it is multiplied by alpha.
    np.divide(fgr, pha, out=fgr, where=some)
    np.minimum(fgr, np.float32(1), out=fgr)
    return DrawnFrame(image=image, pha=pha, fgr=fgr)


def _scene(t: float) -> Scene:
    return "net" if t % STORY < CUT else "bricks"


def _placements(t: float, width: int, height: int) -> list[Placement]:
    """Return where persons stand, the rearmost first."""
    moment, story = t % STORY, t // STORY
    if int(moment) == CUT:
        return []
    turned = bool(story % 2)
    if moment < CUT:
        first = _placement(
            t, width, height, centre=112 + 46 * _swing(t / 30), size=0.45, sway=_swing(t / 26), mirrored=turned
        )
        comes_in = max(352 - 14 * moment, 262)
        second = _placement(
            t + 9,
            width,
            height,
            centre=comes_in,
            size=0.27,
            sway=_swing(t / 18),
            mirrored=not turned,
        )
        return [second, first]
    entrance = max(CUT + 4 - moment, 0) * 62
    centre = 186 - 50 * _swing(t / 34) + entrance
    return [_placement(t, width, height, centre=centre, size=0.48, sway=_swing(t / 22 + 0.3), mirrored=not turned)]


def _placement(
    t: float, width: int, height: int, *, centre: float, size: float, sway: float, mirrored: bool
) -> Placement:
    """Return the place of a person in pixels.

    Args:
        t: Time in frames.
        width: Of the frame.
        height: Of the frame.
        centre: Of the picture, in units from the left of the 320 by 180 in the middle of the frame's lower edge.
        size: Units for one pixel of the picture.
        sway: From 0 to 1: nearer to the camera, and higher.
        mirrored: As in `Placement`.
    """
    unit = _unit(width, height)
    scale = size * (0.94 + 0.12 * sway)
    left = width / 2 + (centre - 160 - scale * WIDTH / 2) * unit
    top = height - (scale * HEIGHT - 8 + 6 * sway) * unit
    glow, warmth = 0.80 + 0.25 * _swing(t / 21 + 0.4), 0.06 * _swing(t / 17)
    return Placement(
        left=left,
        top=top,
        scale=scale * unit,
        usual_scale=size * unit,
        mirrored=mirrored,
        light=(glow + warmth, glow, glow - warmth),
        wind=10 * _swing(t / 5) - 5,
    )


def _unit(width: int, height: int) -> float:
    return min(width / 320, height / 180)


def _swing(value: float) -> float:
    """Return 0 at whole numbers, 1 halfway between them, and go straight from one to the other."""
    return 1 - abs(value % 1 - 0.5) * 2


def _lay_over(fgr: NDArray[np.float32], pha: NDArray[np.float32], layer: Layer) -> None:
    """Lay a person over those that are there; `fgr` is multiplied by `pha`."""
    rest = 1 - layer.pha
    where = layer.rows, layer.columns
    pha[where] *= rest
    pha[where] += layer.pha
    fgr[:, *where] *= rest
    fgr[:, *where] += layer.colour


def _compose(scene: Scene, t: float, fgr: NDArray[np.float32], pha: NDArray[np.float32], seed: int) -> Pixels:
    """Lay persons over the background and add noise, in bands of rows that fit a processor's cache."""
    height, width = pha.shape
    unit = np.float32(_unit(width, height))
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5))[None] / unit
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5))[:, None] / unit
    noise = np.random.PCG64([seed, int(2 * t)])
    image = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BAND_ROWS):
        rows = slice(top, top + _BAND_ROWS)
        band = scenery(scene, t, x, y[rows])
        band *= 1 - pha[rows]
        band += fgr[:, rows]
        band *= np.float32(255)
        band += _noise(noise, band.shape)
        np.rint(band, out=band)
        np.clip(band, np.float32(0), np.float32(255), out=band)
        image[rows] = band.astype(np.uint8).transpose(1, 2, 0)
    return image


def _noise(source: np.random.PCG64, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Draw from sixteen values, from -7.5 to 7.5 and equally likely."""
    count = int(np.prod(shape))
    raw = source.random_raw(-(-count // 8)).astype("<u8", copy=False).view(np.uint8)[:count]
    steps: NDArray[np.float32] = (raw >> 4).astype(np.float32)
    steps -= np.float32((_NOISE_STEPS - 1) / 2)
    return steps.reshape(shape)
