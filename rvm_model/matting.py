"""Matting of a clip. Three threads read, matte and write at the same time, with a few frames in memory."""

import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from rvm_model.full_size import fitted
from rvm_model.network.matting_network import MattingNetwork
from rvm_model.rendering import FloatRenderer, Images, Kind, Look, Play, Renderer
from rvm_model.state import auto_downsample_ratio
from rvm_model.video.background import GREEN, Background, open_background
from rvm_model.video.colour import VideoError
from rvm_model.video.frames import Source, TimedFrame
from rvm_model.video.places import check_places
from rvm_model.video.prefetch import ahead
from rvm_model.video.progress import frames_progress
from rvm_model.video.sink import Sink, open_sink
from rvm_model.video.source import open_source

_CHUNKS_AHEAD = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chunk:
    """Frames that go through the network together."""

    frames: list[TimedFrame]
    src: Images


def matte_source(
    source: Source,
    renderer: Renderer,
    sinks: Mapping[Kind, Sink],
    background: Background | None,
    seq_chunk: int = 1,
    on_frames: Callable[[int], object] = lambda _: None,
    premultiplied: bool = False,
    keep_names: bool = False,
    model: str = "the model",
) -> None:
    """Matte a source to its end, or to the first damage, and write to all sinks.

    Args:
        source: Read in a thread of its own.
        renderer: Prepares frames in the source's thread, plays in another, and gives pixels in the calling thread.
        sinks: Written to in the calling thread. `composition` gets (H, W, 3); without a background it gets fgr and
            pha, (H, W, 4).
        background: Behind the composition.
        seq_chunk: Frames that go through the network together.
        on_frames: Called with the number of frames written since its last call.
        premultiplied: Multiply the colours of a transparent composition by its alpha.
        keep_names: Give pictures in a folder the names of the source's pictures, if it has any.
        model: The model's name in an error.

    Raises:
        VideoError: the model returns values that are not finite, or a sink cannot be written to.
    """
    first = None
    with (
        closing(ahead(_chunks(source, renderer, seq_chunk), _CHUNKS_AHEAD)) as chunks,
        closing(ahead(_played(chunks, renderer.play, model), _CHUNKS_AHEAD)) as played,
    ):
        for chunk, outputs in played:
            for frame, *ours in zip(chunk.frames, *outputs, strict=True):
                first = frame.pts if first is None else first
                seconds = float((frame.pts - first) * source.properties.time_base)
                look = Look(background=background, premultiplied=premultiplied, seconds=seconds)
                for kind, sink in sinks.items():
                    pixels = renderer.pixels(kind, frame.pixels, (ours[0], ours[1]), look)
                    sink.write(pixels, frame.pts, frame.name if keep_names else None)
            on_frames(len(chunk.frames))
    for sink in sinks.values():  # finish all before any gets its final name
        sink.finish()


def _chunks(source: Source, renderer: Renderer, length: int) -> Generator[_Chunk]:
    frames = iter(source)
    while chunk := [*islice(frames, length)]:
        yield _Chunk(frames=chunk, src=np.stack([renderer.prepare(frame.pixels) for frame in chunk]))


def _played(chunks: Iterator[_Chunk], play: Play, model: str) -> Generator[tuple[_Chunk, tuple[Images, Images]]]:
    for chunk in chunks:
        mattes = play(chunk.src)
        if not all(np.isfinite(images).all() for images in mattes):
            raise VideoError(f"{model} gives values that are not finite, which cannot be drawn; see rvm-export verify")
        yield chunk, mattes


def network_play(model: torch.nn.Module, ratio: float, device: torch.device, dtype: torch.dtype) -> Play:
    """Return a `Play` of a `MattingNetwork`, or of a module with its signature, from the first frame of a clip."""
    states: list[torch.Tensor | None] = [None] * 4

    def play(src: Images) -> tuple[Images, Images]:
        nonlocal states
        with torch.inference_mode():
            fgr, pha, *states = model(torch.from_numpy(src).to(device, dtype)[None], *states, ratio)
            return fgr[0].float().cpu().numpy(), pha[0].float().cpu().numpy()

    return play


def line_play(network: MattingNetwork, ratio: float) -> Play:
    """Return the `play` of a `FusedRenderer` for a network in float32 on the CPU, from the first frame of a clip."""
    states: list[torch.Tensor | None] = [None] * 4
    refines = ratio != 1 or network.refine == "always"

    def play(src: Images) -> tuple[Images, Images]:
        nonlocal states
        with torch.inference_mode():
            A, b, *after = fitted(network, torch.from_numpy(src), states, refines)
            states = [*after]
            return A.numpy(), b.numpy()

    return play


def convert_video(
    model: torch.nn.Module,
    input_source: str | Path,
    input_resize: tuple[int, int] | None = None,
    downsample_ratio: float | None = None,
    output_type: str = "video",
    output_composition: str | Path | None = None,
    output_alpha: str | Path | None = None,
    output_foreground: str | Path | None = None,
    output_video_mbps: float | None = None,
    seq_chunk: int = 1,
    num_workers: int = 0,  # noqa: ARG001 - the released signature has it
    progress: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Matte a video or an image folder, with the released converter's signature. Existing outputs are overwritten.

    Args:
        model: A `MattingNetwork`, or one loaded from TorchScript; on its device, in its dtype.
        input_source: A video file, a picture, or a folder of pictures.
        input_resize: Width and height to resize the frames to; outputs have that size too.
        downsample_ratio: In (0, 1]; by default the ratio that brings the longer side to at most 512 pixels.
        output_type: `video`, or `png_sequence` for folders.
        output_composition: File for the foreground over green, or folder for the foreground with alpha.
        output_alpha: File or folder for the alpha.
        output_foreground: File or folder for the foreground, which is not premultiplied.
        output_video_mbps: Bit rate of videos in Mbit/s; by default a constant quality.
        seq_chunk: Frames that go through the network together.
        num_workers: Ignored: one thread always reads ahead.
        progress: Show progress on stderr.
        device: The model's device; required if the model has no parameters, such as a frozen one.
        dtype: The model's dtype; required likewise.

    Raises:
        ValueError: no output, or an invalid option.
        VideoError: an input cannot be read, or an output cannot be written. No output is left behind.
        UserWarning: (a warning) the input is damaged. The frames before the damage are written.
    """
    given: dict[Kind, str | Path | None] = {
        "composition": output_composition,
        "alpha": output_alpha,
        "foreground": output_foreground,
    }
    outputs: dict[Kind, Path] = {kind: Path(path) for kind, path in given.items() if path is not None}
    if not outputs:
        raise ValueError("give at least one of output_composition, output_alpha, output_foreground")
    if output_type not in ("video", "png_sequence"):
        raise ValueError(f"output_type is {output_type!r}; give 'video' or 'png_sequence'")
    if downsample_ratio is not None and not 0 < downsample_ratio <= 1:
        raise ValueError(f"downsample_ratio is {downsample_ratio}; give a number in (0, 1], or None")
    if seq_chunk < 1:
        raise ValueError(f"seq_chunk is {seq_chunk}; give 1 or more")
    for path in outputs.values():
        if (path.suffix == "") != (output_type == "png_sequence"):
            raise ValueError(
                f"{path} is no output of type {output_type}: videos have a suffix, folders of PNG have none"
            )
    check_places([Path(input_source)], [*outputs.values()])
    parameter = next(iter(model.parameters()), None)
    if parameter is not None:
        device, dtype = device or parameter.device, dtype or parameter.dtype
    if device is None or dtype is None:
        raise ValueError("the model has no parameters to tell its device and dtype; give both")
    model.eval()
    with ExitStack() as stack:
        source = stack.enter_context(open_source(Path(input_source), resize=input_resize))
        own = source.properties
        ratio = auto_downsample_ratio(own.height, own.width) if downsample_ratio is None else downsample_ratio
        play = network_play(model, ratio, torch.device(device), dtype)
        with_alpha = output_type == "png_sequence"
        sinks = {
            kind: stack.enter_context(
                open_sink(
                    path,
                    own,
                    alpha=with_alpha and kind == "composition",
                    grey=kind == "alpha",
                    mbps=output_video_mbps,
                    tracks=source.tracks,
                )
            )
            for kind, path in outputs.items()
        }
        background = None if with_alpha else open_background(GREEN, own.width, own.height)
        on_frames = stack.enter_context(frames_progress(source.path.name, own.frames, progress))
        matte_source(source, FloatRenderer(play=play), sinks, background, seq_chunk, on_frames)
        if source.loss:
            warnings.warn(source.loss, stacklevel=2)
