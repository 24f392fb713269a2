"""Matte videos, image folders and pictures with any exported file or checkpoint."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from exporters.spec import Artifact, Fixed
from rvm_model.background import GREEN, open_background
from rvm_model.encoders import holds_alpha
from rvm_model.errors import UserError
from rvm_model.inference import Kind, matte_source
from rvm_model.pictures import IMAGE_SUFFIXES
from rvm_model.progress import frames_progress
from rvm_model.sink import open_sink
from rvm_model.source import open_source
from rvm_model.state import auto_downsample_ratio, internal_size
from tools.jobs import Job, run_jobs, to_table
from tools.messages import say_error, stderr_console
from tools.models import Model, open_model, play_model
from tools.processes import default_processes
from tools.publish import refuse_existing
from tools.records import fingerprint

VIDEO_SUFFIXES = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv")
PLACEHOLDER = "{name}"
_JOB_MEMORY = 3_000_000_000
"""Bytes that one clip's process is reckoned with; 1920x1080 at ratio .25 with an ONNX file came to 1.5e9."""


class MatteError(UserError):
    """An input, a model and outputs that do not go together. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True)
class MatteOptions:
    """How to matte, whatever the input. Sizes are (width, height) in pixels, times in seconds."""

    model: str
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


def matte_all(
    inputs: Sequence[Path],
    outputs: Mapping[Kind, str],
    options: MatteOptions,
    force: bool = False,
    processes: int | None = None,
    cluster: str | None = None,
) -> int:
    """Matte all inputs and return the exit code: 2 for an input that could not be used, else 1 for one that was damaged
    or failed, else 0.

    One input is played here, with a progress bar. Several run as jobs, each tried twice, and those whose outputs are
    there and made from the same are left out.

    Args:
        inputs: Videos, pictures, folders of pictures, folders of videos.
        outputs: A path for each kind that is wanted; for several inputs with `{name}` in it, each input's own.
        options: Of all of them.
        force: Replace outputs that are there.
        processes: How many to play at a time; by default what cores and memory hold.
        cluster: The address of a Dask scheduler, to play them there.

    Raises:
        UserError: nothing was begun, since something cannot be as it was asked for.
    """
    if not outputs:
        raise MatteError("nothing to write; give at least one of --composition, --alpha, --foreground")
    _check_model(open_model(options.model), outputs, options)
    clips = [clip for path in inputs for clip in _clips(path)]
    plans = {clip: _paths(clip, outputs, several=len(clips) > 1) for clip in clips}
    for clip, paths in plans.items():
        _check_places(clip, paths, options)
    if len(plans) == 1 and cluster is None:
        ((clip, paths),) = plans.items()
        for path in paths.values():
            refuse_existing(path, force)
        loss = matte_one(clip, paths, options)
        return say_error(f"{loss}; what came before was written", 1) if loss else 0
    jobs = [_job(clip, paths, options, force) for clip, paths in plans.items()]
    results = run_jobs(jobs, processes or default_processes(len(jobs), _JOB_MEMORY), cluster)
    stderr_console().print(to_table(results))
    losses = [result.value for result in results if result.value]
    for loss in losses:
        say_error(f"{loss}; what came before was written", 1)
    return max([1 if losses else 0, *(result.code for result in results)])


def matte_one(clip: Path, paths: Mapping[Kind, Path], options: MatteOptions, progress: bool = True) -> str | None:
    """Matte one clip, and return what could not be decoded of it: one line, or None.

    Raises:
        UserError: the clip cannot be read, its size does not suit the model, or an output cannot be written. Then there
            is no output at all.
    """
    model = open_model(options.model)
    fixed = _fixed(model)
    with ExitStack() as stack:
        with open_source(clip, options.resize) as before:
            shown = before.properties
        resize = (fixed.width, fixed.height) if fixed else options.resize
        source = stack.enter_context(open_source(clip, resize, options.start, options.end, options.max_frames))
        own = source.properties
        ratio = _ratio(clip, own.width, own.height, options.downsample_ratio, fixed)
        play = stack.enter_context(play_model(model, options.device, ratio))
        # Frames that were brought to a model's own size go back to theirs.
        like = replace(own, width=shown.width, height=shown.height, pixel_aspect=shown.pixel_aspect)
        suffixes = {path.suffix.lower() for kind, path in paths.items() if kind == "composition"}
        transparent = options.background is None and all(map(holds_alpha, suffixes))
        behind = None if transparent else open_background(options.background or GREEN, own.width, own.height)
        sinks = {
            kind: stack.enter_context(
                open_sink(
                    path,
                    like,
                    alpha=kind == "composition" and transparent,
                    grey=kind == "alpha",
                    codec=options.codec,
                    quality=options.quality,
                    mbps=options.mbps,
                    audio=source.audio,
                )
            )
            for kind, path in paths.items()
        }
        on_frames = stack.enter_context(frames_progress(clip.name, own.frames, progress))
        matte_source(source, play, sinks, behind, options.seq_chunk, on_frames)
        return source.loss


def _check_model(model: Model, outputs: Mapping[Kind, str], options: MatteOptions) -> None:
    """Raises MatteError for what a model cannot do, whatever the clip."""
    if options.seq_chunk < 1:
        raise MatteError(f"--seq-chunk {options.seq_chunk}: give 1 or more frames")
    if not isinstance(model, Artifact):
        return
    if options.seq_chunk > 1:
        raise MatteError(f"{model.path} takes one frame after the other; --seq-chunk is for checkpoints, leave it out")
    given = {tensor.name for tensor in model.outputs}
    missing = {"pha"} - given if [*outputs] == ["alpha"] else {"fgr", "pha"} - given
    if missing:
        raise MatteError(
            f"{model.path} was made without {' and '.join(sorted(missing))}, which {' and '.join(outputs)} needs; "
            "give another model"
        )
    fixed = _fixed(model)
    if fixed is None:
        return
    if fixed.batch != 1:
        raise MatteError(f"{model.path} was made for a batch of {fixed.batch}; give one that was made for a batch of 1")
    size = f"{fixed.width}x{fixed.height}"
    if options.resize not in (None, (fixed.width, fixed.height)):
        raise MatteError(
            f"{model.path} was made for {size}; give --resize {size}, or leave it out for the clip's own size"
        )
    if options.downsample_ratio not in (None, fixed.ratio):
        raise MatteError(f"{model.path} has the ratio {fixed.ratio:g} baked in; leave --downsample-ratio out")


def _fixed(model: Model) -> Fixed | None:
    return model.fixed if isinstance(model, Artifact) else None


def _ratio(clip: Path, width: int, height: int, asked: float | None, fixed: Fixed | None) -> float:
    """What to play a clip at. Raises MatteError if that leaves no pixel, or needs more memory than there is."""
    ratio = fixed.ratio if fixed else asked or auto_downsample_ratio(height, width)
    try:
        internal_size(height, width, ratio)
    except ValueError as error:
        raise MatteError(f"{clip}: {error}") from error
    Fixed(width=width, height=height, ratio=ratio).refuse_beyond_memory()
    return ratio


def _clips(path: Path) -> list[Path]:
    """A folder of videos stands for each of them; any other input for itself."""
    try:
        if not path.is_dir():
            return [path]
        files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise MatteError(f"cannot read {path}: {error.strerror}") from error
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    if videos and any(file.suffix.lower() in IMAGE_SUFFIXES for file in files):
        raise MatteError(f"{path} holds both videos and pictures; give a folder of one kind")
    return videos or [path]


def _paths(clip: Path, outputs: Mapping[Kind, str], several: bool) -> dict[Kind, Path]:
    """Where a clip's outputs go. Raises MatteError where several would go to one place."""
    for kind, output in outputs.items():
        if several and PLACEHOLDER not in output:
            raise MatteError(
                f"--{kind} {output} is one place for several inputs; put {PLACEHOLDER} into it: out/{PLACEHOLDER}.mp4"
            )
    name = clip.resolve().stem if clip.suffix.lower() in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES) else clip.resolve().name
    return {kind: Path(output.replace(PLACEHOLDER, name)) for kind, output in outputs.items()}


def _check_places(clip: Path, paths: Mapping[Kind, Path], options: MatteOptions) -> None:
    """Raises MatteError for an output that is an input, or another output."""
    inputs = {clip.resolve(), Path(options.model).resolve()}
    inputs |= {Path(options.background).resolve()} if options.background else set()
    seen: set[Path] = set()
    for kind, path in paths.items():
        if path.resolve() in inputs:
            raise MatteError(f"--{kind} {path} would overwrite an input; give another name")
        if path.resolve() in seen:
            raise MatteError(f"{path} was given for two outputs; give each its own")
        seen.add(path.resolve())


def _job(clip: Path, paths: Mapping[Kind, Path], options: MatteOptions, force: bool) -> Job:
    """Without a progress bar of its own; what is there and made from the same is left out, unless `force`."""
    files = [
        path for path in (clip, Path(options.model), Path(options.background or "-")) if path.is_file() or path.is_dir()
    ]
    try:
        made_from = fingerprint(
            files, {**asdict(options), "outputs": {kind: str(path) for kind, path in paths.items()}}
        )
    except OSError as error:
        raise MatteError(f"cannot read {error.filename}: {error.strerror}") from error
    return Job(
        name=str(clip),
        function=_run,
        arguments=(clip, dict(paths), options, force),
        files=tuple(paths.values()),
        made_from="" if force else made_from,
    )


def _run(clip: Path, paths: dict[Kind, Path], options: MatteOptions, force: bool) -> str | None:
    """The same in a process of its own, which does not tell how far it is."""
    for path in paths.values():
        refuse_existing(path, force)
    return matte_one(clip, paths, options, progress=False)
