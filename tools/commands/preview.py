"""Draw the middle frame of a clip at three downsample ratios, to choose one from."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from exporters.artifact import Artifact
from exporters.spec import Fixed
from rvm_model.errors import UserError
from rvm_model.rendering import Images
from rvm_model.state import auto_downsample_ratio, internal_size
from rvm_model.video.background import GREEN, open_background
from rvm_model.video.colour import VideoError
from rvm_model.video.deinterlace import Deinterlace
from rvm_model.video.frames import Properties, Source, TimedFrame
from rvm_model.video.pixels import to_floats
from rvm_model.video.places import check_places
from rvm_model.video.source import open_source
from tools.shared.console import stderr_console, working
from tools.shared.models import Model, open_model, play_model
from tools.shared.outputs import OutputError, publish, refuse_existing, refuse_place
from tools.shared.pictures import panels, strip

STEP = 1.6
"""Between two ratios: as between the released table's for portraits and those for full bodies."""

_BEFORE = 12
"""Frames before the middle one, which fill the recurrent states."""

_PANEL_WIDTH, _GAP = 640, 2


class PreviewError(UserError):
    """A clip, a model and options that give no preview. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True)
class PreviewOptions:
    """Options of `matte --preview`, as those of `matte` with the same names."""

    model: str
    trust: bool = False
    background: str | None = None
    downsample_ratio: float | None = None
    resize: tuple[int, int] | None = None
    device: str = "cpu"
    start: float = 0
    end: float | None = None
    max_frames: int | None = None
    sdr: bool = False
    deinterlace: Deinterlace = "auto"
    force: bool = False


def preview(clip: Path, output: Path, options: PreviewOptions) -> Path:
    """Draw the compositions of a clip's middle frame, and the alphas below. Return the path of the picture.

    Args:
        clip: A video, a folder of pictures, or a picture.
        output: A name that ends in .png.
        options: Size, part and background. A given ratio is the middle one of the three.

    Raises:
        UserError: a clip, a model or an output that cannot be used, or a model that has one ratio only.
        ExportFailed: the picture cannot be written.
    """
    if output.suffix.lower() != ".png":
        raise OutputError(f"--preview {output}: give a name that ends in .png")
    given = [Path(name) for name in (options.model, options.background) if name and Path(name).exists()]
    check_places([clip, *given], [output])
    refuse_place(output)
    refuse_existing(output, options.force)
    model = open_model(options.model, trust=options.trust)
    _check_model(model)
    frames, own = _middle(clip, options)
    ratios = three_ratios(own.height, own.width, options.downsample_ratio)
    for ratio in ratios:
        Fixed(width=own.width, height=own.height, ratio=ratio, batch=1).refuse_beyond_memory()
    behind = open_background(options.background or GREEN, own.width, own.height)
    compositions, alphas = [], []
    with working(stderr_console(), f"matting {len(frames)} frames of {clip.name}") as stage:
        for ratio in ratios:
            stage.update(f"matting {len(frames)} frames of {clip.name} at ratio {ratio:g}")
            src, fgr, pha = _matted(frames, model, options.device, ratio)
            if not (np.isfinite(fgr).all() and np.isfinite(pha).all()):
                raise PreviewError(
                    f"{options.model} gives values that are not finite, which cannot be drawn; see rvm-export verify"
                )
            ground = behind(src, pha, 0)
            compositions.append((ground + (fgr - ground) * pha).clip(0, 1))
            alphas.append(pha.clip(0, 1))
    width = min(own.width, _PANEL_WIDTH)
    size = width, max(1, round(width * own.height / own.width))
    rows = [panels(compositions, size, _GAP), panels(alphas, size, _GAP)]
    picture = np.concatenate([strip(_labels(own, ratios), rows[0].shape[1]), *rows])
    publish(output, lambda path: Image.fromarray(picture).save(path, "PNG"), lambda _: None, options.force)
    return output


def three_ratios(height: int, width: int, middle: float | None) -> list[float]:
    """Return three ratios in (0, 1], ascending: `middle`, or that of auto, and those around it or below it.

    Raises:
        UserError: the frame is so small that one of them leaves no pixel.
    """
    ratio = auto_downsample_ratio(height, width) if middle is None else middle
    ratios = [ratio / STEP, ratio, ratio * STEP] if ratio * STEP <= 1 else [ratio / STEP**2, ratio / STEP, ratio]
    ratios = [round(each, 3) for each in ratios]
    for each in ratios:
        try:
            internal_size(height, width, each)
        except ValueError as error:
            raise PreviewError(f"{error}; leave --preview out, or give a larger --downsample-ratio") from error
    return ratios


def _check_model(model: Model) -> None:
    if not isinstance(model, Artifact):
        return
    if model.baked_ratio is not None:
        raise PreviewError(f"{model.path} has the ratio {model.baked_ratio:g} baked in, which leaves nothing to choose")
    missing = sorted({"fgr", "pha"} - model.mattes)
    if missing:
        raise PreviewError(f"{model.path} was made without {' and '.join(missing)}, which --preview needs")


def _middle(clip: Path, options: PreviewOptions) -> tuple[list[TimedFrame], Properties]:
    """Return the middle frame of the requested part, after some that come before it, and the source's properties."""

    def opened(start: float, max_frames: int | None) -> AbstractContextManager[Source]:
        return open_source(clip, options.resize, start, options.end, max_frames, options.sdr, options.deinterlace)

    with opened(options.start, options.max_frames) as source:
        own = source.properties
        count = own.frames or sum(1 for _ in source)
    first = max(0, count // 2 - _BEFORE)
    frames = count // 2 - first + 1
    try:
        with opened(float(Fraction(options.start) + first / own.frame_rate), frames) as source:
            return [*source], own
    except VideoError:  # it ends before what it declares
        with opened(options.start, frames) as source:
            return [*source], own


def _matted(frames: Sequence[TimedFrame], model: Model, device: str, ratio: float) -> tuple[Images, Images, Images]:
    """Return src, fgr (3, H, W) and pha (1, H, W) of the last frame."""
    with play_model(model, device, ratio) as play:
        for frame in frames:
            src = to_floats(frame.pixels)[None]
            fgr, pha = play(src)
    return src[0], fgr[0], pha[0]


def _labels(own: Properties, ratios: Sequence[float]) -> list[str]:
    sizes = [internal_size(own.height, own.width, ratio) for ratio in ratios]
    return [
        f"--downsample-ratio {ratio:g}: {width}x{height} pixels"
        for ratio, (height, width) in zip(ratios, sizes, strict=True)
    ]
