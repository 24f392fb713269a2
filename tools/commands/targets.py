"""Make the folder of a consumer: `rvm-export for TARGET`."""

from dataclasses import dataclass
from pathlib import Path

from exporters import check_installed, require_packages
from exporters.spec import Fixed
from rvm_model.errors import UserError
from rvm_model.files import read_file
from tools.shared.console import stderr_console, working
from tools.shared.models import open_checkpoint
from tools.shared.outputs import OutputError, publish, refuse_existing, refuse_place
from tools.shared.sizes import parse_sizes
from tools.targets.targets import REFINER, VARIANT, Target, read_targets

_MOST_README = 1_000_000


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """Where the folder goes, and what its file is made from.

    * `output`: the folder to make; None for one named after the target.
    * `checkpoint`, `trust`: as `open_checkpoint` takes them.
    * `resolution`, `downsample_ratio`: the size of a file for one size; empty for the target's own.
    * `force`: replace a folder that was made for the same target.
    """

    output: Path | None
    checkpoint: str
    trust: bool
    resolution: str = ""
    downsample_ratio: str = ""
    force: bool = False


def make_folder(name: str, options: TargetOptions) -> Path:
    """Make the folder and return its path.

    Raises:
        UserError: no such target, or weights, packages, a size or a path that cannot be used.
        ExportFailed: the file does not compute what PyTorch computes, or does not fit its consumer.
    """
    targets = read_targets()
    if name not in targets:
        raise UserError(f"no such target: {name}; give one of {', '.join(targets)}")
    target = targets[name]
    require_packages("rvm-export for", ("jinja2", "pydantic"), "card")
    check_installed(target.format)
    size = _size(target, options)
    folder = options.output or Path(f"matte-{name}")
    _check_folder(folder, target, options.force)
    checkpoint = open_checkpoint(options.checkpoint, VARIANT, REFINER, trust=options.trust, prove=True)
    from tools.targets.build import build  # its packages are there

    def write(staged: Path) -> None:
        with working(stderr_console(), f"making {folder}") as stage:
            build(target, size, checkpoint, staged, stage)

    publish(folder, write, lambda _: None, options.force)
    return folder


def _size(target: Target, options: TargetOptions) -> Fixed | None:
    given = [name for name in ("resolution", "downsample_ratio") if getattr(options, name)]
    if not target.one_size:
        if given:
            switch = f"--{given[0].replace('_', '-')}"
            raise UserError(f"the file for {target.name} takes any size and ratio; leave {switch} out")
        return None
    ratio = options.downsample_ratio or ("auto" if options.resolution else str(target.downsample_ratio))
    (size,) = parse_sizes([options.resolution or target.resolution], [ratio], None)
    return size


def _check_folder(folder: Path, target: Target, force: bool) -> None:
    """Raise OutputError if the folder cannot be made, or would replace something else."""
    refuse_place(folder)
    if folder.is_file():
        raise OutputError(f"{folder} is a file; give the folder to make as --output")
    refuse_existing(folder, force)
    if folder.exists() and f"`rvm-export for {target.name}`" not in _text(folder / "README.md"):
        raise OutputError(f"{folder} is a folder of something else, which is not replaced; give another --output")


def _text(path: Path) -> str:
    try:
        return read_file(path, _MOST_README).decode(errors="replace")
    except OSError:
        return ""
