"""Backgrounds of a composition: a colour, a picture, a video in a loop, or the source blurred."""

import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import ImageColor
from torch.nn import functional as F

from rvm_model.video.colour import VideoError
from rvm_model.video.pixels import Image, to_floats
from rvm_model.video.source import open_source

Background = Callable[[Image, Image, float], Image]
"""A function from a source frame (3, H, W), its alpha (1, H, W) and its time in seconds to the background:
(3, H, W) or (3, 1, 1), RGB in [0, 1].
"""

GREEN = "#78ff9b"
"""The released converter's (120, 255, 155)."""

BLUR = "blur"
_BLUR_SIDE = 1 / 40
"""Radius over the longer side: enough to make letters and faces in a room unreadable."""
_BLUR_PIXELS = 4
"""The radius in pixels of the small picture on which the blur runs."""


def open_background(what: str, width: int, height: int) -> Background:
    """Return a background for frames of a size.

    Args:
        what: `blur`; a colour as Pillow reads it (`green`, `#00ff00`, `rgb(0,255,0)`); or the path of a picture or a
            video. Those are scaled to fill the frame in their proportions, and cut at its edges. A video plays at its
            own speed.
        width: The frames' width, in pixels.
        height: The frames' height.

    Raises:
        VideoError: `what` is none of these, or its file cannot be read.
    """
    if what == BLUR:
        return blurred
    if not Path(what).exists():
        return _coloured(what)
    return _playing(Path(what), width, height)


def _coloured(name: str) -> Background:
    try:
        rgb = ImageColor.getcolor(name, "RGB")
    except ValueError as error:
        raise VideoError(
            f"no such background: {name}; give a colour (green, '#00ff00'), a picture, a video, or blur"
        ) from error
    colour = np.array(rgb, np.float32).reshape(3, 1, 1) / np.float32(255)
    return lambda *_: colour


def blurred(src: Image, pha: Image, _seconds: float) -> Image:
    """Return the frame out of focus, with the foreground left out: its colours make no halo around it."""
    height, width = src.shape[1:]
    scale = _BLUR_PIXELS / (_BLUR_SIDE * max(height, width))
    small = (max(round(height * scale), 1), max(round(width * scale), 1))
    share = torch.from_numpy(np.maximum(1 - pha, 1e-3))
    weighted = torch.cat([torch.from_numpy(src) * share, share])[None]
    weighted = F.interpolate(weighted, small, mode="area")
    for _ in range(3):  # three boxes are nearly a Gaussian
        weighted = F.avg_pool2d(weighted, 2 * (_BLUR_PIXELS // 2) + 1, 1, _BLUR_PIXELS // 2, count_include_pad=False)
    colour = F.interpolate(weighted[:, :3] / weighted[:, 3:], (height, width), mode="bilinear", align_corners=False)
    image: Image = colour[0].numpy()
    return image


def _playing(path: Path, width: int, height: int) -> Background:
    """Return a background that shows the frame of a video at a time, in a loop, or a picture at any time."""
    with open_source(path) as source:
        own = source.properties
    scale = max(width / own.width, height / own.height)
    scaled = max(math.ceil(own.width * scale), width), max(math.ceil(own.height * scale), height)
    frames = _frames(path, scaled, width, height, warn=True)
    (last, shown), coming, began = next(frames), next(frames, None), 0.0

    def play_until(time: float) -> None:
        nonlocal last, shown, coming
        while coming is not None and coming[0] <= time:
            (last, shown), coming = coming, next(frames, None)

    def background(_src: Image, _pha: Image, seconds: float) -> Image:
        nonlocal frames, coming, began
        play_until(seconds - began)
        length = last + float(1 / own.frame_rate)
        if coming is None and seconds - began >= length and not own.still:
            # Whole rounds are skipped: the timestamps of a clip may jump by years.
            time = (seconds - began) % length
            began, frames = seconds - time, _frames(path, scaled, width, height, warn=False)
            coming = next(frames)
            play_until(time)
        return shown

    return background


def _frames(path: Path, scaled: tuple[int, int], width: int, height: int, warn: bool) -> Iterator[tuple[float, Image]]:
    """Yield seconds from the first frame, and frames, cut to their middle."""
    left, top = (scaled[0] - width) // 2, (scaled[1] - height) // 2
    with open_source(path, resize=scaled) as source:
        first = None
        for frame in source:
            first = frame.pts if first is None else first
            seconds = float((frame.pts - first) * source.properties.time_base)
            yield seconds, to_floats(frame.pixels[top : top + height, left : left + width])
        if warn and source.loss is not None:
            warnings.warn(f"of the background, {source.loss}", stacklevel=2)
