"""Outputs that would destroy what is read, or each other."""

from collections.abc import Sequence
from pathlib import Path

from rvm_model.video.colour import VideoError


def check_places(inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Inputs and outputs are files or folders; a folder of pictures is replaced as a whole.

    Raises:
        VideoError: an output is an input or holds one, or lies in a folder that is one, where it would be read the next
            time; or two outputs are one, or one lies in the other.
    """
    read = {path: _real(path) for path in inputs}
    written: dict[Path, Path] = {}
    for output in outputs:
        place = _real(output)
        if not place.name:
            raise VideoError(f"{str(output)!r} is no name for an output; give a file's or a folder's")
        for path, real in read.items():
            if place == real or place in real.parents:
                raise VideoError(f"{output} would overwrite {path}, which is read; give another place")
            if real == place.parent and real.is_dir():
                raise VideoError(f"{output} lies in {path}, which is read; give another place")
        for other, real in written.items():
            if place == real or place in real.parents or real in place.parents:
                raise VideoError(f"{output} and {other} would overwrite each other; give each output its own place")
        written[output] = place


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError of a link that leads to itself
        raise VideoError(f"cannot use {path}: {getattr(error, 'strerror', None) or error}") from error
