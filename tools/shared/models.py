"""Open what a name stands for: a checkpoint, weights inside an exported file, or a model that can matte."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from torch.nn import functional as F

from exporters import FORMATS, load_runtime, open_artifact
from exporters.artifact import Artifact, UnknownFormat
from exporters.full_size import at_full_size
from exporters.recover import Recovered, recover
from exporters.runtime import Device, Line, State
from parity_tests.recovered import describe, verify_recovered
from parity_tests.reports.parity_report import to_table, verdict
from rvm_model.cuda_graph import captured_play
from rvm_model.device import torch_device
from rvm_model.errors import UserError
from rvm_model.matting import line_play, network_play
from rvm_model.rendering import FloatRenderer, FusedRenderer, Images, Play, Renderer
from rvm_model.state import REFINERS, VARIANTS
from rvm_model.weights.checkpoint import (
    Checkpoint,
    CheckpointError,
    DownloadError,
    load_checkpoint,
    load_checkpoint_file,
)
from tools.shared.console import stderr_console, working
from tools.shared.outputs import ExportFailed

Model = Checkpoint | Artifact

_NAMED = ("official", "seeded")
_NAMED_OR_AUTO = (*_NAMED, "auto")
_SUFFIXES = (".pth", ".safetensors")


def is_checkpoint(path: Path) -> bool:
    """Return whether a file of this name holds only weights. Any other file is an exported one."""
    return path.suffix.lower() in _SUFFIXES


def maybe_seeded(source: str) -> tuple[bool, ...]:
    """Return the possible values of `Checkpoint.seeded` for a source, by its name, without opening it."""
    if source == "seeded":
        return (True,)
    if source == "official" or is_checkpoint(Path(source)):
        return (False,)
    return (False, True)


def open_checkpoint(source: str, variant: str, refiner: str, *, trust: bool = False, prove: bool = False) -> Checkpoint:
    """Load weights for a variant and refiner.

    Args:
        source: A source of `load_checkpoint`, or a file or folder of any format, ours or released.
        variant: `mobilenetv3` or `resnet50`.
        refiner: `deep_guided_filter` or `fast_guided_filter`.
        trust: Open an artifact that is code. See `open_artifact`.
        prove: Compare an artifact with the network that has its recovered weights.

    Raises:
        UserError: as `load_checkpoint` and `recover`; or an artifact of another variant or refiner.
        ExportFailed: the network does not compute what the artifact computes.
    """
    path = Path(source)
    if source in _NAMED_OR_AUTO:
        return load_checkpoint(source, variant, refiner)  # a download shows its own bar
    if is_checkpoint(path) or not path.exists():
        with working(stderr_console(), f"loading {path}"):
            return load_checkpoint(source, variant, refiner)
    try:
        artifact = open_artifact(path, trust=trust)
    except UnknownFormat as error:
        formats = ", ".join(description.title for description in FORMATS.values())
        raise CheckpointError(
            f"{path} is neither a checkpoint (.pth, .safetensors) nor of a format known here ({formats}), or is damaged"
        ) from error
    with working(stderr_console(), f"taking the weights out of {path}"):
        recovered = recover([artifact])
    checkpoint = recovered.checkpoint
    if (checkpoint.variant, checkpoint.refiner) != (variant, refiner):
        raise CheckpointError(
            f"{path} holds the weights of {checkpoint.variant} with {checkpoint.refiner}, not of {variant} with "
            f"{refiner}; use --variant {checkpoint.variant} --refiner {checkpoint.refiner}"
        )
    say_recovered(recovered)
    if prove:
        prove_recovered(recovered)
    return replace(checkpoint, name=str(path))


def checkpoint_of(artifact: Artifact, source: str | None, trust: bool = False) -> Checkpoint:
    """Return the weights to compare with. Seeded weights are taken only if the file or the user names them."""
    named = source or ("seeded" if artifact.metadata.get("checkpoint") == "seeded" else "official")
    try:
        return open_checkpoint(named, artifact.variant, artifact.refiner, trust=trust)
    except DownloadError as error:
        if source:
            raise
        raise CheckpointError(
            f"{artifact.path} needs the weights it was made from: give them with --checkpoint ({error})"
        ) from error


def refuse_auto(source: str | None) -> None:
    """Raise UserError for `auto`, which does not name one checkpoint."""
    if source == "auto":
        raise UserError("--checkpoint auto could be other weights than the file's; give a path, official or seeded")


def open_models(*names: str, trust: bool) -> list[Model]:
    """Open each name. `official` and `seeded` get the variant and refiner of a file among the names.

    Raises:
        UserError: as `open_model`.
    """
    opened = {name: open_model(name, trust=trust) for name in names if name not in _NAMED}
    like = next(iter(opened.values()), None)
    kind = (like.variant, like.refiner) if like else ()
    return [opened[name] if name in opened else load_checkpoint(name, *kind) for name in names]


def open_model(name: str, *, trust: bool) -> Model:
    """Open a name: `official` or `seeded` weights, a .pth or .safetensors file, else an exported file.

    Args:
        name: The name.
        trust: Open an exported file that is code.

    Raises:
        UserError: the name is none of these, or the file cannot be read, or is code and not trusted.
    """
    if name in _NAMED:
        return load_checkpoint(name)
    if is_checkpoint(Path(name)):
        return load_checkpoint_file(Path(name))
    return open_artifact(Path(name), trust=trust)


@contextmanager
def play_model(model: Model, device: str, ratio: float) -> Iterator[Play]:
    """Yield a `Play` for one clip, from its first frame on. For a file of one size, frames and mattes are resized.

    A checkpoint runs in float32, on CUDA in half precision as graphs (`rvm_model/cuda_graph.py`).

    Args:
        model: From `open_model`.
        device: `cpu` or `cuda`.
        ratio: The downsample ratio; of a file of one size, its fixed ratio.

    Raises:
        ArtifactError: the model does not load, or fails while it plays.
        DeviceError: the device is missing.
        MissingPackage: the runtime is not installed.
    """
    if isinstance(model, Checkpoint):
        where = torch_device(device)
        if device == "cuda":
            yield captured_play(model.network(), ratio, where)
            return
        yield network_play(model.network().to(where), ratio, where, torch.float32)
        return
    with load_runtime(model.format).load(model, cast(Device, device), ratio) as file_step:
        step = at_full_size(model, ratio, file_step)
        state: State = None
        fixed = None if model.gives_line else model.fixed

        def play(src: Images) -> tuple[Images, Images]:
            nonlocal state
            height, width = src.shape[2:]
            matte, state = step(_resized(src, fixed.height, fixed.width) if fixed else src, state)
            fgr, pha = (src[:, :0] if image is None else image for image in (matte.fgr, matte.pha))
            return _resized(fgr, height, width), _resized(pha, height, width)

        yield play


@contextmanager
def open_renderer(model: Model, device: str, ratio: float, height: int, width: int) -> Iterator[Renderer]:
    """Yield the renderer of one clip, from its first frame on.

    The full-size steps are fused for checkpoints on the CPU and for files of coefficients, if numba is installed.

    Args:
        model: See `play_model`, also for the errors.
        device: `cpu` or `cuda`.
        ratio: The downsample ratio.
        height: The clip's height in pixels.
        width: Its width.
    """
    in_parts = model.gives_line if isinstance(model, Artifact) else device == "cpu"
    if not in_parts or find_spec("numba") is None:
        with play_model(model, device, ratio) as whole:
            yield FloatRenderer(play=whole)
        return
    from rvm_model.fused import FusedStage

    stage = FusedStage(height, width, ratio, torch.get_num_threads())
    if isinstance(model, Checkpoint):
        yield FusedRenderer(play=line_play(model.network(), ratio), stage=stage)
        return
    with load_runtime(model.format).load(model, cast(Device, device), ratio) as step:
        state: State = None

        def play(src: Images) -> tuple[Images, Images]:
            nonlocal state
            line, state = step(src, state)
            assert isinstance(line, Line)
            return line.A, line.b

        yield FusedRenderer(play=play, stage=stage)


def load_weights(source: str, variant: str, refiner: str, trust: bool) -> Checkpoint:
    """Load weights like `open_checkpoint`. A source with the deep guided filter also serves the fast one.

    The fast guided filter has no weights.

    Raises:
        UserError: as `open_checkpoint`.
    """
    return with_refiner(open_checkpoint(source, variant, REFINERS[0], trust=trust), refiner)


def with_refiner(checkpoint: Checkpoint, refiner: str) -> Checkpoint:
    """Return the checkpoint, changed to the fast guided filter if that is the refiner."""
    return checkpoint if refiner == checkpoint.refiner else checkpoint.with_fast_guided_filter()


def parse_checkpoints(given: Sequence[str], variants: Sequence[str], trust: bool) -> dict[str, str]:
    """Return the sources for `load_weights`, by variant.

    Args:
        given: `VARIANT=SOURCE`, or a source alone: a file counts for its own variant; `official`, `seeded` and `auto`
            count for every variant.
        variants: The variants to make.
        trust: Open files that are code.

    Raises:
        CheckpointError: no such variant or file, a variant that is not made, or two sources for one variant.
        UserError: a file that does not hold the network.
    """
    sources: dict[str, str] = {}
    for each in given:
        variant, equals, source = each.partition("=")
        if not equals or variant not in VARIANTS:
            if equals and "/" not in variant:
                raise CheckpointError(f"--checkpoint {each}: {variant} is not one of {', '.join(VARIANTS)}")
            named = variants if each in _NAMED_OR_AUTO else [_variant_of(Path(each), trust)]
            new = dict.fromkeys(named, each)
        else:
            new = {variant: source}
        for variant, source in new.items():
            if variant not in variants:
                raise CheckpointError(
                    f"--checkpoint {each}: nothing that was asked for is made of {variant}; leave it out"
                )
            if variant in sources:
                raise CheckpointError(f"--checkpoint {each}: there is one for {variant} already; give one for each")
            sources[variant] = source if source in _NAMED_OR_AUTO else str(Path(source).absolute())
    return sources


def resolve_source(source: str, variant: str, trust: bool) -> str:
    """Resolve `auto`, or prove an exported file, once instead of in each job. Return the source that jobs take."""
    if source == "auto":
        return load_checkpoint(source, variant).origin
    if source not in _NAMED_OR_AUTO and not is_checkpoint(Path(source)):
        open_checkpoint(source, variant, REFINERS[0], trust=trust, prove=True)
    return source


def say_recovered(recovered: Recovered) -> None:
    """Print on stderr what was recovered, and how."""
    console = stderr_console()
    checkpoint: Checkpoint = recovered.checkpoint
    console.print(f"recovered from {checkpoint.name}: {checkpoint.variant} with {checkpoint.refiner}", soft_wrap=True)
    for remark in recovered.remarks:
        console.print(f"  {remark}", soft_wrap=True)
    for path, quirks in recovered.quirks.items():
        for line in describe(quirks):
            console.print(f"  {path}: {line}", soft_wrap=True)


def prove_recovered(recovered: Recovered) -> None:
    """Raise ExportFailed if the network does not compute what a file computes."""
    console = stderr_console()
    with working(console, f"verifying {recovered.checkpoint.name}"):
        reports = [*verify_recovered(recovered)]
    for report in reports:
        console.print(to_table(report))
        for line in verdict(report):
            console.print(line, soft_wrap=True)
    wrong = [report.place for report in reports if not report.ok]
    if wrong:
        raise ExportFailed(
            f"the network rebuilt from {wrong[0]} does not compute what that computes: it was changed in a way that "
            "does not show in its convolutions; its weights were not kept"
        )


def _variant_of(path: Path, trust: bool) -> str:
    if is_checkpoint(path) or not path.exists():
        return load_checkpoint_file(path).variant
    return open_artifact(path, trust=trust).variant


def _resized(images: Images, height: int, width: int) -> Images:
    """Resize images to this size, for a file of one size."""
    if images.shape[2:] == (height, width) or not images.size:
        return images
    resized = F.interpolate(torch.from_numpy(images), (height, width), mode="bilinear", antialias=True)
    return resized.clamp(0, 1).numpy()
