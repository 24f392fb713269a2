"""Matte videos, image folders and pictures with any exported file or checkpoint."""

import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from exporters.artifact import Artifact
from exporters.spec import Fixed
from rvm_model.errors import UserError
from rvm_model.files import leads_out
from rvm_model.matting import matte_source
from rvm_model.rendering import Kind
from rvm_model.state import auto_downsample_ratio, internal_size
from rvm_model.video.background import GREEN, open_background
from rvm_model.video.deinterlace import Deinterlace
from rvm_model.video.encoders import CONTAINERS, holds_alpha
from rvm_model.video.frames import Properties
from rvm_model.video.hdr import hdr_name
from rvm_model.video.pictures import IMAGE_SUFFIXES
from rvm_model.video.places import check_places
from rvm_model.video.progress import frames_progress
from rvm_model.video.sink import open_sink
from rvm_model.video.source import open_source
from tools.jobs.processes import default_processes
from tools.jobs.records import fingerprint, forget, made, others, remember
from tools.jobs.runner import Job, run_jobs, to_table
from tools.jobs.seals import seal_key
from tools.shared.console import say_error, stderr_console
from tools.shared.models import Model, open_model, open_renderer
from tools.shared.outputs import refuse_existing

VIDEO_SUFFIXES = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv")
PLACEHOLDER = "{name}"
_NEEDED: dict[Kind, set[str]] = {"composition": {"fgr", "pha"}, "alpha": {"pha"}, "foreground": {"fgr"}}
_LARGE = 1_000_000_000
_JOB_MEMORY = 3_000_000_000
"""Bytes of memory to reserve for one clip's process.

At 1920x1080, ratio .25, blurred, with alpha, an ONNX file took 1.4e9, a checkpoint 1.6e9, a SavedModel 1.8e9.
"""


class MatteError(UserError):
    """An input, a model and outputs that do not fit together. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True)
class MatteOptions:
    """Options of `matte` for all inputs. Sizes are (width, height) in pixels, times in seconds.

    `trust` opens a model that is code.
    """

    model: str
    trust: bool = False
    background: str | None = None
    downsample_ratio: float | None = None
    resize: tuple[int, int] | None = None
    seq_chunk: int = 1
    device: str = "cpu"
    start: float = 0
    end: float | None = None
    max_frames: int | None = None
    codec: str | None = None
    quality: int | None = None
    mbps: float | None = None
    bits: int | None = None
    sdr: bool = False
    deinterlace: Deinterlace = "auto"
    premultiplied: bool = False


def matte_all(
    inputs: Sequence[Path],
    outputs: Mapping[Kind, str],
    options: MatteOptions,
    force: bool = False,
    processes: int | None = None,
    cluster: str | None = None,
) -> int:
    """Matte all inputs and return the exit code.

    The code is 2 if an input could not be used, else 1 if one was damaged or failed, else 0. A single input runs in
    this process, with a progress bar. Several run as jobs, each tried at most twice. An input is skipped if its outputs
    exist and were made from the same input, model and options.

    Args:
        inputs: Videos, pictures, folders of pictures, folders of videos.
        outputs: A path for each wanted kind. For several inputs it contains `{name}`, which becomes the input's name.
        options: The options of all inputs.
        force: Replace existing outputs.
        processes: Inputs to matte at a time; by default as many as cores and memory allow.
        cluster: The address of a Dask scheduler, to run the jobs there.

    Raises:
        UserError: the inputs, outputs or options cannot be used. No input was started.
    """
    if not outputs:
        raise MatteError("nothing to write; give at least one of --composition, --alpha, --foreground")
    _check_options(options, outputs)
    _check_model(open_model(options.model, trust=options.trust), outputs, options)
    clips = [clip for path in inputs for clip in _clips(path)]
    for path in (*clips, *_files(options)):
        _check_regular(path)
    plans = {clip: _paths(clip, outputs, several=len(clips) > 1) for clip in clips}
    read = {*inputs, *clips, *_files(options)}
    check_places([*read], [path for paths in plans.values() for path in paths.values()])
    if clips == [*inputs] and len(clips) == 1 and cluster is None:
        loss = _run_here(clips[0], plans[clips[0]], options, force)
        return say_error(_told(loss), 1) if loss else 0
    jobs = [_job(clip, paths, options, force) for clip, paths in plans.items()]
    for job in jobs:
        _refuse_others(job, force)
    results = run_jobs(jobs, processes or default_processes(len(jobs), _JOB_MEMORY), cluster)
    stderr_console().print(to_table(results))
    losses = [result.value for result in results if result.value]
    for loss in losses:
        say_error(_told(loss), 1)
    return max([1 if losses else 0, *(result.code for result in results)])


def _refuse_others(job: Job, force: bool) -> None:
    """Raise OutputError if an output exists that such a job did not make, and `force` is off."""
    if force:
        forget(job.files)
    for path in others(job.files, job.made_from):
        refuse_existing(path, force)


def _run_here(clip: Path, paths: Mapping[Kind, Path], options: MatteOptions, force: bool) -> str | None:
    """Matte one clip in this process, unless it is made already. Return what `matte_one` returns.

    If no output exists, the inputs are hashed afterwards: work begins at once, and a clip that cannot be read costs
    nothing. Inputs that have changed meanwhile are not recorded.
    """
    job, replaced = None, []
    if any(os.path.lexists(path) for path in paths.values()):
        job = _job(clip, paths, options, force)
        _refuse_others(job, force)
        record = made(job.files, job.made_from) if job.made_from else None
        if record is not None:
            stderr_console().print(f"skipped {clip}, which is made already", soft_wrap=True)
            return record.said
        replaced = [path for path in paths.values() if force or path.exists()]
        forget(job.files)
    before = _stamps(clip, options)
    loss = matte_one(clip, paths, options, replace=replaced)
    with suppress(OSError, MatteError):  # the outputs are whole, whether or not this can be recorded
        job = job or _job(clip, paths, options, force)
        if job.made_from and before == _stamps(clip, options):
            remember(job.files, job.made_from, loss, seal_key(job.made_from))
    return loss


def _stamps(clip: Path, options: MatteOptions) -> dict[Path, tuple[int, ...]]:
    """Return what changes with the inputs, for each of their files."""
    with suppress(OSError):
        files = (file for path in (clip, *_files(options)) for file in (path.rglob("*") if path.is_dir() else [path]))
        return {file: (status.st_size, status.st_mtime_ns, status.st_ino) for file in files for status in [file.stat()]}
    return {}


def matte_one(
    clip: Path,
    paths: Mapping[Kind, Path],
    options: MatteOptions,
    progress: bool = True,
    replace: Collection[Path] = (),
) -> str | None:
    """Matte one clip. Return None, or one line about the part that could not be decoded.

    The outputs in `replace` replace what has their name. Others do not, even if it appears meanwhile.

    Raises:
        UserError: the clip cannot be read, its size does not suit the model, or an output cannot be written. No output
            is left.
    """
    model = open_model(options.model, trust=options.trust)
    with ExitStack() as stack:
        window = options.resize, options.start, options.end, options.max_frames, options.sdr, options.deinterlace
        source = stack.enter_context(open_source(clip, *window))
        own = source.properties
        _say_hdr(clip, own, paths)
        ratio = _ratio(clip, own.width, own.height, options, model)
        renderer = stack.enter_context(open_renderer(model, options.device, ratio, own.height, own.width))
        suffixes = {path.suffix.lower() for kind, path in paths.items() if kind == "composition"}
        transparent = options.background is None and all(map(holds_alpha, suffixes))
        behind = None if transparent else open_background(options.background or GREEN, own.width, own.height)
        sinks = {}
        for kind, path in paths.items():
            is_video = path.suffix.lower() in CONTAINERS
            sinks[kind] = stack.enter_context(
                open_sink(
                    path,
                    own,
                    alpha=kind == "composition" and transparent,
                    grey=kind == "alpha",
                    codec=options.codec if is_video else None,
                    quality=options.quality if is_video else None,
                    mbps=options.mbps if is_video else None,
                    bits=options.bits if is_video else None,
                    tracks=source.tracks,
                    replace=path in replace,
                )
            )
        on_frames = stack.enter_context(frames_progress(clip.name, own.frames, progress))
        matte_source(
            *(source, renderer, sinks, behind, options.seq_chunk, on_frames, options.premultiplied),
            keep_names=True,
            model=options.model,
        )
        if source.interlaced and options.deinterlace == "off":
            warnings.warn(f"{clip} is interlaced, and so are its mattes; leave --deinterlace off out", stacklevel=2)
        return source.loss


def _say_hdr(clip: Path, own: Properties, paths: Mapping[Kind, Path]) -> None:
    transfer = hdr_name(own.colour.transfer)
    if transfer and any(kind != "alpha" and path.suffix.lower() in CONTAINERS for kind, path in paths.items()):
        warnings.warn(
            f"{clip} is HDR ({transfer}), and so are its outputs; players without HDR show them pale; "
            "give --hdr sdr to map it",
            stacklevel=2,
        )


def _check_options(options: MatteOptions, outputs: Mapping[Kind, str]) -> None:
    """Raise UserError for options that are wrong for any clip."""
    if options.seq_chunk < 1:
        raise MatteError(f"--seq-chunk {options.seq_chunk}: give 1 or more frames")
    if options.bits not in (None, 8, 10):
        raise MatteError(f"--bits {options.bits}: give 8 or 10")
    of_video = {"--codec": options.codec, "--quality": options.quality, "--mbps": options.mbps, "--bits": options.bits}
    given = [name for name, value in of_video.items() if value is not None]
    if given and not any(Path(output).suffix.lower() in CONTAINERS for output in outputs.values()):
        raise MatteError(f"{given[0]} is for videos, and no output is one; leave it out")
    if options.premultiplied:
        suffix = Path(outputs.get("composition", ".none")).suffix.lower()
        if options.background is not None or suffix not in CONTAINERS or not holds_alpha(suffix):
            raise MatteError(
                "--premultiplied is for a transparent video, a --composition in .mov or .webm without --background; "
                "PNG is straight by its definition; leave it out"
            )
    if options.background is not None:
        if "composition" not in outputs:
            raise MatteError("--background is for --composition, which was not asked for; leave it out")
        open_background(options.background, 16, 16)


def _check_model(model: Model, outputs: Mapping[Kind, str], options: MatteOptions) -> None:
    """Raise MatteError if the model cannot serve these outputs and options, whatever the clip."""
    if not isinstance(model, Artifact):
        return
    if options.seq_chunk > 1:
        raise MatteError(f"{model.path} takes one frame after the other; --seq-chunk is for checkpoints, leave it out")
    for kind in outputs:
        missing = sorted(_NEEDED[kind] - model.mattes)
        if missing:
            raise MatteError(
                f"{model.path} was made without {' and '.join(missing)}, which --{kind} needs; give another model"
            )
    fixed, baked = model.fixed, model.baked_ratio
    if fixed is not None and fixed.batch != 1:
        raise MatteError(f"{model.path} was made for a batch of {fixed.batch}; give one that was made for a batch of 1")
    if baked is not None and not model.gives_line and options.downsample_ratio not in (None, baked):
        raise MatteError(f"{model.path} has the ratio {baked:g} baked in; leave --downsample-ratio out")


def _check_regular(path: Path) -> None:
    """Raise MatteError for a pipe or a device: reading it may wait for ever, or never end."""
    try:
        if not path.exists():
            raise MatteError(f"no such file: {path}; give a video, a picture or a folder of pictures")
        if not (path.is_file() or path.is_dir()):
            raise MatteError(f"{path} is no regular file; give a video, a picture or a folder")
    except OSError as error:
        raise MatteError(f"cannot read {path}: {error.strerror}") from error


def _ratio(clip: Path, width: int, height: int, options: MatteOptions, model: Model) -> float:
    """Return a clip's ratio. Raise UserError if it leaves no pixel, or needs more memory than there is."""
    if isinstance(model, Artifact) and model.fixed is not None:
        return _reducing(clip, width, height, options, model) if model.gives_line else model.fixed.ratio
    baked = model.baked_ratio if isinstance(model, Artifact) else None
    ratio = baked or options.downsample_ratio or auto_downsample_ratio(height, width)
    try:
        internal_size(height, width, ratio)
    except ValueError as error:
        raise MatteError(f"{clip}: {error}") from error
    Fixed(width=width, height=height, ratio=ratio, batch=options.seq_chunk).refuse_beyond_memory()
    return ratio


def _reducing(clip: Path, width: int, height: int, options: MatteOptions, model: Artifact) -> float:
    """Return the ratio that reduces a clip to the one internal size of a file of coefficients."""
    size = tuple(int(axis) for axis in model.inputs[0].shape[2:])
    ratio = options.downsample_ratio or min(size[1] / width, 1.0)
    reduced = internal_size(height, width, ratio)
    if reduced != size:
        raise MatteError(
            f"{clip} of {width}x{height} reduces to {reduced[1]}x{reduced[0]}, and {model.path} takes "
            f"{size[1]}x{size[0]}; give --resize, or a file for any size"
        )
    return ratio


def _clips(path: Path) -> list[Path]:
    """Return the videos of a folder of videos; any other input is one clip."""
    try:
        if not path.is_dir():
            return [path]
        files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise MatteError(f"cannot read {path}: {error.strerror}") from error
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    if videos and any(file.suffix.lower() in IMAGE_SUFFIXES for file in files):
        raise MatteError(f"{path} holds both videos and pictures; give a folder of one kind")
    for video in videos:
        if leads_out(video, path):
            raise MatteError(f"{video} is a link that leads out of its folder; give what it leads to")
    return videos or [path]


def _paths(clip: Path, outputs: Mapping[Kind, str], several: bool) -> dict[Kind, Path]:
    """Return the paths of a clip's outputs. Raise MatteError if several clips would share one."""
    for kind, output in outputs.items():
        if several and PLACEHOLDER not in output:
            raise MatteError(
                f"--{kind} {output} is one place for several inputs; put {PLACEHOLDER} into it: out/{PLACEHOLDER}.mp4"
            )
    name = clip.resolve().name if clip.name in ("", "..") else clip.name
    if clip.suffix.lower() in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES):
        name = name.removesuffix(clip.suffix)
    if name in ("", ".", "..") and any(PLACEHOLDER in output for output in outputs.values()):
        raise MatteError(f"{clip} is called {name!r} without its suffix, which names no output; rename it")
    paths = {}
    for kind, output in outputs.items():
        # A folder's name must have no suffix.
        own = name if Path(output).suffix else name.replace(".", "_")
        paths[kind] = Path(output.replace(PLACEHOLDER, own))
    return paths


def _files(options: MatteOptions) -> list[Path]:
    """Return the files that are read besides the clips."""
    return [Path(name) for name in (options.model, options.background) if name and Path(name).exists()]


def _job(clip: Path, paths: Mapping[Kind, Path], options: MatteOptions, force: bool) -> Job:
    """Return the job that mattes a clip, without a progress bar.

    It is skipped if its outputs exist and were made from the same. If only some exist, it replaces those. Paths are
    absolute: a cluster's worker runs in another folder.
    """
    model, background = options.model, options.background
    options = replace(
        options,
        model=str(Path(model).absolute()) if Path(model).exists() else model,
        background=str(Path(background).absolute()) if background and Path(background).exists() else background,
    )
    paths = {kind: path.absolute() for kind, path in paths.items()}
    try:
        whole = {**asdict(replace(options, trust=False)), "outputs": {kind: str(path) for kind, path in paths.items()}}
        inputs = [clip, *_files(options)]
        made_from = "" if any(map(_has_holes, inputs)) else fingerprint(inputs, whole)
    except OSError as error:
        raise MatteError(f"cannot read {error.filename}: {error.strerror}") from error
    return Job(
        name=str(clip),
        function=matte_one,
        arguments=(clip.absolute(), paths, options, False, [path for path in paths.values() if force or path.exists()]),
        files=tuple(paths.values()),
        made_from=made_from,
    )


def _has_holes(path: Path) -> bool:
    """Return whether a file, or one in a folder, is large and has holes, which take a hash hours."""
    files = path.rglob("*") if path.is_dir() else [path]
    return any(map(_is_sparse, (file.stat() for file in files if file.is_file())))


def _is_sparse(status: os.stat_result) -> bool:
    return status.st_size > _LARGE and getattr(status, "st_blocks", status.st_size) * 512 < status.st_size / 2


def _told(loss: str) -> str:
    return f"{loss}; what came before was written"
