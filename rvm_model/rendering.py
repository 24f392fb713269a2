"""Two ways from a frame through the network to pixels: over full-size floats, or with the full-size steps fused."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from rvm_model.video.background import Background, blurred
from rvm_model.video.frames import Pixels
from rvm_model.video.pixels import to_floats, to_pixels

if TYPE_CHECKING:
    from rvm_model.fused import FusedStage

Kind = Literal["composition", "alpha", "foreground"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Images = NDArray[np.float32]

Play = Callable[[Images], tuple[Images, Images]]
"""A function from frames (T, 3, H, W), RGB in [0, 1], to their fgr (T, 3, H, W) and pha (T, 1, H, W).

It keeps the recurrent states, so frames must follow those of the call before. If the model was made without fgr or
pha, that output is empty, (T, 0, H, W).
"""


class Renderer(Protocol):
    """Renders the frames of one clip.

    `play` takes what `prepare` gives, stacked. `pixels` takes one frame of what `play` gives.
    """

    @property
    def play(self) -> Play: ...

    def prepare(self, pixels: Pixels) -> Images:
        """Return the network's input for a frame (H, W, 3)."""

    def pixels(self, kind: Kind, frame: Pixels, ours: tuple[Images, Images], look: "Look") -> NDArray[Any]:
        """Return an output's pixels in the frame's dtype: (H, W, 3), (H, W, 4) with alpha, or (H, W) for alpha."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """The look of compositions. Without a background they are transparent, perhaps premultiplied by their alpha.

    `seconds` is the frame's time.
    """

    background: Background | None
    premultiplied: bool
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatRenderer:
    """`play` gives foreground and alpha at full size."""

    play: Play

    def prepare(self, pixels: Pixels) -> Images:
        return to_floats(pixels)

    def pixels(self, kind: Kind, frame: Pixels, ours: tuple[Images, Images], look: Look) -> NDArray[Any]:
        fgr, pha = ours
        image = {"alpha": pha, "foreground": fgr}.get(kind)
        return to_pixels(_composition(frame, fgr, pha, look) if image is None else image, frame.dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class FusedRenderer:
    """`play` takes frames at the internal size, and gives the line's A and b, (T, 4, h, w) each."""

    play: Play
    stage: "FusedStage"

    def prepare(self, pixels: Pixels) -> Images:
        return self.stage.reduce(pixels)

    def pixels(self, kind: Kind, frame: Pixels, ours: tuple[Images, Images], look: Look) -> NDArray[Any]:
        A, b = ours
        if kind != "composition":
            return self.stage.finish(kind, frame, A, b)
        if look.background is None:
            return self.stage.finish("premultiplied" if look.premultiplied else "cutout", frame, A, b)
        if look.background is blurred:  # the only one that depends on the frame and its matte
            matte = self.stage.finish("matte", frame, A, b)
            return to_pixels(_composition(frame, matte[:3], matte[3:], look), frame.dtype)
        nothing = np.empty((0, 0, 0), np.float32)
        return self.stage.finish(kind, frame, A, b, look.background(nothing, nothing, look.seconds))


def _composition(frame: Pixels, fgr: Images, pha: Images, look: Look) -> Images:
    if look.background is None:
        return np.concatenate([fgr * (pha if look.premultiplied else pha > 0), pha])
    behind = look.background(to_floats(frame), pha, look.seconds)
    return behind + (fgr - behind) * pha
