"""Load the frames with which an exporter measures the range of a network's values, and record them in the file.

A file is never judged on frames that it was calibrated with. Its metadata holds their hashes, and the harness checks
them.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters.spec import Fixed
from rvm_model.errors import UserError
from rvm_model.video.pixels import to_8_bits
from rvm_model.video.source import open_source
from rvm_model.video.synthetic.clip import draw_frames

BUILTIN = "builtin"
FRAMES = 16

_BUILTIN_SIZE = 640, 360
_FRAMES_KEY = "calibration_frames"


class CalibrationError(UserError):
    """The clip is not usable for calibration. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """The frames of a clip: `pixels` (T, H, W, 3) RGB, uint8, at the clip's own size."""

    name: str
    pixels: NDArray[np.uint8]

    def fitted(self, fixed: Fixed | None) -> NDArray[np.uint8]:
        """Return the frames at the file's one size, if it has one, resized by Pillow's bicubic filter."""
        if fixed is None or self.pixels.shape[1:3] == (fixed.height, fixed.width):
            return self.pixels
        size = fixed.width, fixed.height
        return np.array(
            [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)) for frame in self.pixels]
        )

    def metadata(self) -> dict[str, str]:
        """Return the file's metadata: the clip's name, no path, and a hash of each frame that is not of one colour."""
        return {"calibration": self.name, _FRAMES_KEY: " ".join(map(_hash, filter(_shows_something, self.pixels)))}


def load_calibration(clip: str, fixed: Fixed | None) -> Calibration:
    """Load the first frames of a clip.

    Args:
        clip: A video or a folder of pictures; or `builtin`, frames drawn for calibration, which no other clip has.
        fixed: The file's one size, or None. `builtin` is drawn at that size.

    Raises:
        CalibrationError: there are too few frames, or all are alike.
        VideoError: the clip cannot be read.
    """
    if clip == BUILTIN:
        width, height = _BUILTIN_SIZE if fixed is None else (fixed.width, fixed.height)
        # Later in the figure's motion than the clip that files are judged on, and with other noise.
        return Calibration(name="built-in", pixels=draw_frames(FRAMES, width, height, begin=30.5, seed=608))
    path = Path(clip)
    with open_source(path, max_frames=FRAMES) as source:
        frames = [to_8_bits(frame.pixels) for frame in source]
    if source.loss is not None:
        raise CalibrationError(source.loss)
    if len(frames) < FRAMES:
        raise CalibrationError(
            f"{path} has {len(frames)} frames, and calibration takes {FRAMES}; give a longer clip, or {BUILTIN}"
        )
    if all(np.array_equal(frame, frames[0]) for frame in frames):
        raise CalibrationError(
            f"the first {FRAMES} frames of {path} are all alike; give a clip that moves, or {BUILTIN}"
        )
    # A file name may be bytes that are not text.
    return Calibration(name=os.fsencode(path.resolve().name).decode(errors="replace"), pixels=np.array(frames))


def calibrated_with(metadata: Mapping[str, str], frames: Iterable[NDArray[np.uint8]]) -> bool:
    """Return True if a file was calibrated with one of these frames, (H, W, 3) RGB."""
    known = {*metadata.get(_FRAMES_KEY, "").split()}
    return bool(known) and any(_hash(frame) in known for frame in frames if _shows_something(frame))


def _shows_something(frame: NDArray[np.uint8]) -> bool:
    """Return False for a frame of one colour, as the first frames of many clips are."""
    return bool((frame != frame[:1, :1]).any())


def _hash(frame: NDArray[np.uint8]) -> str:
    height, width, _ = frame.shape
    return hashlib.sha256(f"{width}x{height} ".encode() + frame.tobytes()).hexdigest()[:16]
