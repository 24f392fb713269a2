"""Frames that need no file: a soft-edged figure that moves over a moving pattern, with noise and a scene cut."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def drawn_frames(frames: int, width: int, height: int, *, begin: float = 0, seed: int = 2108) -> Pixels:
    """(T, H, W, 3) RGB. The scene is cut after two thirds.

    Only exact arithmetic, so that it is the same on any machine. Figure and patterns grow with the frame, and keep
    their proportions whatever its own; the noise is of single pixels at every size. A figure of so many pixels at any
    size, or stretched with the frame, left trained weights unsure: all that rounds drifted ten times as far.

    Args:
        frames: How many.
        width: Of each, in pixels.
        height: Of each, in pixels.
        begin: When the first is drawn, in frames: at a half, each lies between two of those drawn from zero on.
        seed: Of the noise.
    """
    y, x = np.mgrid[:height, :width].astype(np.float64)
    noise = np.random.PCG64(seed)
    return np.array([_draw(begin + t, x, y, noise, cut=t >= frames * 2 // 3) for t in range(frames)])


def _draw(t: float, x: NDArray[np.float64], y: NDArray[np.float64], noise: np.random.PCG64, cut: bool) -> Pixels:
    # In pixels of the default size, as many of them as fit.
    unit = min(x.shape[1] / 320, x.shape[0] / 180)
    x, y = x / unit, y / unit
    if cut:
        tiles = ((x + 3 * t) // 24 + (y - t) // 24) % 2
        background = np.stack([60 + 90 * tiles, 140 - 60 * tiles, 190 - 0.4 * y], axis=-1)
    else:
        wave = np.abs((x + 0.5 * y + 2 * t) % 64 - 32) / 32
        background = np.stack([40 + 70 * wave, 110 + 60 * wave, 80 + 0.5 * x], axis=-1)
    # The figure, 320 by 180 in the middle of the lower edge: a head above shoulders, each an ellipse whose edge is four
    # pixels soft at the default size.
    x, y = x - (x.shape[1] / unit - 320) / 2, y - (x.shape[0] / unit - 180)
    centre = 320 * (0.35 + 0.012 * t) if not cut else 320 * (0.7 - 0.01 * t)
    head = ((x - centre) / (0.09 * 320)) ** 2 + ((y - 0.36 * 180) / (0.2 * 180)) ** 2
    body = ((x - centre) / (0.2 * 320)) ** 2 + ((y - 1.0 * 180) / (0.46 * 180)) ** 2
    alpha = np.clip((1.12 - np.minimum(head, body)) * 4, 0, 1)[..., None]
    skin = np.stack([220 - 0.25 * y, 170 - 0.3 * y, 140 - 0.3 * y], axis=-1)
    cloth = np.stack([90 + 0 * x, 50 + 0.2 * x, 120 + 80 * ((y // 6) % 2)], axis=-1)
    figure = np.where((head < body)[..., None], skin, cloth)
    raw = noise.random_raw(x.size * 3).reshape(*x.shape, 3) >> np.uint64(60)
    image = background + (figure - background) * alpha + (raw.astype(np.float64) - 7.5)
    pixels: Pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return pixels
