"""Draw source, two models' mattes and their amplified difference side by side, to compare them by eye."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters.artifact import Artifact
from parity_tests.clips import Clip, load_clip
from parity_tests.compare import FrameOutputs
from parity_tests.play import play_artifact, play_reference
from parity_tests.verify import auto_ratio, fit_size
from rvm_model.errors import UserError
from rvm_model.video.colour import SRGB
from rvm_model.video.frames import Properties
from rvm_model.video.sink import open_sink
from rvm_model.weights.checkpoint import Checkpoint
from tools.shared.console import stderr_console, working
from tools.shared.models import open_models
from tools.shared.outputs import OutputError, publish, refuse_existing
from tools.shared.pictures import Pixels, panels, strip
from tools.shared.sizes import parse_ratio

ROWS = 4
PANEL_WIDTH, GAP = 400, 2
FRAME_RATE = 24
"""Frames a second of a video. A clip is a sequence of images, which has no rate."""

Alpha = NDArray[np.floating]


class CompareError(UserError):
    """Models whose mattes cannot be compared. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The largest and the mean difference of two mattes in a frame, in [0, 1]."""

    largest: float
    mean: float


Row = tuple[Pixels, Gap]
"""A frame: its panels side by side, and the gap."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of `compare`.

    `clip` is an image folder or a video; None is the built-in clip. `frames` is the number of frames; None means 24,
    or 12 large ones. `downsample_ratio` is a number or `auto`; an artifact of one size has its own. The difference is
    multiplied by `amplify`. `output` ends in .png or .mp4; `force` replaces an existing one. `trust` opens files that
    are code.
    """

    trust: bool
    clip: Path | None
    frames: int | None
    downsample_ratio: str
    amplify: float
    output: Path
    force: bool


def compare_models(a: str, b: str, options: CompareOptions) -> Path:
    """Draw the picture or the video, and return its path. Print on stderr how much the mattes differ.

    Args:
        a: An artifact of any format, or a source of `load_checkpoint`.
        b: The other model.
        options: The clip to play, and the output.

    Raises:
        UserError: no such model, or one that cannot play this clip; a clip that cannot be read; an output that has
            another suffix, exists, or is one of the inputs.
        ExportFailed: the file could not be written.
    """
    writers = {".png": _write_png, ".mp4": _write_mp4}
    amplify, output = options.amplify, options.output
    _check(a, b, options, [*writers])
    console = stderr_console()
    models = open_models(a, b, trust=options.trust)
    clip, given = load_clip(options.clip, options.frames), parse_ratio(options.downsample_ratio)
    ratio = given
    for model in models:
        if isinstance(model, Artifact) and model.baked_ratio is not None:
            clip, ratio = fit_size(model, clip, given)
            if model.fixed is not None:
                break
    ratio = auto_ratio(clip) if ratio is None else ratio
    players = [
        play_artifact(model, *fit_size(model, clip, given if model.fixed else ratio))
        if isinstance(model, Artifact)
        else _play_checkpoint(model, clip, ratio)
        for model in models
    ]
    labels = ["source", *(Path(model).name for model in (a, b)), f"difference x{amplify:g}"]
    size = _panel_size(clip)
    gaps: list[Gap] = []

    def write(staged: Path) -> None:
        text = f"playing {len(clip)} frames"
        with working(console, text) as stage, closing(players[0]), closing(players[1]):

            def rows() -> Iterator[Row]:
                for k, (src, one, other) in enumerate(zip(clip, *players, strict=True)):
                    stage.update(text, f"frame {k + 1}")
                    yield _draw(src[0], _alpha(a, one), _alpha(b, other), amplify, size)

            gaps.extend(writers[output.suffix.lower()](staged, rows(), len(clip), strip(labels, 4 * (size[0] + GAP))))

    publish(output, write, lambda _: None, options.force)
    console.print(_words(gaps), soft_wrap=True)
    return output


def _check(a: str, b: str, options: CompareOptions, suffixes: list[str]) -> None:
    amplify, output = options.amplify, options.output
    if output.suffix.lower() not in suffixes:
        raise OutputError(f"{output} ends in none of {', '.join(suffixes)}; give a name that does")
    if not 0 < amplify < float("inf"):
        raise UserError(f"--amplify {amplify:g}: give a number above 0")
    try:
        place = output.resolve()
        for given in (a, b, options.clip):
            if given is not None and Path(given).exists() and Path(given).resolve() in (place, *place.parents):
                raise OutputError(f"{output} would overwrite {given}; give another --output")
        if output.is_dir():
            raise OutputError(f"{output} is a folder; give a file's name")
        refuse_existing(output, options.force)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {output}: {why}; give another --output") from error


def _play_checkpoint(checkpoint: Checkpoint, clip: Clip, ratio: float) -> Generator[FrameOutputs]:
    yield from play_reference(checkpoint.network(), clip, ratio)


def _alpha(model: str, outputs: FrameOutputs) -> Alpha:
    """Return the alpha of the first image, (1, H, W), in [0, 1]."""
    if "pha" not in outputs:
        raise CompareError(f"{model} was made without alpha, which is what is compared; give another file")
    alpha: Alpha = outputs["pha"][0]
    if not np.isfinite(alpha).all():
        raise CompareError(f"{model} gives values that are not finite, which cannot be drawn; see rvm-export verify")
    return alpha


def _draw(src: Alpha, one: Alpha, other: Alpha, amplify: float, size: tuple[int, int]) -> Row:
    """Draw a row and measure its gap. If the mattes differ in size, the second is resized to the first."""
    if one.shape != other.shape:
        other = _resized(other, one.shape)
    difference = np.abs(one.astype(np.float64) - other)
    row = panels([src, one.clip(0, 1), other.clip(0, 1), (difference * amplify).clip(0, 1)], size, GAP)
    return row, Gap(largest=float(difference.max()), mean=float(difference.mean()))


def _resized(alpha: Alpha, shape: tuple[int, ...]) -> Alpha:
    image = Image.fromarray(alpha[0].astype(np.float32))
    return np.asarray(image.resize((shape[2], shape[1]), Image.Resampling.BILINEAR))[None]


def _panel_size(clip: Clip) -> tuple[int, int]:
    """Return the width and height of a panel, both even, as videos require."""
    height, width = clip.size
    return PANEL_WIDTH, max(2, round(PANEL_WIDTH * height / width / 2) * 2)


def _write_png(path: Path, rows: Iterator[Row], count: int, heading: Pixels) -> list[Gap]:
    """Draw the last frame of each quarter of the clip: the first frames have no recurrent past yet."""
    shown = {(k + 1) * count // ROWS - 1 for k in range(ROWS)}
    kept, gaps = [], []
    for k, (row, gap) in enumerate(rows):
        gaps.append(gap)
        if k in shown:
            kept.append(row)
    words = strip([_words(gaps)], heading.shape[1])
    Image.fromarray(np.concatenate([heading, *kept, words])).save(path, optimize=True)
    return gaps


def _write_mp4(path: Path, rows: Iterator[Row], count: int, heading: Pixels) -> list[Gap]:
    gaps = []
    with ExitStack() as opened:
        sink = None
        for k, (row, gap) in enumerate(rows):
            gaps.append(gap)
            words = strip([f"frame {k + 1} of {count}: {_words([gap])}"], heading.shape[1])
            pixels = np.concatenate([heading, row, words])
            sink = sink or opened.enter_context(open_sink(path, _properties(pixels, count), alpha=False))
            sink.write(pixels, k)
    return gaps


def _properties(pixels: Pixels, count: int) -> Properties:
    return Properties(
        width=pixels.shape[1],
        height=pixels.shape[0],
        frame_rate=Fraction(FRAME_RATE),
        time_base=Fraction(1, FRAME_RATE),
        bits=8,
        colour=SRGB,
        frames=count,
        still=False,
    )


def _words(gaps: Sequence[Gap]) -> str:
    over = f" over {len(gaps)} frames" if len(gaps) > 1 else ""
    largest, mean = max(gap.largest for gap in gaps), sum(gap.mean for gap in gaps) / len(gaps)
    return f"alpha differs by {largest:.2g} at most, by {mean:.2g} on average{over}"
